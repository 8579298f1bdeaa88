"""The regular grid G, and the only file that knows pixel centres from corners.

One axis of n pixels has the pixel indices j = 0 … n-1 and the centred positions
`j - (n - 1)/2`, exact in floating point. In both conventions a normalised coordinate in [-1, 1]
is a centred position over the axis's *half extent*, and only that number differs:

- `align_corners=False`: n/2, so that ±1 are the outer edges of the border pixels;
- `align_corners=True`: (n - 1)/2, so that ±1 are their centres.

Sizes are (H, W) or (D, H, W) as tensors have them; coordinates are (x, y) or (x, y, z). Everything
per axis below is in the order of coordinates, x first.
"""

from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .._context import is_traced
from .._errors import InputError, shown
from .._types import Size, require_tensor

_MOST_PIXELS = 1 << 31  # of a target


class Frame(NamedTuple):
    """Units of coordinates, per axis: `coordinate = normalised * scale + centre`."""

    scale: tuple[float, ...]
    centre: tuple[float, ...]


def normalised_frame(ndim: int) -> Frame:
    """Return the frame of coordinates in [-1, 1]."""
    return Frame((1.0,) * ndim, (0.0,) * ndim)


def pixel_frame(size: Sequence[int], align_corners: bool) -> Frame:
    """Return the frame of pixel indices: 0 is the centre of the first pixel."""
    axes = tuple(reversed(size))
    return Frame(
        tuple((n - 1) / 2 if align_corners else n / 2 for n in axes),
        tuple((n - 1) / 2 for n in axes),
    )


def centred_axes(
    size: Sequence[int], *, dtype: torch.dtype, device: torch.device | str | None = None
) -> tuple[Tensor, ...]:
    """Return the centred pixel positions per axis, x first, each broadcastable to (1, *size)."""
    axes = []
    for axis, n in enumerate(reversed(size)):
        positions = torch.arange(n, device=device, dtype=dtype) - (n - 1) / 2
        axes.append(positions.reshape(1, *[1] * (len(size) - 1 - axis), n, *[1] * axis))
    return tuple(axes)


def half_extents(size: Sequence[int], align_corners: bool) -> tuple[float, ...]:
    """Return the divisors of centred positions, x first: 1 where a lone pixel has no extent."""
    extents = pixel_frame(size, align_corners).scale
    return tuple(e if e != 0 else 1.0 for e in extents) if align_corners else extents


def over_extents(positions: Sequence[Tensor], extents: Sequence[float]) -> list[Tensor]:
    """Return centred positions as normalised coordinates, one tensor per axis."""
    return [x * (1 / extent) for x, extent in zip(positions, extents, strict=True)]


def regular_grid(
    size: Size,
    *,
    ndim: int = 2,
    align_corners: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Float[Tensor, "*target ndim"]:
    """Return G, the normalised coordinates of every pixel of an image of `size`.

    Convention: (x, y[, z]) on the last axis, x first; pixel centres unless `align_corners`.

    Example:
        >>> regular_grid((1, 4))[0, :, 0].tolist()
        [-0.75, -0.25, 0.25, 0.75]
        >>> regular_grid((1, 3), align_corners=True)[0, :, 0].tolist()
        [-1.0, 0.0, 1.0]

    """
    size = as_target(size, ndim)
    axes = centred_axes(size, dtype=dtype, device=device)
    extents = half_extents(size, align_corners)
    return torch.stack(torch.broadcast_tensors(*over_extents(axes, extents)), -1)[0]


def unnormalise(
    points: Float[Tensor, "*batch ndim"], size: Size, align_corners: bool = False
) -> Float[Tensor, "*batch ndim"]:
    """Turn normalised coordinates, of points or grids, into pixel indices of an image of `size`.

    The order of operations is that of `torch.nn.functional.grid_sample`, so that both see the same
    kinks wherever nothing is rounded (torch's vector code contracts the two operations into one).
    `Transformation.pixels` avoids this step.

    Args:
        points: (..., ndim), x first, in [-1, 1].
        size: see `normalise`.
        align_corners: see `normalise`.

    Raises:
        InputError: see `normalise`.

    Example:
        >>> unnormalise(torch.tensor([[-1.0, 0.0]]), (4, 8)).tolist()  # the left edge, half way
        [[-0.5, 1.5]]
        >>> unnormalise(torch.zeros(3), (4, 6, 8)).tolist()  # the centre of a volume
        [3.5, 2.5, 1.5]

    """
    require_tensor(points, "unnormalise", "points")
    extents = pixel_frame(as_size(size, points.shape[-1]), align_corners).scale
    offset = 0.0 if align_corners else 0.5
    axes = [(points[..., a] + 1) * extent - offset for a, extent in enumerate(extents)]
    return torch.stack(axes, -1)


def normalise(
    pixels: Float[Tensor, "*batch ndim"], size: Size, align_corners: bool = False
) -> Float[Tensor, "*batch ndim"]:
    """Turn pixel indices (x, y[, z]) of an image of `size` into normalised coordinates.

    For key points, boxes and polygons, which `Transformation.transform_points` takes in [-1, 1].
    Pixel 0's centre is 0: annotations that count from its outer edge are half a pixel larger.

    Args:
        pixels: (..., ndim), x first.
        size: the image's (H, W) or (D, H, W), or one number for all axes.
        align_corners: whether ±1 are the centres of the border pixels instead of their edges.

    Raises:
        InputError: for another number of axes, and what is no tensor.

    Example:
        >>> normalise(torch.tensor([[-0.5, 1.5]]), (4, 8)).tolist()
        [[-1.0, 0.0]]
        >>> normalise(torch.tensor([3.5, 2.5, 1.5]), (4, 6, 8)).tolist()
        [0.0, 0.0, 0.0]

    """
    require_tensor(pixels, "normalise", "pixels")
    size = as_size(size, pixels.shape[-1])
    centre, extents = pixel_frame(size, align_corners).centre, half_extents(size, align_corners)
    axes = [(pixels[..., a] - c) / e for a, (c, e) in enumerate(zip(centre, extents, strict=True))]
    return torch.stack(axes, -1)


def as_size(size: Size, ndim: int) -> tuple[int, ...]:
    """Check a size and spell it out per axis.

    Raises:
        InputError: for another number of axes than `ndim`, or an axis without pixels.

    """
    axes = tuple(size) if isinstance(size, Sequence) else (size,) * ndim
    if len(axes) != ndim or not all(_is_count(n) for n in axes):
        order = {1: "(W,)", 2: "(H, W)", 3: "(D, H, W)"}.get(ndim, f"{ndim} numbers")
        raise InputError(f"size {shown(size)} was asked for; give {order}, each at least 1 pixel")
    return axes


def as_target(size: Size, ndim: int) -> tuple[int, ...]:
    """Check the size of what is to be computed, and spell it out per axis.

    Raises:
        InputError: as `as_size` does, and for more pixels than can be meant.

    """
    axes = as_size(size, ndim)
    if type(axes[0]) is int and prod(axes) > _MOST_PIXELS:  # else a tracer would guard it
        raise InputError(
            f"size {shown(size)} was asked for, {prod(axes):,} pixels; give at most "
            f"{_MOST_PIXELS:,}"
        )
    return axes


def _is_count(n: Any) -> bool:
    if type(n) is int:  # by far the most common, and quicker to tell
        return n > 0
    if isinstance(n, Tensor):  # as sizes are to `torch.jit.trace`
        return is_traced()
    if isinstance(n, bool) or not isinstance(n, (Integral, torch.SymInt)):
        return False
    return bool(n > 0)  # pyright: ignore[reportOperatorIssue]
