"""Products M B with a basis B that is never stored: its columns are computed block by block.

B (R, *lattice) has a value per row and pixel: with 100 control points, a hundred times the memory
of an axis of the grid. Both products below are linear and each is the other's transpose, so that
derivatives of every order compute B again, in blocks, instead of keeping it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..._context import context

Coordinates: TypeAlias = Sequence[Tensor]  # per axis (1, *lattice), or broadcastable to it
#: Returns B (1, R, *lattice) at coordinates, computed in the room (2, R, *lattice) if given.
Basis: TypeAlias = Callable[[Coordinates, Tensor | None], Tensor]

_ENTRIES = 2**20  # of a block of B: 4 MB in float32; threads wait for each other after each block


def times_basis(matrix: Tensor, basis: Basis, coordinates: Coordinates) -> Tensor:
    """Return M B (M, *lattice) for a matrix (M, R); only the matrix gets a gradient."""
    if _in_blocks(matrix):
        return _TimesBasis.apply(matrix, basis, coordinates)  # pyright: ignore[reportReturnType]
    columns = basis(coordinates, None)[0]
    return (matrix @ columns.flatten(1)).reshape(matrix.shape[0], *columns.shape[1:])


def times_transpose(values: Tensor, basis: Basis, coordinates: Coordinates) -> Tensor:
    """Return V Bᵀ (M, R) for values (M, *lattice)."""
    if _in_blocks(values):
        return _TimesTranspose.apply(values, basis, coordinates)  # pyright: ignore[reportReturnType]
    columns = basis(coordinates, None)[0].flatten(1)
    return values.reshape(values.shape[0], columns.shape[1]) @ columns.mT


def _in_blocks(tensor: Tensor) -> bool:
    """Say whether to loop in Python: not while tracing, nor under either `vmap` of torch."""
    if context(tensor) != "eager":
        return False
    return not torch._C._functorch.is_legacy_batchedtensor(tensor)  # pyright: ignore


class _TimesBasis(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, basis: Basis, coordinates: Coordinates) -> Tensor:
        ctx.of = basis, coordinates
        size = torch.broadcast_shapes(*(x.shape[1:] for x in coordinates))
        product = matrix.new_empty(len(matrix), *size)
        for block, columns in _columns(matrix, matrix.shape[1], size, basis, coordinates):
            product[block] = torch.tensordot(matrix, columns, 1)
        return product

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return times_transpose(grads[0], *ctx.of), None, None


class _TimesTranspose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, basis: Basis, coordinates: Coordinates) -> Tensor:
        ctx.of = basis, coordinates
        size, rows = values.shape[1:], basis([x[(slice(1),) * x.ndim] for x in coordinates], None)
        product = values.new_zeros(len(values), rows.shape[1])
        for block, columns in _columns(values, rows.shape[1], size, basis, coordinates):
            product += values[block].flatten(1) @ columns.flatten(1).mT
        return product

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return times_basis(grads[0], *ctx.of), None, None


def _columns(
    like: Tensor, rows: int, size: Sequence[int], basis: Basis, coordinates: Coordinates
) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
    """Yield every block of B (rows, *size): its place in (M, *size), and its columns.

    All blocks are computed in the same memory: fresh memory for each would cost more than the
    arithmetic.
    """
    most = max(1, _ENTRIES // rows)
    room = like.new_empty(2 * rows * min(most, math.prod(size)))
    for block in _blocks(size, most):
        shape = [len(range(n)[s]) for n, s in zip(size, block, strict=True)]
        here = room[: 2 * rows * math.prod(shape)].view(2, rows, *shape)
        yield (slice(None), *block), basis(_within(coordinates, block), here)[0]


def _blocks(size: Sequence[int], most: int) -> Iterator[tuple[slice, ...]]:
    """Cut a lattice into blocks of `most` pixels or a little less, slowest axis first."""
    inner = math.prod(size[1:])
    if len(size) > 1 and inner > most:
        for i in range(size[0]):
            for rest in _blocks(size[1:], most):
                yield slice(i, i + 1), *rest
    else:
        step = most // inner
        for i in range(0, size[0], step):
            yield slice(i, i + step), *[slice(None)] * (len(size) - 1)


def _within(coordinates: Coordinates, block: tuple[slice, ...]) -> list[Tensor]:
    """Cut coordinates to a block, but for the axes along which they do not extend."""
    return [
        x[
            (
                slice(None),
                *(slice(None) if n == 1 else s for s, n in zip(block, x.shape[1:], strict=True)),
            )
        ]
        for x in coordinates
    ]
