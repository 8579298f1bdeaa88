"""Matrices on homogeneous coordinates: shapes, inverses, and OpenCV's pixel matrices.

A map of `ndim` dimensions is written as ndim × (ndim + 1), or square with a last row, which is
(0, …, 0, 1) unless the map is projective. Everything is spelled out in products and sums: no
`torch.linalg`, which does not export, and no matmul, which autocast and TF32 shorten.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from .._context import refuse_samples
from .._types import InputError, Size
from .regular import as_size, half_extents, pixel_frame

Matrix = Float[Tensor, "N rows columns"]


def square(matrix: Matrix) -> Float[Tensor, "N columns columns"]:
    """Complete 2×3 to 3×3, and 3×4 to 4×4, by the row (0, …, 0, 1); leave square ones alone."""
    n, rows, columns = matrix.shape
    if rows not in (columns, columns - 1):
        raise InputError(
            f"matrices of shape {tuple(matrix.shape)} were given; give (N, 2, 3), (N, 3, 3), "
            "(N, 3, 4) or (N, 4, 4)"
        )
    if rows == columns:
        return matrix
    last = torch.eye(columns, dtype=matrix.dtype, device=matrix.device)[-1:]
    return torch.cat((matrix, last.expand(n, 1, columns)), 1)


def product(a: Float[Tensor, "#N k k"], b: Float[Tensor, "#N k k"]) -> Float[Tensor, "N k k"]:
    """Multiply in full precision, whatever autocast or TF32 would do."""
    return (a[:, :, :, None] * b[:, None, :, :]).sum(2)


def adjugate(matrix: Float[Tensor, "*N k k"]) -> tuple[Tensor, Tensor]:
    """Return adjugate and determinant: the inverse is adjugate / determinant."""
    rows = [list(row.unbind(-1)) for row in matrix.unbind(-2)]
    k = len(rows)
    cofactors = [[_cofactor(rows, r, c) for r in range(k)] for c in range(k)]  # transposed
    result = torch.stack([torch.stack(row, -1) for row in cofactors], -2)
    determinant = sum(rows[0][c] * cofactors[c][0] for c in range(k))
    assert isinstance(determinant, Tensor)
    return result, determinant


def _cofactor(rows: list[list[Tensor]], r: int, c: int) -> Tensor:
    minor = [row[:c] + row[c + 1 :] for i, row in enumerate(rows) if i != r]
    value = _determinant(minor) if minor else torch.ones_like(rows[0][0])
    return -value if (r + c) % 2 else value


def _determinant(rows: list[list[Tensor]]) -> Tensor:
    if len(rows) == 1:
        return rows[0][0]
    if len(rows) == 2:
        (a, b), (c, d) = rows
        return a * d - b * c
    first = [rows[0][c] * _cofactor(rows, 0, c) for c in range(len(rows))]
    return torch.stack(first, -1).sum(-1)


def to_opencv(
    matrix: Matrix,
    size: Size,
    source_size: Size,
    *,
    align_corners: bool = False,
    inverse_map: bool = False,
) -> Matrix:
    """Turn normalised matrices, target to source, into OpenCV's pixel matrices.

    `cv2.warpAffine` (2×3) and `cv2.warpPerspective` (3×3) take them from source to target pixels,
    (x, y) with 0 at the first pixel's centre. OpenCV rounds sampling positions to 1/32 pixel.

    Args:
        matrix: M_θ of a transformation, as its `matrix(theta)` gives it: (N, ndim, ndim + 1), or
            square, which a perspective needs. 3-D volumes go by the same rule.
        size: (H, W) of the target, `dsize` reversed.
        source_size: (H, W) of the source.
        align_corners: whether ±1 are the centres of the border pixels instead of their edges.
        inverse_map: give target to source instead, for `flags=cv2.WARP_INVERSE_MAP`.

    Returns:
        Matrices of the shape given; projective ones are scaled to a last entry of 1.

    Raises:
        InputError: if a map of the batch has no inverse, where one is asked for.

    Example:
        >>> import torch
        >>> from spatial_transformers import Attention, to_opencv
        >>> left_half = Attention().matrix(torch.tensor([[0.5, -0.5, 0.0]]))
        >>> to_opencv(left_half, size=(4, 4), source_size=(8, 8), inverse_map=True).tolist()
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 2.0]]]

    """
    full = square(matrix)
    to_pixels, _ = _units(full, source_size, align_corners)
    _, to_normalised = _units(full, size, align_corners)
    pixels = product(product(to_pixels, full), to_normalised)
    if not inverse_map:
        pixels = invert(pixels, "to_opencv")
    return _like(pixels, matrix)


def from_opencv(
    matrix: Matrix,
    size: Size,
    source_size: Size,
    *,
    align_corners: bool = False,
    inverse_map: bool = False,
) -> Matrix:
    """Turn OpenCV's pixel matrices into normalised ones, for a transformation's `from_matrix`.

    The reverse of `to_opencv`, with the same arguments.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, from_opencv
        >>> shift = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]])  # 2 pixels to the right
        >>> Affine().from_matrix(from_opencv(shift, size=(8, 8), source_size=(8, 8))).tolist()
        [[1.0, 0.0, -0.5, 0.0, 1.0, 0.0]]

    """
    full = square(matrix)
    if not inverse_map:
        full = invert(full, "from_opencv")
    _, to_normalised = _units(full, source_size, align_corners)
    to_pixels, _ = _units(full, size, align_corners)
    return _like(product(product(to_normalised, full), to_pixels), matrix)


def invert(matrix: Float[Tensor, "N k k"], asked: str) -> Float[Tensor, "N k k"]:
    """Invert square matrices.

    Raises:
        InputError: naming the singular samples (while tracing, those are infinite or NaN).

    """
    result, determinant = adjugate(matrix)
    refuse_samples(
        (determinant == 0) | ~determinant.isfinite(),
        f"{asked} was asked for, but the map of {{}} has determinant 0 or not finite; leave it "
        "out, or keep scales away from 0",
    )
    return result / determinant[:, None, None]


def _units(like: Tensor, size: Size, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Return the matrices from normalised coordinates to pixel indices of `size`, and back."""
    ndim = like.shape[-1] - 1
    size = as_size(size, ndim)
    scale = like.new_tensor([*half_extents(size, align_corners), 1.0])
    centre = like.new_tensor([*pixel_frame(size, align_corners).centre, 0.0])
    there, back = torch.diag(scale), torch.diag(1 / scale)
    there[:, -1] += centre
    back[:, -1] -= centre / scale
    return there[None], back[None]


def _like(full: Tensor, given: Tensor) -> Tensor:
    """Drop the last row where the given matrices had none, or scale its last entry to 1."""
    if given.shape[1] < given.shape[2]:
        return full[:, :-1]
    return full / full[:, -1:, -1:]
