"""Matrices on homogeneous coordinates: shapes, products and inverses.

A map of `ndim` dimensions is written as ndim × (ndim + 1), or square with a last row, which is
(0, …, 0, 1) unless the map is projective. Everything is spelled out in products and sums: no
`torch.linalg.inv`, which does not export, and no matmul, whose precision autocast and TF32 lower.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..._context import refuse_samples
from ..._errors import InputError

Matrix = Float[Tensor, "N rows columns"]

_SINGULAR = (
    "was asked for, but the map of {} has determinant 0 or not finite; leave it out, or keep "
    "scales away from 0"
)
_ALL_BUT_ONE = ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2))


def square(matrix: Matrix) -> Float[Tensor, "N columns columns"]:
    """Complete 2×3 to 3×3, and 3×4 to 4×4, by the row (0, …, 0, 1); leave square ones alone."""
    shape = tuple(matrix.shape)
    if shape[1:] not in ((2, 3), (3, 3), (3, 4), (4, 4)):
        raise InputError(
            f"matrices of shape {shape} were given; give (N, 2, 3), (N, 3, 3), (N, 3, 4) or "
            "(N, 4, 4), a batch of one as matrix[None]"
        )
    n, rows, columns = shape
    if rows == columns:
        return matrix
    last = torch.eye(columns, dtype=matrix.dtype, device=matrix.device)[-1:]
    return torch.cat((matrix, last.expand(n, 1, columns)), 1)


def product(a: Float[Tensor, "#N k k"], b: Float[Tensor, "#N k k"]) -> Float[Tensor, "N k k"]:
    """Multiply in full precision, whatever autocast or TF32 would do."""
    return (a[:, :, :, None] * b[:, None, :, :]).sum(2)


def adjugate(matrix: Float[Tensor, "*N k k"]) -> tuple[Tensor, Tensor]:
    """Return adjugate and determinant of matrices up to 4×4: their ratio is the inverse."""
    k = matrix.shape[-1]
    if k == 1:
        return torch.ones_like(matrix), matrix[..., 0, 0]
    if k == 2:
        (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
        return torch.unflatten(torch.stack((d, -b, -c, a), -1), -1, (2, 2)), a * d - b * c
    rows = matrix.unbind(-2)
    if k == 3:
        x, y, z = rows
        cofactors = [torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)]
    else:
        others = [[row for i, row in enumerate(rows) if i != r] for r in range(k)]
        cofactors = [_cross(*three) * (-1) ** r for r, three in enumerate(others)]
    return torch.stack(cofactors, -1), (rows[0] * cofactors[0]).sum(-1)


def _cross(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return the vector orthogonal to three in 4-D; entry i is a determinant without column i."""
    columns = torch.tensor(_ALL_BUT_ONE, device=a.device)
    a, b, c = (v[..., columns] for v in (a, b, c))  # (*N, 4, 3)
    signs = torch.tensor((1, -1, 1, -1), dtype=a.dtype, device=a.device)
    return (a * torch.linalg.cross(b, c)).sum(-1) * signs


def invert(matrix: Matrix, asked: str | None) -> Matrix:
    """Invert maps, square or without their last row, and give the same shape.

    While tracing, and if `asked` is None, singular samples give NaN, without a gradient. Otherwise
    they raise, and `asked` says in the error what was asked for.

    Raises:
        InputError: naming the singular samples.

    """
    ndim = matrix.shape[2] - 1
    is_square = matrix.shape[1] > ndim
    linear, translation = matrix[:, :, :ndim], matrix[:, :, ndim]
    result, determinant = adjugate(matrix if is_square else linear)
    singular = (determinant == 0) | ~determinant.isfinite()
    if asked is not None:
        refuse_samples(singular, f"{asked} {_SINGULAR}")
    per_entry = singular[:, None, None]
    inverse = (result.where(~per_entry, 0) / determinant.where(~singular, 1)[:, None, None]).where(
        ~per_entry, torch.nan
    )
    if is_square:
        return inverse
    moved = -(inverse * translation[:, None, :]).sum(-1, keepdim=True)
    return torch.cat((inverse, moved), -1)
