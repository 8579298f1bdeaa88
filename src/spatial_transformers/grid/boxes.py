"""Boxes through a transformation: points stand for a box, and a box encloses the mapped points.

Key points and polygons need neither: `transform_points` and `inverse_points` map them directly.
"""

import torch
from jaxtyping import Float, Real
from torch import Tensor

from .._context import at_least_float32
from .._errors import InputError
from .._types import require_tensor


def box_points(boxes: Real[Tensor, "N K bounds"], per_axis: int = 5) -> Float[Tensor, "N L ndim"]:
    """Return points that stand for boxes: corners, edges and inside, `per_axis` along each axis.

    Two per axis, the corners, are enough for affine maps; a map that bends needs more.

    Args:
        boxes: (N, K, 4) as x0, y0, x1, y1, or (N, K, 6) as x0, y0, z0, x1, y1, z1, normalised.
        per_axis: points along each axis, at least 2.

    Returns:
        (N, L, ndim), L = K · per_axis^ndim, to be mapped and given to `enclosing_boxes`.

    Raises:
        InputError: for another number of bounds, or fewer than 2 points per axis.

    Example:
        >>> from math import pi
        >>> import torch
        >>> from spatial_transformers import Rigid, box_points, enclosing_boxes
        >>> quarter_turn = torch.tensor([[pi / 2, 0.0, 0.0]])
        >>> boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.25]]])  # on the source
        >>> on_the_target = Rigid().inverse_points(quarter_turn, box_points(boxes))
        >>> (enclosing_boxes(on_the_target, len(boxes[0])) * 100).round().int().tolist()
        [[[0, -50, 25, 0]]]
        >>> box_points(torch.zeros(2, 3, 6), per_axis=2).shape  # 8 corners of 3 boxes in volumes
        torch.Size([2, 24, 3])

    """
    require_tensor(boxes, "box_points")
    odd = boxes.dtype == torch.bool or boxes.is_complex()
    if odd or boxes.ndim != 3 or boxes.shape[-1] not in (4, 6) or per_axis < 2:
        raise InputError(
            f"the points of boxes of shape {tuple(boxes.shape)} and {boxes.dtype}, {per_axis} per "
            "axis, were asked for; give numbers (N, K, 4) or (N, K, 6), and 2 or more per axis"
        )
    low, high = at_least_float32(boxes).chunk(2, -1)
    ndim = low.shape[-1]
    share = torch.linspace(0, 1, per_axis, dtype=low.dtype, device=boxes.device)
    lattice = torch.stack(torch.meshgrid([share] * ndim, indexing="ij"), -1).flatten(0, -2)
    return (low[:, :, None] + (high - low)[:, :, None] * lattice).flatten(1, 2)


def enclosing_boxes(points: Float[Tensor, "N L ndim"], count: int) -> Float[Tensor, "N K bounds"]:
    """Return the smallest boxes around `count` equal groups of mapped points.

    A box is NaN if one of its points is NaN, as points without an image are.

    Args:
        points: (N, L, ndim), the points of `box_points` after mapping: L / K for each box.
        count: K, the number of boxes per image.

    Raises:
        InputError: if the points do not form `count` equal groups.

    Example:
        >>> enclosing_boxes(torch.tensor([[[0.0, 1.0], [0.5, -1.0]]]), 1).tolist()
        [[[0.0, -1.0, 0.5, 1.0]]]
        >>> enclosing_boxes(torch.zeros(2, 24, 3), 3).shape
        torch.Size([2, 3, 6])

    """
    require_tensor(points, "enclosing_boxes")
    fits = points.ndim == 3 and points.shape[-1] in (2, 3) and points.is_floating_point()
    if not fits or count < 1 or points.shape[1] % count or not points.shape[1]:
        raise InputError(
            f"{count} boxes around points of shape {tuple(points.shape)} and {points.dtype} were "
            "asked for; give floats (N, K · points, 2 or 3) with the same number of points for "
            "each of the K boxes"
        )
    groups = torch.unflatten(points, 1, (count, -1))
    return torch.cat((groups.amin(2), groups.amax(2)), -1)
