"""Matrices on homogeneous coordinates: shapes, inverses, and OpenCV's pixel matrices.

A map of `ndim` dimensions is written as ndim × (ndim + 1), or square with a last row, which is
(0, …, 0, 1) unless the map is projective. Everything is spelled out in products and sums: no
`torch.linalg.inv`, which does not export, and no matmul, which autocast and TF32 shorten.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from .._context import at_least_float32, refuse_samples
from .._types import InputError, Size, require_tensor
from .regular import Frame, as_size, half_extents, pixel_frame

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
        return torch.stack((d, -b, -c, a), -1).unflatten(-1, (2, 2)), a * d - b * c
    rows = matrix.unbind(-2)
    if k == 3:
        x, y, z = rows
        cofactors = [torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)]
    else:
        others = [[row for i, row in enumerate(rows) if i != r] for r in range(k)]
        cofactors = [_cross(*three) * (-1) ** r for r, three in enumerate(others)]
    return torch.stack(cofactors, -1), (rows[0] * cofactors[0]).sum(-1)


def _cross(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return the vector orthogonal to three in 4-D: determinants without one column each."""
    columns = torch.tensor(_ALL_BUT_ONE, device=a.device)
    a, b, c = (v[..., columns] for v in (a, b, c))  # (*N, 4, 3)
    signs = torch.tensor((1, -1, 1, -1), dtype=a.dtype, device=a.device)
    return (a * torch.linalg.cross(b, c)).sum(-1) * signs


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
    (x, y) with 0 at the first pixel's centre. OpenCV may round sampling positions to 1/32 pixel.
    An axis of one pixel with `align_corners=True` has no extent, and is taken as 2 pixels wide.

    Args:
        matrix: M_θ of a transformation, as its `matrix(theta)` gives it: (N, ndim, ndim + 1), or
            square, which a perspective needs. 3-D volumes go by the same rule.
        size: (H, W) of the target, `dsize` reversed.
        source_size: (H, W) of the source.
        align_corners: whether ±1 are the centres of the border pixels instead of their edges.
        inverse_map: give target to source instead, for `flags=cv2.WARP_INVERSE_MAP`.

    Returns:
        Matrices of the shape given, in float32 or better; square ones are scaled to a last entry
        of 1, unless that is 0.

    Raises:
        InputError: for another shape or integers, or if a map of the batch has no inverse, where
            one is asked for.

    Example:
        >>> import torch
        >>> from spatial_transformers import Attention, to_opencv
        >>> left_half = Attention().matrix(torch.tensor([[0.5, -0.5, 0.0]]))
        >>> to_opencv(left_half, size=(4, 4), source_size=(8, 8), inverse_map=True).tolist()
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 2.0]]]

    """
    full = _floating(matrix, "to_opencv")
    target, source = _units(full, size, align_corners), _units(full, source_size, align_corners)
    if not inverse_map:
        full = invert(full, "to_opencv")
        target, source = source, target
    scaled = full * _ratios(full, source, target)
    return _like(_moved(scaled, source, target, 1), matrix)


def from_opencv(
    matrix: Matrix,
    size: Size,
    source_size: Size,
    *,
    align_corners: bool = False,
    inverse_map: bool = False,
) -> Matrix:
    """Turn OpenCV's pixel matrices into normalised ones, for a transformation's `from_matrix`.

    The reverse of `to_opencv`, with the same arguments and errors. What OpenCV gives is a NumPy
    array in float64: `torch.from_numpy(cv2.getRotationMatrix2D(…))[None]` is the batch of it.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, from_opencv
        >>> shift = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]])  # 2 pixels to the right
        >>> Affine().from_matrix(from_opencv(shift, size=(8, 8), source_size=(8, 8))).tolist()
        [[1.0, 0.0, -0.5, 0.0, 1.0, 0.0]]

    """
    full = _floating(matrix, "from_opencv")
    target, source = _units(full, size, align_corners), _units(full, source_size, align_corners)
    if not inverse_map:
        full = invert(full, "from_opencv")
    return _like(_moved(full, source, target, -1) / _ratios(full, source, target), matrix)


def invert(matrix: Matrix, asked: str | None) -> Matrix:
    """Invert maps, square or without their last row, and give the same shape.

    Singular samples are NaN, without a gradient, while tracing and where nothing is `asked`.

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


def _floating(matrix: Tensor, asked: str) -> Tensor:
    """Return square matrices in float32 or better."""
    require_tensor(matrix, asked, "matrices")
    if not matrix.is_floating_point():
        raise InputError(f"{asked} was given a {matrix.dtype} matrix; give a floating dtype")
    return at_least_float32(square(matrix))


def _units(like: Tensor, size: Size, align_corners: bool) -> Frame:
    """Return the pixel frame of `size` in homogeneous coordinates, where every axis is extended."""
    size = as_size(size, like.shape[-1] - 1)
    centre = pixel_frame(size, align_corners).centre
    return Frame((*half_extents(size, align_corners), 1.0), (*centre, 0.0))


def _ratios(like: Tensor, rows: Frame, columns: Frame) -> Tensor:
    """Return what an entry gains from normalised to pixel units: exactly 1 between equal sizes."""
    return like.new_tensor([[r / c for c in columns.scale] for r in rows.scale])


def _moved(matrix: Tensor, after: Frame, before: Frame, sign: int) -> Tensor:
    """Subtract `sign` times one centre before mapping, and add `sign` times the other after it."""

    def shift(offset: tuple[float, ...], sign: int) -> Tensor:
        identity = torch.eye(len(offset), dtype=matrix.dtype, device=matrix.device)
        column = matrix.new_tensor([sign * x for x in offset])
        return (identity + column[:, None] * identity[-1])[None]

    return product(product(shift(after.centre, sign), matrix), shift(before.centre, -sign))


def _like(full: Tensor, given: Tensor) -> Tensor:
    """Drop the last row where the given matrices had none, or scale its last entry to 1."""
    if given.shape[1] < given.shape[2]:
        return full[:, :-1]
    last = full[:, -1:, -1:]
    return full / last.where(last != 0, 1)  # 0: the horizon runs through the first pixel, or centre
