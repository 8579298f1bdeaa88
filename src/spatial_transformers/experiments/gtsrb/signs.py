"""Traffic signs: GTSRB's from its official folders or from two files of arrays, or some made here.

The official layout has a folder of PPM images for each class, with a list `GT-000cc.csv`, and one
folder of test images, with the list `GT-final_test.csv`. All images are read whole, at 32×32
pixels. Thirty images of a track show one sign, so the images that are held out are whole tracks.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import torch
from torch import Tensor

from spatial_transformers import InputError

from ..data.official import held_out, read_arrays, require_file, require_labels
from ..data.pictures import read_all
from ..data.samples import InMemory

CLASSES = 43
SIDE = 32  # pixels of an image, along each axis
HELD_OUT = 10  # one track of so many validates, in each class
_TRAIN, _TEST = "Final_Training/Images", "Final_Test/Images"
_TEST_LIST = "GT-final_test.csv"
_ARRAYS = "gtsrb32_train.npz", "gtsrb32_test.npz"
_COLUMNS = ("Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")
_NAME = re.compile(r"^(?:(\d{5})_)?\d{5}\.ppm$")  # of an image, with its track in training
_LARGEST_LIST = 1 << 22  # bytes
_MOST_TRACKS = 100_000  # of a class: names have five digits for them
_COUNTS = 640, 80, 320  # signs that are made to train, validate and test
_CURE = (
    f"give --data the folder that holds GTSRB's {_TRAIN}, {_TEST} and {_TEST_LIST}, or "
    f"{' and '.join(_ARRAYS)}"
)


class _Listed(NamedTuple):
    """An image of a list."""

    path: Path
    label: int
    track: int


def read(folder: Path | None) -> list[InMemory]:
    """Return the images (N, 3, 32, 32) that train, validate and test, and their labels.

    Raises:
        InputError: for what is missing, damaged, or does not fit together.

    """
    if folder is None:
        raise InputError(f"gtsrb has no data of its own; {_CURE}")
    if (folder / _ARRAYS[0]).is_file():
        images, labels, tracks = _from_arrays(folder / _ARRAYS[0], tracked=True)
        others, other_labels, _ = _from_arrays(folder / _ARRAYS[1], tracked=False)
    else:
        root = next((r for r in (folder, folder / "GTSRB") if (r / _TRAIN).is_dir()), None)
        if root is None:
            raise InputError(f"{folder}: no {_TRAIN} and no {_ARRAYS[0]} there; {_CURE}")
        images, labels, tracks = _loaded(list(_training(root)))
        others, other_labels, _ = _loaded(list(_test(root)))
    held = held_out(labels, tracks, HELD_OUT)
    parts = [(images[~held], labels[~held]), (images[held], labels[held]), (others, other_labels)]
    for name, (_, found) in zip(("training", "validation", "test"), parts, strict=True):
        if not len(found):
            raise InputError(f"{folder}: no image is left for {name}; {_CURE}")
    return [InMemory(*part) for part in parts]


def _from_arrays(path: Path, *, tracked: bool) -> tuple[Tensor, Tensor, Tensor]:
    images, labels, *rest = read_arrays(path, ("x", "y", "track")[: 2 + tracked], _CURE)
    tracks = rest[0] if tracked else np.zeros(labels.shape, int)
    count = len(images) if images.ndim else 0
    due = (count, SIDE, SIDE, 3), (count,), (count,)
    if (images.shape, labels.shape, tracks.shape) != due or images.dtype != np.uint8:
        raise InputError(
            f"{path}: images {images.shape} in {images.dtype}, labels {labels.shape} and tracks "
            f"{tracks.shape}, not (N, {SIDE}, {SIDE}, 3) in uint8, (N,) and (N,); {_CURE}"
        )
    require_labels(path, labels, CLASSES, _CURE)
    require_labels(path, tracks, _MOST_TRACKS, _CURE)
    pixels = torch.from_numpy(images).movedim(-1, 1).contiguous()
    return pixels, torch.from_numpy(labels).long(), torch.from_numpy(tracks).long()


def _training(root: Path) -> Iterator[_Listed]:
    """Give the images of all classes."""
    for label in range(CLASSES):
        name = f"{label:05d}"
        for entry in _entries(root / _TRAIN / name / f"GT-{name}.csv", root / _TRAIN / name):
            if entry.label != label:
                raise InputError(
                    f"{entry.path}: listed as class {entry.label} in the folder of class {label}; "
                    "unpack GTSRB again"
                )
            yield entry


def _test(root: Path) -> Iterator[_Listed]:
    """Give the test images; their list with classes is a download of its own."""
    places = (root / _TEST / _TEST_LIST, root / _TEST_LIST, root.parent / _TEST_LIST)
    return _entries(next((p for p in places if p.is_file()), places[0]), root / _TEST)


def _entries(path: Path, images: Path) -> Iterator[_Listed]:
    """Give what a list says, whose columns are separated by semicolons."""
    require_file(path, _CURE, _LARGEST_LIST)
    seen: set[str] = set()
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for number, row in enumerate(_lines(file), 2):
            try:
                listed, (width, height, *box, label) = _parsed(row, images)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path}, line {number}: not a file name and the numbers "
                    f"{', '.join(_COLUMNS)}; unpack GTSRB again"
                ) from error
            if listed.path.name in seen:
                raise InputError(f"{path}, line {number}: {listed.path.name} is listed twice")
            seen.add(listed.path.name)
            if not 0 <= label < CLASSES:
                raise InputError(
                    f"{path}, line {number}: class {label}; GTSRB has 0 to {CLASSES - 1}"
                )
            left, top, right, bottom = box
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                raise InputError(
                    f"{path}, line {number}: the box {box} is not in an image of {width}×{height} "
                    "pixels; unpack GTSRB again"
                )
            yield listed


def _lines(file: TextIO) -> Iterator[Mapping[str, str]]:
    return csv.DictReader(file, delimiter=";", quoting=csv.QUOTE_NONE)


def _parsed(row: Mapping[str, str], images: Path) -> tuple[_Listed, Sequence[int]]:
    """Return what a line lists, and its numbers; raise an error of Python for any other line."""
    named = _NAME.match(row["Filename"])
    if named is None:
        raise ValueError
    numbers = [int(row[column]) for column in _COLUMNS]
    return _Listed(images / named[0], numbers[-1], int(named[1] or 0)), numbers


def _loaded(entries: Sequence[_Listed]) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, labels and tracks."""
    images = read_all([entry.path for entry in entries], SIDE)
    labels = torch.tensor([entry.label for entry in entries], dtype=torch.long)
    return images, labels, torch.tensor([entry.track for entry in entries], dtype=torch.long)


def generated(folder: Path | None) -> list[InMemory]:
    """Return signs of eight classes, red or blue in four shapes, turned and placed at random."""
    if folder is not None:
        raise InputError("generated signs need no folder; leave --data out")
    draw = torch.Generator().manual_seed(0)
    return [_shapes(count, draw) for count in _COUNTS]


def _shapes(count: int, draw: torch.Generator) -> InMemory:
    def uniform(low: float, high: float, *size: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *(size or (1, 1)), generator=draw)

    labels = torch.arange(count) % 8
    at = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    x, y = (at - uniform(-0.35, 0.35)), (at[:, None] - uniform(-0.35, 0.35, 1, 1))
    x, y = x.expand(count, SIDE, SIDE), y.expand(count, SIDE, SIDE)
    turn, scale = uniform(-0.5, 0.5, 1, 1), uniform(0.35, 0.6, 1, 1)
    x, y = (turn.cos() * x + turn.sin() * y) / scale, (turn.cos() * y - turn.sin() * x) / scale
    edges = torch.stack(
        (
            (x.square() + y.square()).sqrt(),  # a circle
            torch.maximum(x.abs() * 1.7 - y, 2 * y) / 1.4,  # a triangle
            torch.maximum(x.abs(), y.abs()) * 1.15,  # a square
            (x.abs() + y.abs()) * 0.85,  # a diamond
        )
    )
    inside = edges[labels // 2, torch.arange(count)] < 1
    bright = uniform(0.3, 1.0, 1, 1, 1)
    colours = torch.tensor([[0.8, 0.15, 0.15], [0.15, 0.25, 0.8]])[labels % 2][..., None, None]
    ground = uniform(0.1, 0.6, 3, 1, 1) + 0.1 * torch.randn(count, 3, SIDE, SIDE, generator=draw)
    images = torch.where(inside[:, None], colours * bright, ground).clamp(0, 1)
    return InMemory((255 * images).to(torch.uint8), labels)
