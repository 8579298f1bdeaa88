"""Birds: those of CUB-200-2011 from the official text layout, or some that are made here.

`images.txt` names the pictures, `image_class_labels.txt` and `train_test_split.txt` say of each its
class and whether it trains, by its id from 1 on; `classes.txt` names the classes.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from spatial_transformers import InputError

from ..data.official import held_out, require_file
from ..data.pictures import read_all
from ..data.samples import InMemory

SIDE = 224  # pixels of a picture along each axis
CLASSES = 200  # of the whole set; some of them will do
HELD_OUT = 6  # one picture of so many validates, in each class
_LISTS = "classes.txt", "images.txt", "image_class_labels.txt", "train_test_split.txt"
_LARGEST_LIST = 1 << 23  # bytes
_LONGEST = 10  # digits of an id
#: Of bodies, and of heads, of birds that are made.
COLOURS = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.7, 0.3], [0.3, 0.4, 0.9], [0.9, 0.8, 0.2]])
_COUNTS = 160, 32, 80
_CURE = f"give --data the folder that holds CUB-200-2011's images and {', '.join(_LISTS)}"


def read(folder: Path | None) -> list[InMemory]:
    """Return the pictures (N, 3, 224, 224) that train, validate and test, and their labels.

    The middle square of a picture is resized.

    Raises:
        InputError: for what is missing, damaged, or does not fit together.

    """
    if folder is None:
        raise InputError(f"cub has no data of its own; {_CURE}")
    root = folder / "CUB_200_2011" if (folder / "CUB_200_2011").is_dir() else folder
    classes, paths, labels, trains = (_listed(root / name) for name in _LISTS)
    for name, found in zip(_LISTS[2:], (labels, trains), strict=True):
        if odd := sorted(set(found) ^ set(paths)):
            raise InputError(
                f"{root / name}: the image {odd[0]} is in it or in {_LISTS[1]}, but not in both; "
                "unpack the set again"
            )
    targets = [_number(root / _LISTS[2], label) for label in labels.values()]
    for number, label in zip(labels, targets, strict=True):
        if label not in classes or not 1 <= label <= CLASSES:
            raise InputError(
                f"{root / _LISTS[2]}: image {number} is of class {label}; known are the classes of "
                f"{_LISTS[0]}, from 1 to {CLASSES}"
            )
    split = [_number(root / _LISTS[3], trains[number]) for number in labels]
    if wrong := [said for said in split if said not in (0, 1)]:
        raise InputError(f"{root / _LISTS[3]}: {wrong[0]} was found where 1 or 0 should be")
    pictures = [_picture(root, paths[number]) for number in labels]
    path, times = Counter(pictures).most_common(1)[0] if pictures else (root, 1)
    if times > 1:
        raise InputError(f"{root / _LISTS[1]}: {path} is listed {times} times")
    return _split(root, pictures, torch.tensor(targets) - 1, torch.tensor(split) == 1)


def _split(
    root: Path, pictures: Sequence[Path], targets: Tensor, training: Tensor
) -> list[InMemory]:
    held = validating(targets, training)
    sides = [(training & ~held), held, ~training]
    for name, side in zip(("train", "validate", "test"), sides, strict=True):
        if not side.any():
            raise InputError(f"{root / _LISTS[3]}: no picture is left to {name}; {_CURE}")
    images = read_all(pictures, SIDE, square=True)
    return [InMemory(images[side], targets[side]) for side in sides]


def validating(targets: Tensor, training: Tensor) -> Tensor:
    """Return which training pictures validate: one in six of each class, at least one of two."""
    trained = targets[training]
    held = torch.zeros_like(training)
    held[training] = held_out(trained, torch.arange(len(trained)), HELD_OUT)
    return held


def _listed(path: Path) -> dict[int, str]:
    """Return what a list says, by id."""
    require_file(path, _CURE, _LARGEST_LIST)
    found: dict[int, str] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for row, line in enumerate(lines, 1):
        number, _, said = line.strip().partition(" ")
        if not line.strip():
            continue
        if not _is_number(number) or not said or int(number) in found:
            raise InputError(f"{path}, line {row}: not an id of its own and a value; {_CURE}")
        found[int(number)] = said.strip()
    return found


def _number(path: Path, said: str) -> int:
    if not _is_number(said):
        raise InputError(f"{path}: {said!r} was found where a number should be; {_CURE}")
    return int(said)


def _is_number(said: str) -> bool:
    return said.isdecimal() and len(said) < _LONGEST


def _picture(root: Path, name: str) -> Path:
    path = root / "images" / name
    if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
        raise InputError(f"{path}: listed in {_LISTS[1]}, but missing; unpack the set again")
    return path


def generated(folder: Path | None) -> list[InMemory]:
    """Return birds of sixteen classes, by the colours of body and head, anywhere in a picture."""
    if folder is not None:
        raise InputError("generated birds need no folder; leave --data out")
    draw = torch.Generator().manual_seed(0)
    return [_drawn(count, draw) for count in _COUNTS]


def _drawn(count: int, draw: torch.Generator) -> InMemory:
    def uniform(low: float, high: float, *size: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *size, generator=draw)

    labels = torch.arange(count) % len(COLOURS) ** 2
    body, head = (
        COLOURS[kind][..., None, None] for kind in (labels // len(COLOURS), labels % len(COLOURS))
    )
    at = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    x = at - uniform(-0.45, 0.45, 1, 1)
    y = at[:, None] - uniform(-0.45, 0.45, 1, 1)
    turn = uniform(-0.6, 0.6, 1, 1)
    x, y = turn.cos() * x + turn.sin() * y, turn.cos() * y - turn.sin() * x
    is_body = ((x / 0.32).square() + (y / 0.18).square() < 1)[:, None]
    is_head = ((x - 0.36).square() + (y + 0.16).square() < 0.013)[:, None]
    ground = uniform(0.2, 0.6, 3, 1, 1) + 0.08 * torch.randn(count, 3, SIDE, SIDE, generator=draw)
    images = torch.where(is_head, head, torch.where(is_body, body, ground)).clamp(0, 1)
    return InMemory((255 * images).to(torch.uint8), labels)
