"""Photographs of words that are numbers, to test networks that were trained on made ones.

A folder `digit_words` has the pictures in `images`, and a list `labels.csv` with a line for each:
the picture (`file`), what it says (`digits`), its `width` and `height`, and for each digit a box
(left, top, width, height) in pixels, separated by semicolons (`digit_boxes_xywh_pixels`). There are
no boxes where the number fills the picture.
"""

import csv
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from spatial_transformers import InputError

from .official import require_file

FOLDER = "digit_words"
_LARGEST = 1 << 20  # bytes of a list
_CURE = f"unpack {FOLDER} again, or take it out of the folder"


class Box(NamedTuple):
    """A part of a picture, in pixels: from the left and from the top, and its size."""

    left: float
    top: float
    width: float
    height: float


class Photograph(NamedTuple):
    """A picture of a number.

    Args:
        path: of the picture.
        digits: of the number, in order.
        box: about all of them.

    """

    path: Path
    digits: list[int]
    box: Box


def around(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all of them."""
    left, top = (min(box[axis] for box in boxes) for axis in (0, 1))
    right, bottom = (max(box[axis] + box[axis + 2] for box in boxes) for axis in (0, 1))
    return Box(left, top, right - left, bottom - top)


def photographs(folder: Path, longest: int) -> list[Photograph]:
    """Return the numbers of at most so many digits that `digit_words` in a folder has.

    Raises:
        InputError: for what is missing or damaged.

    """
    path = folder / FOLDER / "labels.csv"
    found: dict[Path, Photograph] = {}
    for image, digits, box in _listed(path):
        where = folder / FOLDER / "images" / image
        if where in found:
            raise InputError(f"{where}: listed twice; {_CURE}")
        found[where] = Photograph(where, digits, box)
    short = [one for one in found.values() if len(one.digits) <= longest]
    if not short:
        raise InputError(f"{path}: no number of one to {longest} digits is listed; {_CURE}")
    return short


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
