"""OpenCV's convention: matrices on pixel indices, from source to target unless said otherwise."""

import torch
from torch import Tensor

from .._context import at_least_float32
from .._errors import InputError
from .._types import Size, require_tensor
from .numerics.matrices import Matrix, invert, product, square
from .regular import Frame, as_size, half_extents, pixel_frame


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
        InputError: for matrices of another shape or of integers, or if a map of the batch has no
            inverse, unless `inverse_map` makes one unnecessary.

    Example:
        >>> import torch
        >>> from spatial_transformers import Attention, to_opencv
        >>> left_half = Attention().matrix(torch.tensor([[0.5, -0.5, 0.0]]))
        >>> to_opencv(left_half, size=(4, 4), source_size=(8, 8), inverse_map=True).tolist()
        [[[1.0, 0.0, 0.0], [0.0, 1.0, 2.0]]]
        >>> to_opencv(torch.eye(3).repeat(2, 1, 1), size=(4, 4), source_size=(8, 8)).shape
        torch.Size([2, 3, 3])

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

    The reverse of `to_opencv`, with the same arguments and errors. OpenCV's matrices are NumPy
    arrays in float64: `torch.from_numpy(cv2.getRotationMatrix2D(…))[None]` is a batch of one.

    Args:
        matrix: OpenCV's, (N, ndim, ndim + 1), or square.
        size: see `to_opencv`, as for all further options.
        source_size: see `to_opencv`.
        align_corners: see `to_opencv`.
        inverse_map: see `to_opencv`.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, from_opencv
        >>> shift = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]])  # 2 pixels to the right
        >>> Affine().from_matrix(from_opencv(shift, size=(8, 8), source_size=(8, 8))).tolist()
        [[1.0, 0.0, -0.5, 0.0, 1.0, 0.0]]
        >>> from_opencv(torch.eye(3).repeat(2, 1, 1), size=(4, 4), source_size=(8, 8)).shape
        torch.Size([2, 3, 3])

    """
    full = _floating(matrix, "from_opencv")
    target, source = _units(full, size, align_corners), _units(full, source_size, align_corners)
    if not inverse_map:
        full = invert(full, "from_opencv")
    return _like(_moved(full, source, target, -1) / _ratios(full, source, target), matrix)


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
    """Return each entry's factor from normalised to pixel units: exactly 1 between equal sizes."""
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
