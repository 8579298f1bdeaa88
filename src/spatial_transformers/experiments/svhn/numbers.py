"""SVHN's full numbers, from the official folders: pictures in PNG, and `digitStruct.mat`.

`train`, `test` and, if it is there, `extra` hold a list each, in HDF5 as MATLAB 7.3 writes it: of
every picture its name, and of every digit a box and a label, 10 for a zero. A number's crop is the
box of all its digits, grown by 30%, or for a loose crop by as much as makes it twice as wide.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatial_transformers import InputError, Projective

from ..data.distortion import homography, square
from ..data.draws import Draws
from ..data.official import require_file
from ..data.photographs import Box, around
from ..data.pictures import read_pixels, resized
from ..data.samples import InFiles, Placed
from ..data.street import padded
from ..progress import Bar

LONGEST = 5  # digits of a number
TIGHT, LOOSE = 64, 128  # pixels of a crop along each axis, close to the number or loose
_GROWN = 1.3  # times its box is a tight crop about a number; a loose one is twice as large
_LIST = "digitStruct.mat"
_LARGEST = 1 << 30  # bytes of a list
_PER_NUMBER = 16  # digits that are read of one picture
_KEYS = ("left", "top", "width", "height", "label")
_HELD_OUT = 5_000  # numbers that validate, or a sixth if there are few
_DAMAGED = (
    *(LookupError, ValueError, TypeError, AttributeError),
    *(OSError, RuntimeError, OverflowError, MemoryError),
)
_CURE = f"give --data the folder that holds SVHN's train and test (and extra), each with {_LIST}"


@dataclass(frozen=True)
class Crops:
    """Reads the crop about a number.

    Args:
        boxes: of the numbers, by the path of the picture.
        size: of a crop in pixels along each axis.

    """

    boxes: dict[Path, Box]
    size: int

    def __call__(self, path: Path) -> Tensor:
        """Return the crop (3, size, size) in uint8; beyond the picture its edge goes on."""
        box, pixels = self.boxes[path], read_pixels(path)
        height, width = pixels.shape[1:]
        sides, ends = [], ((box.left, box.width, width), (box.top, box.height, height))
        for start, length, pixels_there in ends:
            grown = length * _GROWN * (2 if self.size == LOOSE else 1)
            first = round(start + (length - grown) / 2)
            sides.append((first, first + max(round(grown), 1)))
            if start >= pixels_there or start + length <= 0 or length > 2 * pixels_there:
                raise InputError(
                    f"{path}: its number is listed at {tuple(box)}, which does not fit its "
                    f"{width}×{height} pixels; unpack the data set again"
                )
        columns, rows = (torch.arange(first, last) for first, last in sides)
        crop = pixels[:, rows.clamp(0, height - 1)][..., columns.clamp(0, width - 1)]
        return resized(crop[None].float(), self.size)[0].round().clamp(0, 255).to(torch.uint8)


def place(draws: Draws, size: int) -> Placed:
    """Where a crop's points lie in a number's own box, which spans [-1, 1] along both axes.

    The box grown by 30% is the crop, moved by up to a tenth of it; a loose crop is twice as large
    and the number anywhere in it. The box's corners are moved, so that it is seen askew.
    """
    still = square(draws.sample.device)
    loose = size == LOOSE
    share = (0.5 if loose else 1.0) / _GROWN * draws.uniform("size", 0.85, 1.1)
    room = (1 - share) if loose else torch.full_like(share, 0.1)
    centre = room * draws.uniform("place", -1, 1, 2)
    moves = share[..., None] * draws.uniform("corners", -0.12, 0.12, 8).view(-1, 4, 2)
    corners = share[..., None] * still + centre[:, None] + moves
    return Projective(), homography(corners, still)


def read(folder: Path | None, size: int) -> list[InFiles]:
    """Return the numbers that train, validate and test: crops, and labels (N, 5).

    Raises:
        InputError: for what is missing, damaged, or does not fit together.

    """
    if folder is None:
        raise InputError(f"svhn has no data of its own; {_CURE}")
    crops = Crops({}, size)
    train, test = (_numbers(folder / part, crops) for part in ("train", "test"))
    count = min(_HELD_OUT, len(train) // 6)
    if not count or not len(test):
        raise InputError(
            f"{folder}: {len(train)} numbers to train and {len(test)} to test; {_CURE}"
        )
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    validation, training = _part(train, order[:count]), _part(train, order[count:])
    if (folder / "extra").is_dir():
        training += _numbers(folder / "extra", crops)
    return [training, validation, test]


def _part(numbers: InFiles, which: Tensor) -> InFiles:
    return InFiles([numbers.paths[n] for n in which.tolist()], numbers.targets[which], numbers.read)


def _numbers(folder: Path, crops: Crops) -> InFiles:
    """Return the numbers of one part that have at most five digits, and add their boxes."""
    paths, targets = [], []
    for path, box, labels in _listed(folder):
        if path in crops.boxes:
            raise InputError(f"{path}: listed twice; unpack SVHN again")
        if len(labels) <= LONGEST:
            crops.boxes[path] = box
            paths.append(path)
            targets.append(padded(labels, LONGEST))
    return InFiles(paths, torch.tensor(targets).view(-1, LONGEST), crops)


def _listed(folder: Path) -> Iterator[tuple[Path, Box, list[int]]]:
    """Give every picture of a part with the box of its number, and its digits."""
    path = folder / _LIST
    require_file(path, _CURE, _LARGEST)
    import h5py

    try:
        with h5py.File(path, "r") as opened:
            file: Any = opened
            names, groups = file["digitStruct/name"], file["digitStruct/bbox"]
            if len(names) != len(groups):
                raise ValueError(f"{len(names)} names and {len(groups)} boxes")
            for number in Bar(range(len(names)), f"reading {folder.name}", unit="number"):
                name = "".join(map(chr, file[names[number][0]][:, 0]))
                digits = file[groups[number][0]]
                yield _checked(folder, name, [_values(file, digits[key]) for key in _KEYS])
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"{path}: not SVHN's list of full numbers ({error}); {_CURE}") from error


def _values(file: Any, column: Any) -> list[float]:
    """Return a number per digit: one is stored as it is, several by references."""
    if len(column) > _PER_NUMBER:
        raise ValueError(f"{len(column)} digits in one picture")
    if len(column) == 1:
        return [float(column[0][0])]
    return [float(file[column[k][0]][0][0]) for k in range(len(column))]


def _checked(folder: Path, name: str, columns: list[list[float]]) -> tuple[Path, Box, list[int]]:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise InputError(f"{path}: listed, but the picture is missing; unpack SVHN again")
    lefts, tops, widths, heights, labels = columns
    if len({len(column) for column in columns}) > 1 or not labels:
        raise InputError(f"{path}: boxes and labels of different counts; unpack SVHN again")
    if not all(isfinite(x) for column in columns for x in column):
        raise InputError(f"{path}: a digit's box is not finite; unpack SVHN again")
    if wrong := [label for label in labels if label not in range(1, 11)]:
        raise InputError(f"{path}: a digit is labelled {wrong[0]:g}; SVHN has 1 to 10")
    if min(widths) <= 0 or min(heights) <= 0:
        raise InputError(f"{path}: a digit's box has no area; unpack SVHN again")
    box = around([*map(Box, lefts, tops, widths, heights)])
    return path, box, [int(label) % 10 for label in labels]
