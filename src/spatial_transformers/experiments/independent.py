"""Test inputs that this library has no part in: numpy draws, SciPy transforms.

A network that reads them as well as an experiment's own has learned the distortion, and no trait of
the program that distorted its training images, nor a cue that these give by accident. Everything
here is written in SciPy's terms, (row, column) in pixels, and no code that distorts is shared with
the experiments.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from spatial_transformers import InputError

from .data.digits import Splits
from .data.samples import InMemory

Array = NDArray[Any]
Labels = NDArray[np.int64]

#: Turns digits (N, 28, 28) in [0, 1], their labels and numpy's random numbers into a network's
#: inputs, and their targets.
Maker = Callable[..., tuple[Sequence[Array] | Array, Labels]]

MIDDLE = 13.5  # of 28 pixels
_CORNERS = np.array([[-0.5, -0.5], [-0.5, 27.5], [27.5, 27.5], [27.5, -0.5]])
_ONE_IN = 5  # so many digits becomes a volume, for which SciPy needs 30 ms


def of_digits(
    load: Callable[[Any, Path | None], Splits], makers: Callable[[Any], Mapping[str, Maker]]
) -> Callable[[Any, Path | None], dict[str, InMemory]]:
    """Return what makes inputs of an experiment's test digits.

    Args:
        load: reads a recipe's digits from a folder.
        makers: of a recipe, by name.

    """

    def inputs(recipe: Any, folder: Path | None) -> dict[str, InMemory]:
        chosen = makers(recipe)
        if not chosen:
            return {}
        test = load(recipe, folder).test
        return {name: made(maker, test) for name, maker in chosen.items()}

    return inputs


def made(maker: Maker, digits: InMemory) -> InMemory:
    """Return what a maker makes of digits (N, 1, 28, 28) in uint8, always alike.

    Raises:
        InputError: for images of another size.

    """
    images = digits.inputs[:, 0].cpu().numpy() / np.float32(255)
    if images.shape[1:] != (28, 28):
        size = "×".join(map(str, images.shape[1:]))
        raise InputError(f"images of {size} pixels were given to test on; give digits of 28×28")
    inputs, targets = maker(images, digits.targets.cpu().numpy(), np.random.default_rng(0))
    return InMemory(torch.from_numpy(np.asarray(inputs)), torch.from_numpy(targets))


def _each(distort: Callable[..., Array]) -> Maker:
    """Return a maker that distorts one digit after the other to a canvas (H, W)."""

    def maker(
        images: Array, labels: Labels, draw: Generator, **options: float
    ) -> tuple[list[Array], Labels]:
        return [distort(image, draw, **options)[None] for image in images], labels

    return maker


def _read(image: Array, matrix: Array, offset: Any, size: int) -> Array:
    """Return a canvas whose point p reads the image, or the body, at matrix · p + offset."""
    from scipy import ndimage  # here, since commands that score nothing need not wait for it

    shape = image.ndim * (size,)
    return ndimage.affine_transform(image, matrix, offset, shape, order=1, mode="grid-constant")


def _turn(degrees: float) -> Array:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@_each
def turned(image: Array, draw: Generator, about: float = MIDDLE) -> Array:
    """R: turned about the pixel (about, about)."""
    matrix, centre = _turn(draw.uniform(-90, 90)), np.array([about, about])
    return _read(image, matrix, centre - matrix @ centre, 28)


@_each
def posed(image: Array, draw: Generator) -> Array:
    """RTS: turned, scaled and placed on 42×42 pixels."""
    matrix, scale = _turn(draw.uniform(-45, 45)), draw.uniform(0.7, 1.2)
    centre = 20.5 + draw.uniform(-1, 1, 2) * (21 - 14 * scale)
    return _read(image, matrix / scale, MIDDLE - matrix @ centre / scale, 42)


def _through(image: Array, moved: Array) -> Array:
    """Return the image under the homography that moves its four corners there."""
    from scipy import ndimage

    rows, due = [], []
    for (y, x), (v, u) in zip(moved, _CORNERS, strict=True):
        rows += [[y, x, 1, 0, 0, 0, -v * y, -v * x], [0, 0, 0, y, x, 1, -u * y, -u * x]]
        due += [v, u]
    matrix = np.append(np.linalg.solve(rows, due), 1).reshape(3, 3)
    canvas = np.stack((*np.indices((28, 28)), np.ones((28, 28)))).reshape(3, -1)
    found = matrix @ canvas
    places = (found[:2] / found[2]).reshape(2, 28, 28)
    read = ndimage.map_coordinates(image, places, order=1, mode="grid-constant")
    return np.where(found[2].reshape(28, 28) > 0, read, 0)


@_each
def projected(image: Array, draw: Generator) -> Array:
    """P: scaled, then each corner moved, in convex position."""
    while True:
        moved = (
            MIDDLE + (_CORNERS - MIDDLE) * draw.uniform(0.75, 1) + draw.normal(0, 5**0.5, (4, 2))
        )
        y, x = (np.roll(moved, -1, 0) - moved).T  # along the edges
        if (y * np.roll(x, -1) < x * np.roll(y, -1)).all():
            return _through(image, moved)


@_each
def cornered(image: Array, draw: Generator) -> Array:
    """H: each corner moved by up to a fifth of the side."""
    return _through(image, _CORNERS + draw.uniform(-5.6, 5.6, (4, 2)))


def elastic(images: Array, labels: Labels, draw: Generator) -> tuple[list[Array], Labels]:
    """E: scaled, and warped by a thin plate spline of 4×4 points, which are moved."""
    from scipy import ndimage
    from scipy.interpolate import RBFInterpolator

    along = MIDDLE + 14 * np.linspace(-1, 1, 4)
    points = np.stack(np.meshgrid(along, along, indexing="ij"), -1).reshape(16, 2)
    scale = draw.uniform(0.75, 1, (len(images), 1, 1))
    values = MIDDLE + (points - MIDDLE + draw.normal(0, 1.5, (len(images), 16, 2))) / scale
    canvas = np.indices((28, 28)).reshape(2, -1).T
    flat = values.swapaxes(0, 1).reshape(16, -1)
    spline = RBFInterpolator(points, flat, kernel="thin_plate_spline", degree=1)
    places = spline(canvas).reshape(28, 28, -1, 2)
    return [
        ndimage.map_coordinates(image, read, order=1, mode="grid-constant")[None]
        for image, read in zip(images, places.transpose(2, 3, 0, 1), strict=True)
    ], labels


def cluttered(images: Array, labels: Labels, draw: Generator) -> tuple[list[Array], Labels]:
    """TC: placed on 60×60 pixels, under six pieces of other digits."""
    canvases = []
    for image in images:
        top, left = draw.integers(33, size=2)
        canvas = np.zeros((60, 60), np.float32)
        canvas[top : top + 28, left : left + 28] = image
        canvases.append(_clutter(canvas, images, draw, 6)[None])
    return canvases, labels


def _clutter(canvas: Array, images: Array, draw: Generator, pieces: int) -> Array:
    """Lay pieces of 6×6 pixels over a canvas; the brighter pixel stays."""
    for other in images[draw.integers(len(images), size=pieces)]:
        top, left = draw.integers(23, size=2)
        row, column = draw.integers(len(canvas) - 5, size=2)
        place = np.s_[row : row + 6, column : column + 6]
        canvas[place] = np.maximum(canvas[place], other[top : top + 6, left : left + 6])
    return canvas


def sums(images: Array, labels: Labels, draw: Generator) -> tuple[list[Array], Labels]:
    """Two digits in two channels, each under an RTS of its own, and their sum."""
    partners = draw.permutation(len(images))
    first, _ = posed(images, labels, draw)
    second, _ = posed(images[partners], labels, draw)
    pairs = zip(first, second, strict=True)
    return [np.concatenate(pair) for pair in pairs], labels + labels[partners]


def parts(images: Array, labels: Labels, draw: Generator) -> tuple[list[Array], Labels]:
    """Two digits of 16×16 pixels, one of 0 to 4 and one of 5 to 9, apart on 48×48.

    The clutter are pieces of digits from 0 to 4.
    """
    few = np.flatnonzero(labels < 5)
    cut = images[few]
    partners = draw.choice(np.flatnonzero(labels >= 5), len(few))
    canvases = []
    for pair in zip(few, partners, strict=True):
        along = np.sort(draw.uniform(0, 16, 2)) + np.array([0, 16])
        corners = np.stack((along, draw.uniform(0, 32, 2)), 1)[:, :: draw.choice([1, -1])]
        scale = 28 / 16  # the outer corners of both images lie half a pixel before their first
        placed = [
            _read(images[number], scale * np.eye(2), -0.5 - scale * (corner - 0.5), 48)
            for number, corner in zip(pair, corners, strict=True)
        ]
        canvases.append(_clutter(np.maximum(*placed), cut, draw, 8)[None])
    return canvases, 5 * labels[few] + labels[partners] - 5


def bodies(images: Array, labels: Labels, draw: Generator, degrees: float) -> tuple[Array, Labels]:
    """Digits of 12 planes, turned by up to so many degrees and placed in 60×60×60 voxels."""
    from scipy.spatial.transform import Rotation

    some = draw.permutation(len(images))[: max(1, len(images) // _ONE_IN)]
    volumes = np.empty((len(some), 1, 60, 60, 60), np.float32)
    for volume, image in zip(volumes, images[some], strict=True):
        turns = draw.uniform(-degrees, degrees, 3)
        turn = Rotation.from_euler("ZYX", turns, degrees=True).as_matrix()
        centre = 29.5 + draw.uniform(-16, 16, 3)
        body = np.broadcast_to(image, (12, 28, 28))
        volume[0] = _read(body, turn, [5.5, MIDDLE, MIDDLE] - turn @ centre, 60)
    return volumes, labels[some]
