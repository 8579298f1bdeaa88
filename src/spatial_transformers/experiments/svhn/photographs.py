"""Photographs of words that are numbers, to test networks that were trained on made ones.

A folder `digit_words` has the pictures in `images`, and a list `labels.csv` with a line for each:
the picture (`file`), what it says (`digits`), its `width` and `height`, and for each digit a box
(left, top, width, height) in pixels, separated by semicolons (`digit_boxes_xywh_pixels`). There are
no boxes where the number fills the picture.
"""

import csv
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
    require_file(path, _CURE, _LARGEST)
    crops, targets = Crops({}, size), []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                image, labels, box = _parsed(row)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}, line {number}: not a photograph; {_CURE}") from error
            if len(labels) <= LONGEST:
                crops.boxes[folder / FOLDER / "images" / image] = box
                targets.append(padded(labels))
    if not targets:
        raise InputError(f"{path}: no number of one to {LONGEST} digits is listed; {_CURE}")
    return InMemory(torch.stack([*map(crops, crops.boxes)]), torch.tensor(targets))


def _parsed(row: dict[str, str]) -> tuple[str, list[int], Box]:
    """Return what a line lists; raise an error of Python for any other line."""
    name, digits = row["file"], row["digits"]
    boxes = [
        Box(*map(float, box.split())) for box in row["digit_boxes_xywh_pixels"].split(";") if box
    ]
    if Path(name).name != name or not (digits.isascii() and digits.isdecimal()):
        raise ValueError
    whole = Box(0, 0, int(row["width"]), int(row["height"]))
    return name, [int(digit) for digit in digits], around(boxes or [whole])
