"""The paper's distortions of MNIST (appendix A.4).

Figures marked "second-hand" are not in the paper's text, but in notes and re-implementations that
agree.
"""

import math
from functools import partial

import torch
from torch import Tensor

from spatial_transformers import Affine, Projective

from ..data.distortion import (
    IMAGE,
    Distortion,
    homography,
    lattice_spline,
    normalised,
    rotated,
    rotation,
    square,
    translated,
)
from ..data.draws import Draws
from ..data.samples import Placed

_ATTEMPTS = 100  # to draw four corners in convex position; two in three succeed


def rotated_scaled_translated(draws: Draws) -> Placed:
    """RTS: rotation by U(-45°, 45°), scale U(0.7, 1.2), a random position on 42×42 (second-hand).

    The position is uniform where the scaled image, before it is turned, stays on the canvas. That
    is our choice, since no source says more than "random".
    """
    canvas = 42 / IMAGE
    scale = draws.uniform("scale", 0.7, 1.2)[..., None]  # (N, 1, 1)
    centre = (canvas - scale) * draws.uniform("position", -1, 1, 2)[..., None]  # (N, 2, 1)
    matrix = rotation(draws.uniform("angle", -45, 45)[:, 0]) / scale
    return Affine(), torch.cat((canvas * matrix, -matrix @ centre), 2).flatten(1)


def projected(draws: Draws) -> Placed:
    """P: scale U(0.75, 1), then each corner moved by N(0, 5) pixels along each axis (second-hand).

    Two choices are ours. We take 5 as the variance: as the standard deviation it would squeeze
    digits to lines, and networks err four times as often as the paper's. And we draw corners anew
    that are not in convex position, since they have no picture. The canvas of 28×28 is not
    confirmed.
    """
    still = square(draws.sample.device)
    corners = still.repeat(len(draws.sample), 1, 1)
    left = torch.arange(len(corners), device=still.device)
    for attempt in range(_ATTEMPTS):
        drawn = draws.of(left)
        moves = drawn.normal(f"corners {attempt}", normalised(math.sqrt(5)), 8).unflatten(1, (4, 2))
        moved = still * drawn.uniform(f"scale {attempt}", 0.75, 1)[..., None] + moves
        convex = _turns(moved).gt(0).all(1)
        corners[left[convex]] = moved[convex]
        left = left[~convex]
        if not len(left):
            break
    return Projective(), homography(corners, still)


def elastic(draws: Draws) -> Placed:
    """E: scale U(0.75, 1), then 4×4 points of a thin plate spline moved by N(0, 1.5 pixels).

    Figures are second-hand, and the canvas of 28×28 is not confirmed. It is our choice that the
    moves are those of the places in the image that the canvas's points read.
    """
    spline = lattice_spline(4, draws.sample.device)
    points = spline.points.double()
    scale = draws.uniform("scale", 0.75, 1)[..., None]
    moves = draws.normal("points", normalised(1.5), points.numel()).view(-1, *points.shape)
    return spline, ((points + moves) / scale - points).flatten(1)


#: The patches of TC are second-hand: six pieces of 6×6 pixels from random places of random other
#: digits. That the brighter pixel stays where they overlap is our choice.
DISTORTIONS = {
    "R": Distortion(28, rotated),
    "RTS": Distortion(42, rotated_scaled_translated),
    "P": Distortion(28, projected),
    "E": Distortion(28, elastic),
    "TC": Distortion(60, partial(translated, canvas=60), patches=6),
}


def _turns(corners: Tensor) -> Tensor:
    """Return at each corner twice the area it spans with its neighbours: positive if convex."""
    edge = corners.roll(-1, 1) - corners
    following = edge.roll(-1, 1)
    return edge[..., 0] * following[..., 1] - edge[..., 1] * following[..., 0]
