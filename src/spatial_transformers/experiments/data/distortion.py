"""Random distortions of images (appendix A.4), on the fly and in batches.

A distortion is a transformation, the canvas → the image, whose θ is drawn for every sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from spatial_transformers import Affine, ThinPlateSpline, sample, warp

from .draws import Draws
from .samples import Placed

IMAGE = 28  # pixels of MNIST's images, in which moves are counted
_PATCH = 6  # pixels of a piece of clutter


@dataclass(frozen=True)
class Distortion:
    """Puts images on a black canvas.

    Args:
        size: height and width of the canvas in pixels.
        place: draws where the canvas's points lie in the image.
        patches: how many pieces of other images clutter the canvas.

    """

    size: int
    place: Callable[[Draws], Placed]
    patches: int = 0

    def __call__(
        self,
        images: Tensor,
        draws: Draws,
        others: Tensor,
        *,
        jitter: float = 0.0,
        shift: float = 0.0,
        spread: float = 1.0,
    ) -> Tensor:
        """Return the images (N, 1, H, W) in [0, 1] on canvases (N, 1, size, size).

        Args:
            images: of the samples.
            draws: decide everything that is random.
            others: images (M, 1, H, W) in uint8 or [0, 1], pieces of which are the clutter.
            jitter: strength of the bends of the image itself, before it is placed, which augment
                training: see `_bent`. Pieces of clutter then come from places between pixels.
                Images and pieces are read by bicubic interpolation. If one were blurred more than
                the other, that would tell digits from clutter in training, but not in scoring.
            shift: how far off the centre the image's centre of mass is moved, in pixels along each
                axis (the standard deviation); 0 leaves it where it is. It augments, too.
            spread: the part of its whole range from which the place is drawn.

        """
        transformation, theta = self.place(replace(draws, spread=spread))
        theta = theta.to(images)
        augmented = bool(jitter or shift)
        if augmented and not self.patches:
            points = transformation.grid(theta, self.size)
            return sample(images, _bent(points, images, draws, jitter, shift))
        if augmented:  # places are whole pixels: reading twice blurs no more
            images = bent(images, draws, jitter, shift)
        canvas = warp(images, theta, transformation, size=self.size)
        if self.patches:
            canvas = clutter(canvas, draws, others, self.patches, between=augmented)
        return canvas


def rotated(draws: Draws, share: float = 1.0) -> Placed:
    """R: rotation by U(-90°, 90°) about the centre (second-hand).

    Args:
        draws: of the angle.
        share: the part of the canvas's width that the image spans.

    """
    matrix = rotation(draws.uniform("angle", -90, 90)[:, 0]) / share
    return Affine(), torch.cat((matrix, torch.zeros_like(matrix[..., :1])), 2).flatten(1)


def bent(images: Tensor, draws: Draws, strength: float, shift: float = 0.0) -> Tensor:
    """Return images (N, 1, H, W) that are bent in place: see `_bent`."""
    return _sharp(images, _bent(_still(images), images, draws, strength, shift))


def translated(draws: Draws, canvas: int) -> Placed:
    """T: a random position, in whole pixels, on a canvas of so many pixels."""
    room = canvas - IMAGE
    corner = draws.integers("position", 0, room + 1, 2).double()
    return upright(canvas / IMAGE, normalised(1) * (room / 2 - corner))


def upright(scale: float | Tensor, move: Tensor) -> Placed:
    """Return the map of points p (N, 2) to scale · p + move, of one scale or (N,)."""
    zero, (x, y) = torch.zeros_like(move[:, 0]), move.unbind(1)
    return Affine(), torch.stack((zero + scale, zero, x, zero, zero + scale, y), 1)


def _bent(
    points: Tensor, images: Tensor, draws: Draws, strength: float, shift: float = 0.0
) -> Tensor:
    """Move points (N, H, W, 2) of images by a thin plate spline of 5×5 points and a linear map.

    The spline's points are moved by N(0, 1 pixel), the identity's entries by N(0, 0.1); `strength`
    multiplies both. A digit keeps its class (Simard, Steinkraus and Platt 2003). Without a shift it
    also keeps its centre of mass. But MNIST's centres of mass lie half a pixel off the centre about
    which `rotated` turns, so that where it lies tells the angle. With a shift it lies N(0, shift)
    off the centre, in any direction alike, and tells nothing. The image is read once, at the points
    that are returned: reading it twice would blur images in training only.
    """
    nodes = lattice_spline(5, points.device).points.double()
    linear = draws.normal("jitter", 0.1 * strength, 4).view(-1, 2, 2)
    moves = draws.normal("jitter of points", normalised(strength), nodes.numel())
    moves = moves.view(-1, *nodes.shape) + nodes @ linear.mT
    size, still = images.shape[2:], _still(images)
    pulls = _pulls(5, size, points.device).to(points)
    field = (moves.mT.flatten(0, 1).to(points) @ pulls).view(-1, 2, *size)
    bent = sample(images, still + field.movedim(1, -1))
    if shift:
        goal = draws.normal("shift", normalised(shift), 2).to(points)
    else:
        goal = _centre(images, still)
    points = points + (_centre(bent, still) - goal)[:, None, None]
    return points + sample(field, points, padding_mode="border").movedim(1, -1)


def _centre(images: Tensor, points: Tensor) -> Tensor:
    """Return the centre of mass (N, 2) of images (N, 1, H, W), 0 where there is none."""
    mass = images.flatten(1)
    return mass @ points.view(-1, 2) / mass.sum(1, keepdim=True).clamp(min=1e-6)


def _still(images: Tensor) -> Tensor:
    """Return the points (1, H, W, 2) of the images' own pixels."""
    return Affine().grid(Affine().identity()[None].to(images), images.shape[2:])


def _sharp(images: Tensor, points: Tensor) -> Tensor:
    return sample(images, points, mode="bicubic", padding_mode="border").clamp(0, 1)


def clutter(canvas: Tensor, draws: Draws, others: Tensor, patches: int, *, between: bool) -> Tensor:
    """Lay pieces of other images over the canvas, from whole pixels or from between them."""
    height, width = canvas.shape[2:]
    source = draws.integers("patches", 0, len(others), patches)
    top = draws.integers("patches' top", 0, others.shape[2] - _PATCH + 1, patches)
    left = draws.integers("patches' left", 0, others.shape[3] - _PATCH + 1, patches)
    row = draws.integers("patches' row", 0, height - _PATCH + 1, patches)
    column = draws.integers("patches' column", 0, width - _PATCH + 1, patches)
    along = torch.arange(_PATCH, device=canvas.device)
    down = along[:, None]
    pieces = others[
        source[..., None, None], 0, top[..., None, None] + down, left[..., None, None] + along
    ]  # (N, patches, 6, 6)
    pieces = (pieces if pieces.is_floating_point() else pieces / 255).to(canvas)
    if between:
        apart = pieces.view(-1, 1, _PATCH, _PATCH)
        moves = draws.uniform("patches' shift", -1 / _PATCH, 1 / _PATCH, 2 * patches).to(canvas)
        pieces = _sharp(apart, _still(apart) + moves.view(-1, 1, 1, 2))
    places = (row[..., None, None] + down) * width + column[..., None, None] + along
    flat = canvas.flatten(1).scatter_reduce(
        1, places.flatten(1), pieces.view(len(canvas), -1), "amax"
    )
    return flat.view_as(canvas)


def normalised(pixels: float) -> float:
    """Return a length in the normalised units of the image."""
    return 2 * pixels / IMAGE


def rotation(degrees: Tensor) -> Tensor:
    """Return the matrices (N, 2, 2) of turns by angles (N,)."""
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((cos, -sin, sin, cos), -1).view(-1, 2, 2)


def square(device: torch.device) -> Tensor:
    """Return the corners (4, 2) of an image, one after the other around it."""
    corners = [[-1.0, -1], [1, -1], [1, 1], [-1, 1]]
    return torch.tensor(corners, dtype=torch.float64, device=device)


def homography(corners: Tensor, images: Tensor) -> Tensor:
    """Return the θ (N, 8) of the projective map that sends four points to four images."""
    x, y = corners.unbind(-1)  # (N, 4)
    u, v = images.expand_as(corners).unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows = torch.cat(
        (
            torch.stack((x, y, one, zero, zero, zero, -u * x, -u * y), -1),
            torch.stack((zero, zero, zero, x, y, one, -v * x, -v * y), -1),
        ),
        1,
    )
    return torch.linalg.solve(rows, torch.cat((u, v), 1))


@cache
def _pulls(points: int, size: torch.Size, device: torch.device) -> Tensor:
    """Return how far each pixel moves when one of P points moves by one: (P, H · W)."""
    spline = lattice_spline(points, device)
    still = spline.identity().to(device)
    moves = torch.zeros(len(spline.points), *spline.points.shape, device=device)
    moves[..., 0] = torch.eye(len(moves), device=device)
    moved = spline.grid(still + moves.flatten(1), size) - spline.grid(still[None], size)
    return moved[..., 0].flatten(1)


@cache
def lattice_spline(points: int, device: torch.device) -> ThinPlateSpline:
    """Return a thin plate spline of `points` × `points` control points."""
    return ThinPlateSpline(points).to(device)
