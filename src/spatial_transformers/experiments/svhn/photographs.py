"""Photographs of words that are numbers, to test networks that were trained on made ones.

A folder `digit_words` has the pictures in `images`, and a list `labels.csv` with a line for each:
the picture (`file`), what it says (`digits`), its `width` and `height`, and for each digit a box
(left, top, width, height) in pixels, separated by semicolons (`digit_boxes_xywh_pixels`). There are
no boxes where the number fills the picture.
"""

import csv
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import torch

from spatial_transformers import InputError

from ..data.official import require_file
from ..data.samples import InMemory
from .numbers import Box, Crops, around, padded
from .street import LONGEST

FOLDER = "digit_words"
_LARGEST = 1 << 20  # bytes of a list
_CURE = f"unpack {FOLDER} again, or take it out of the folder"


def photographs(folder: Path, size: int) -> InMemory:
    """Return the crops (N, 3, size, size) of numbers of at most five digits, and labels (N, 5).

    Raises:
        InputError: for what is missing or damaged.

    """
    path = folder / FOLDER / "labels.csv"
    crops, targets = Crops({}, size), []
    for image, labels, box in _listed(path):
        where = folder / FOLDER / "images" / image
        if where in crops.boxes:
            raise InputError(f"{where}: listed twice; {_CURE}")
        if len(labels) <= LONGEST:
            crops.boxes[where] = box
            targets.append(padded(labels))
    if not targets:
        raise InputError(f"{path}: no number of one to {LONGEST} digits is listed; {_CURE}")
    return InMemory(torch.stack([*map(crops, crops.boxes)]), torch.tensor(targets))


def _listed(path: Path) -> Iterator[tuple[str, list[int], Box]]:
    """Give what a list says."""
    require_file(path, _CURE, _LARGEST)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.DictReader(file)
        try:
            for row in lines:
                yield _parsed(row)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
            raise InputError(
                f"{path}, line {lines.line_num}: not a photograph, its digits, its size and a box "
                f"for each digit or none; {_CURE}"
            ) from error


def _parsed(row: dict[str, str]) -> tuple[str, list[int], Box]:
    """Return what a line lists; raise an error of Python for any other line."""
    name, digits = row["file"], row["digits"]
    listed = row["digit_boxes_xywh_pixels"].split(";")
    boxes = [Box(*map(float, box.split())) for box in listed if box]
    boxes = boxes or [Box(0.0, 0.0, float(row["width"]), float(row["height"]))]
    if Path(name).name != name or not (digits.isascii() and digits.isdecimal()):
        raise ValueError
    if len(boxes) not in (1, len(digits)) or not all(map(_has_area, boxes)):
        raise ValueError
    return name, [int(digit) for digit in digits], around(boxes)


def _has_area(box: Box) -> bool:
    return all(map(isfinite, box)) and min(box.width, box.height) > 0
