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

from .._context import context

Coordinates: TypeAlias = Sequence[Tensor]  # per axis (1, *lattice), or broadcastable to it
Basis: TypeAlias = Callable[[Coordinates], Tensor]  # to (1, R, *lattice)

_ENTRIES = 2**20  # of a block of B: 4 MB in float32, few enough blocks to lose no time between them


def times_basis(matrix: Tensor, basis: Basis, coordinates: Coordinates) -> Tensor:
    """Return M B (M, *lattice) for a matrix (M, R); derivatives are those of the matrix only."""
    if _in_blocks(matrix):
        return _TimesBasis.apply(matrix, basis, coordinates)  # pyright: ignore[reportReturnType]
    columns = basis(coordinates)[0]
    return (matrix @ columns.flatten(1)).reshape(matrix.shape[0], *columns.shape[1:])


def times_transpose(values: Tensor, basis: Basis, coordinates: Coordinates) -> Tensor:
    """Return V Bᵀ (M, R) for values (M, *lattice)."""
    if _in_blocks(values):
        return _TimesTranspose.apply(values, basis, coordinates)  # pyright: ignore[reportReturnType]
    columns = basis(coordinates)[0].flatten(1)
    return values.reshape(values.shape[0], columns.shape[1]) @ columns.mT


def _in_blocks(tensor: Tensor) -> bool:
    """Say whether Python runs the loop: not while tracing, nor under either `vmap` of torch's."""
    if context() != "eager":
        return False
    return not torch._C._functorch.is_legacy_batchedtensor(tensor)  # pyright: ignore


class _TimesBasis(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, basis: Basis, coordinates: Coordinates) -> Tensor:
        ctx.of = basis, coordinates
        size = torch.broadcast_shapes(*(x.shape[1:] for x in coordinates))
        product = matrix.new_empty(len(matrix), *size)
        for block in _blocks(size, _ENTRIES // matrix.shape[1]):
            columns = basis(_within(coordinates, block))[0]
            product[(slice(None), *block)] = torch.tensordot(matrix, columns, 1)
        return product

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return times_transpose(grads[0], *ctx.of), None, None


class _TimesTranspose(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, basis: Basis, coordinates: Coordinates) -> Tensor:
        ctx.of = basis, coordinates
        first = basis([x[(slice(1),) * x.ndim] for x in coordinates])
        product = values.new_zeros(len(values), first.shape[1])
        for block in _blocks(values.shape[1:], _ENTRIES // first.shape[1]):
            columns = basis(_within(coordinates, block))[0]
            product += values[(slice(None), *block)].flatten(1) @ columns.flatten(1).mT
        return product

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return times_basis(grads[0], *ctx.of), None, None


def _blocks(size: Sequence[int], most: int) -> Iterator[tuple[slice, ...]]:
    """Cut a lattice into blocks of `most` pixels or a little less, slowest axis first."""
    inner = math.prod(size[1:])
    if len(size) > 1 and inner > most:
        for i in range(size[0]):
            for rest in _blocks(size[1:], most):
                yield slice(i, i + 1), *rest
    else:
        step = max(1, most // inner)
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
