"""Launches of the Triton kernels: how the work is divided, and which gradients are asked for.

Plain functions of a `Plan` and tensors. Kernels are imported, and with them Triton, at first use.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from math import ceil, log2, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...target import joint_batch
from ..fused import TAPS, Gradients, Plan
from .records import Facts

#: Points × channels of a program by taps: few enough for three programs and more per multiprocessor
#: by the registers that they take, 4 or 2 per thread with all their taps in flight.
_TILE = {1: 512, 2: 512, 4: 256}
_POINTS = {
    False: (32, 256),
    True: (8, 256),
}  # of a program, at least and most; channels last or not
_WIDE = 32  # points of a tile along x: a row of float32 is a line of the cache
_PROGRAMS = 1056  # 8 for each of an H200's 132 multiprocessors: fewer leave some of them idle
_CHUNK = 1024  # elements of a program that only reads or writes a tensor
_LARGE = 1 << 31  # elements of one image or output from which offsets take 64 bits
#: More warps only share registers out; no loop gains from pipelining; contraction moves points off
#: whole pixels.
_OPTIONS: dict[str, Any] = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": False}
_WEIGHTS = 3  # bounds the sum of |weights| of a point, which for bicubic in 3-D is 2.6


class _Tile(NamedTuple):
    """How a launch is divided: tiles of points per batch element, and the channels into parts."""

    tiles: int
    parts: int
    shape: dict[str, int]  # the `Facts` that say how large a program is


class _Call(NamedTuple):
    """A plan with its tensors, as kernels take them."""

    plan: Plan
    image: Tensor
    coordinates: Tensor
    functions: Tensor | None
    fill: Tensor | None
    last: bool

    @property
    def batch(self) -> int:
        """N."""
        return joint_batch(self.image, self.coordinates)

    @property
    def served(self) -> int:
        """How many elements of the batch read one image."""
        return self.batch // self.image.shape[0]

    @property
    def channels(self) -> int:
        """C."""
        return self.image.shape[1]

    @property
    def source(self) -> tuple[int, ...]:
        """The image's size."""
        return tuple(self.image.shape[2:])

    @property
    def maps(self) -> int:
        """The batch of θ or of points."""
        return self.coordinates.shape[0]

    @property
    def is_matrix(self) -> bool:
        """Whether the coordinates are M_θ B."""
        return self.plan.form in ("matrix", "perspective")

    @property
    def extra(self) -> int:
        """The number of functions of B beyond the coordinates."""
        return 0 if self.functions is None else self.functions.shape[0]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Source and target, x first, of depth 1 in 2-D."""
        return (*_three(self.source), *_three(self.plan.size))

    @property
    def few_facts(self) -> Facts:
        """What kernels are compiled for that read no image."""
        plan = self.plan
        return Facts(len(self.source), plan.align_corners, plan.form, self.maps == 1, block=_CHUNK)

    def facts(self, tile: _Tile, **asked: Any) -> Facts:
        """Return what the sampler's kernels are compiled for; `asked` are facts of gradients."""
        points = max(prod(self.source), prod(self.plan.size))
        return self.few_facts._replace(
            functions=self.functions is not None,
            taps=TAPS[self.plan.mode],
            padding=self.plan.padding_mode,
            last=self.last,
            large=points * max(self.channels, len(self.source)) >= _LARGE,
            **tile.shape,
            **asked,
        )

    def empty(self) -> Tensor:
        """Return the output, not filled."""
        return torch.empty(
            (self.batch, self.channels, *self.plan.size),
            dtype=self.image.dtype,
            device=self.image.device,
            memory_format=_format(len(self.source), self.last),
        )

    def tile(self, size: Sequence[int], batch: int, split: bool) -> _Tile:
        """Divide the points of an image, and with `split` the channels where points are few."""
        total, (fewest, most) = _TILE[TAPS[self.plan.mode]], _POINTS[self.last]
        block = min(_power(self.channels), total // fewest)
        points = min(total // block, most)
        width, height, depth = _three(size)
        wide = min(_power(width), _WIDE, points)
        high = min(_power(height), points // wide)
        wide = min(_power(width), points // high)
        tiles = -(-width // wide) * -(-height // high) * depth
        blocks = -(-self.channels // block)
        parts = min(blocks, -(-_PROGRAMS // (tiles * batch))) if split else 1
        return _Tile(tiles, parts, {"wide": wide, "high": high, "block": block})


def forward(
    plan: Plan, image: Tensor, coordinates: Tensor, functions: Tensor | None, fill: Tensor | None
) -> Tensor:
    """Return V; see `Fused.forward`."""
    if image.shape[0] == coordinates.shape[0] and image.stride(0) == 0:
        image = image[:1]  # expanded: one serves all without being copied
    call = _call(plan, image, coordinates, functions, fill)
    out = call.empty()
    if out.numel():
        tile = call.tile(plan.size, call.batch, split=True)
        with _on(out):
            _kernel("kernels", "forward_kernel")[(call.batch * tile.tiles * tile.parts,)](
                *call[1:5], out, call.served, call.channels, call.extra, *call.sizes, tile.parts,
                facts=call.facts(tile), **_OPTIONS,
            )  # fmt: skip
    return out


def backward(
    plan: Plan,
    grad: Tensor,
    needed: Sequence[bool],
    image: Tensor,
    coordinates: Tensor,
    functions: Tensor | None,
    fill: Tensor | None,
    *,
    exact: bool = False,
) -> Gradients:
    """Return the gradients to the four tensors, that to the image with `exact` deterministic."""
    tensors = (image, coordinates, functions, fill)
    needed = [need and t is not None for need, t in zip(needed, tensors, strict=True)]
    if 0 in grad.shape or image.numel() == 0:
        pairs = zip(tensors, needed, strict=True)
        return tuple(torch.zeros_like(t) if t is not None and need else None for t, need in pairs)
    call = _call(plan, image, coordinates, functions, fill)
    grad = grad.contiguous(memory_format=_format(len(call.source), call.last))
    with _on(grad):
        to_image = None
        if needed[0] and not exact:
            to_image = torch.zeros_like(call.image, dtype=coordinates.dtype)
        others = (None, None, None)
        if to_image is not None or any(needed[1:]):
            others = _scatter(call, grad, needed, to_image)
        if needed[0] and exact:
            to_image = _in_whole_numbers(call, grad)
    return (None if to_image is None else to_image.to(image.dtype), *others)


def _scatter(
    call: _Call, grad: Tensor, needed: Sequence[bool], to_image: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Add up the image's gradient where it is given, and return the others."""
    _, to_map, to_functions, to_fill = needed
    ndim, pixels = len(call.source), prod(call.plan.size)
    rows = ndim + (call.plan.form == "perspective")
    columns = ndim + 1 + call.extra
    to_points = to_map and not call.is_matrix
    tile = call.tile(call.plan.size, call.batch, split=not (to_points or to_functions))
    programs = call.batch * tile.tiles * tile.parts
    new = call.coordinates.new_empty
    points = new(call.batch, *call.plan.size, ndim) if to_points else None
    along = new(call.batch, rows, pixels) if to_functions else None
    sums = None if to_points else new(rows * columns, programs)
    fill_sums = new(call.channels, programs // tile.parts) if to_fill else None
    facts = call.facts(
        tile,
        image="none" if to_image is None else "float",
        coordinates=to_map or to_functions,
        rows=to_functions,
        fill=to_fill,
    )
    _kernel("kernels", "backward_kernel")[(programs,)](
        *call[1:5], grad, to_image, None, points, along, sums, fill_sums, None, 0,
        call.served, call.channels, call.extra, *call.sizes, tile.parts, facts=facts, **_OPTIONS,
    )  # fmt: skip
    if points is not None:
        found = points if call.maps == call.batch else points.sum(0, keepdim=True)
    else:
        found = _summed(call, sums, call.coordinates, rows * columns, call.maps) if to_map else None
    return (
        found,
        _to_functions(call, along) if along is not None else None,
        None if fill_sums is None else _summed(call, fill_sums, call.fill, call.channels, 1),
    )


def _summed(call: _Call, sums: Any, like: Any, entries: int, batch: int) -> Tensor:
    """Sum what programs found, (entries, programs), into a tensor like the given one."""
    out, ndim = torch.empty_like(like), len(call.source)
    _kernel("kernels", "sum_kernel")[(entries, batch)](
        sums, out, sums.shape[1] // batch, *call.sizes, ndim + 1 + call.extra,
        MATRIX=like is call.coordinates, facts=call.few_facts, **_OPTIONS,
    )  # fmt: skip
    return out


def _to_functions(call: _Call, along: Tensor) -> Tensor:

    assert call.functions is not None
    out = torch.empty_like(call.functions)
    _kernel("kernels", "functions_kernel")[(-(-along.shape[2] // _CHUNK), call.extra)](
        call.coordinates, along, out, call.batch, call.extra, *call.sizes,
        facts=call.few_facts, **_OPTIONS,
    )  # fmt: skip
    return out


def _in_whole_numbers(call: _Call, grad: Tensor) -> Tensor:
    """Return the gradient to the image, the same from run to run."""
    own, dtype = call.image.shape[0], call.coordinates.dtype
    double = dtype == torch.float64
    bits = torch.int64 if double else torch.int32
    largest = torch.zeros(own, dtype=bits, device=grad.device)
    sums = torch.empty_like(call.image, dtype=torch.int64)
    rest = torch.empty_like(sums) if double else None
    out = torch.empty_like(call.image)
    longest = max(prod(call.source), prod(call.plan.size)) * call.channels
    chunks = -(-longest // _CHUNK)
    _kernel("fixed", "prepare_kernel")[(call.batch * chunks,)](
        grad, largest, sums, rest, call.served, call.channels, *call.sizes, chunks,
        DOUBLE=double, BLOCK=_CHUNK, **_OPTIONS,
    )  # fmt: skip
    tile = call.tile(call.plan.size, call.batch, split=True)
    headroom = _headroom(call)
    _kernel("kernels", "backward_kernel")[(call.batch * tile.tiles * tile.parts,)](
        *call[1:5], grad, sums, rest, None, None, None, None, largest, headroom, call.served,
        call.channels, call.extra, *call.sizes, tile.parts,
        facts=call.facts(tile, image="fixed"), **_OPTIONS,
    )  # fmt: skip
    chunks = -(-call.image[0].numel() // _CHUNK)
    _kernel("fixed", "settle_kernel")[(own * chunks,)](
        largest, sums, rest, out, headroom, call.channels, *call.sizes[:3], chunks,
        DOUBLE=double, BLOCK=_CHUNK, **_OPTIONS,
    )  # fmt: skip
    return out


def _headroom(call: _Call) -> int:
    """Return how many bits are left for a term, of the 62 that a sum has."""
    terms = prod(call.plan.size) * call.served
    share = 1000 if call.plan.padding_mode == "renormalise" else 1  # by whose inverse it grows
    return 62 - ceil(log2(terms * _WEIGHTS * share))


def _call(
    plan: Plan, image: Tensor, coordinates: Tensor, functions: Tensor | None, fill: Tensor | None
) -> _Call:
    last = not image.is_contiguous() and image.is_contiguous(
        memory_format=_format(image.ndim - 2, True)
    )
    image = image if last else image.contiguous()
    functions = None if functions is None else functions.contiguous()
    fill = None if fill is None else fill.contiguous()
    return _Call(plan, image, coordinates.contiguous(), functions, fill, last)


def _kernel(module: str, name: str) -> Any:
    """Return a kernel, importing Triton only now."""
    return getattr(import_module(f".{module}", __package__), name)


def _format(ndim: int, last: bool) -> torch.memory_format:
    if not last:
        return torch.contiguous_format
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


def _on(tensor: Tensor) -> AbstractContextManager[object]:
    """Launch on the tensor's device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def _three(size: Sequence[int]) -> tuple[int, int, int]:
    """Return a size as (x, y, z)."""
    x, y, z = (*reversed(size), 1)[:3]
    return x, y, z


def _power(n: int) -> int:
    """Round up to a power of two."""
    return 1 << (n - 1).bit_length()
