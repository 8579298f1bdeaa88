"""Boxes and points of an image, on the image that a warp makes of it: they go by the inverse."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from .._types import Theta
from ..grid import Transformation, box_points, enclosing_boxes, normalise, unnormalise

Coordinates: TypeAlias = Literal["normalised", "pixels", "edges"]

#: What coordinates count from: how far before the first pixel's centre, where they are in pixels.
ORIGINS: Mapping[Coordinates, float | None] = {"normalised": None, "pixels": 0.0, "edges": 0.5}


class Units(NamedTuple):
    """How coordinates are given, and on which images."""

    coordinates: Coordinates
    align_corners: bool
    source: tuple[int, ...]
    target: tuple[int, ...]


def moved(
    given: Float[Tensor, "N K numbers"], theta: Theta, transformation: Transformation, units: Units
) -> Float[Tensor, "N K numbers"]:
    """Return points (N, K, ndim), or boxes (N, K, 2 ndim), where the warped image shows them.

    A box is the smallest around the warped one. What is not found, as behind the camera, is NaN.
    """
    if not given.numel():
        return given
    ndim, count = transformation.ndim, given.shape[1]
    points = _normalised(torch.unflatten(given, 2, (-1, ndim)), units).flatten(2)
    if points.shape[2] == ndim:
        found = transformation.inverse_points(theta, points)
    else:
        found = enclosing_boxes(transformation.inverse_points(theta, box_points(points)), count)
    return _back(torch.unflatten(found, 2, (-1, ndim)), units).flatten(2)


def _normalised(points: Tensor, units: Units) -> Tensor:
    origin = ORIGINS[units.coordinates]
    if origin is None:
        return points
    return normalise(points - origin, units.source, units.align_corners)


def _back(points: Tensor, units: Units) -> Tensor:
    origin = ORIGINS[units.coordinates]
    if origin is None:
        return points
    return unnormalise(points, units.target, units.align_corners) + origin
