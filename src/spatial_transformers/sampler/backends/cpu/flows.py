"""Points that follow a piecewise affine velocity, as `grid/families/cpab.py` asks, in C++."""

import struct
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ....grid.numerics.compiled import FLOWS
from ...autograd import Operator, run
from ..fused import Gradients
from .backend import Cpu

_FACTS = struct.Struct("=10q")  # of `Flow` in csrc/call.h, from `ndim` on
_POINTS = 4096  # that are followed at a time; results do not depend on the number of threads
_SUMS = 1 << 20  # numbers of the gradients that parts of a sample sum by themselves


def offer_flows(backend: Cpu) -> None:
    """Let piecewise affine flows run a backend, if its library was loaded."""
    if not backend.missing:
        FLOWS[backend.device] = _Flows(backend)


class _Flows:
    def __init__(self, backend: Cpu):
        self.backend = backend

    def __call__(
        self,
        pieces: Tensor,
        start: Tensor,
        cells: Sequence[int],
        steps: int,
        reference: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        if pieces[0:1].numel() >= 1 << 31:  # which places of simplices do not count
            return reference(pieces, start)

        def call(rows: Tensor, start: Tensor, parts: int, *rest: Tensor | None) -> None:
            batch = max(len(rows), len(start)) if len(rows) and len(start) else 0
            if batch == 0 or start.shape[2] == 0:
                return
            sizes = (*cells, *[1] * (3 - len(cells)))
            facts = _FACTS.pack(
                *(len(cells), batch, start.shape[2], len(start), steps, rows.shape[1]),
                *(*sizes, parts),
            )
            precise = start.dtype == torch.float64
            self.backend.follow(precise, facts, (rows, start, *rest))

        def forward(pieces: Tensor, start: Tensor) -> Tensor:
            rows, start, moved = _ready(pieces, start)
            call(rows, start, _parts(moved.shape[2]), None, moved, None)
            return moved

        def backward(
            grad: Tensor, needed: Sequence[bool], pieces: Tensor, start: Tensor
        ) -> Gradients:
            rows, start, to_start = _ready(pieces, start)
            parts = _parts(start.shape[2], rows[0:1].numel())
            shape = (len(to_start), parts, *rows.shape[1:])
            sums = torch.zeros(shape, dtype=torch.float64) if needed[0] else None
            call(rows, start, parts, grad.contiguous(), to_start if needed[1] else None, sums)
            to_pieces = None if sums is None else _summed(sums.sum(1), pieces).mT
            return to_pieces, _summed(to_start, start) if needed[1] else None

        return run(Operator(forward, backward, reference), pieces, start)


def _ready(pieces: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a row per simplex, the points, and room for what is computed of them."""
    batch = torch.broadcast_shapes(pieces.shape[:1], start.shape[:1])[0]
    rows = pieces.mT.expand(batch, -1, -1).contiguous()
    return rows, start.contiguous(), start.new_empty(batch, *start.shape[1:])


def _parts(points: int, numbers: int = 1) -> int:
    """Return into how many parts a sample's points are cut."""
    return max(1, min(-(-points // _POINTS), _SUMS // max(1, numbers)))


def _summed(grads: Tensor, like: Tensor) -> Tensor:
    """Return the gradient to an input, which may have served a whole batch."""
    grads = grads.sum(0, keepdim=True) if len(like) == 1 != len(grads) else grads
    return grads.to(like.dtype)
