"""A user's own images: a folder for each class, split already (train, val, test) or by a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from spatial_transformers import InputError

from ..._images import ENDINGS, has_image_name
from ..data.official import held_out
from ..origin import Files, Held, digested

#: What the folders of a split are called, in small letters.
_TRAIN, _VALIDATION, _TEST = ("train", "training"), ("val", "valid", "validation"), ("test",)
PARTS = ("train", "validation", "test")
_ONE_IN = 6  # images of a class for each that validates, and for each that tests
_FEWEST = 3  # images of a class that are split
_CURE = (
    "give --data a folder that holds a folder of images for each class, or folders train, val and "
    "test of such folders"
)


@dataclass(frozen=True)
class Listing:
    """The image files of a folder.

    Args:
        root: the folder.
        classes: their names, in alphabetical order.
        files: by the part that they belong to, `train`, `validation` or `test`: files and labels.
        ignored: other files that lie in folders of classes.

    """

    root: Path
    classes: tuple[str, ...]
    files: Mapping[str, Sequence[tuple[Path, int]]]
    ignored: int

    @property
    def held(self) -> Held:
        """Counts and digests of the files, by part and class."""
        return {part: self._held(files) for part, files in self.files.items()}

    def _held(self, files: Sequence[tuple[Path, int]]) -> Mapping[str, Files]:
        own: dict[str, list[Path]] = {}
        for path, label in files:
            own.setdefault(self.classes[label], []).append(path)
        return {name: digested(self.root, paths) for name, paths in own.items()}


def listed(folder: Path | None, seed: int) -> Listing:
    """Return the images of a folder, and which of them train, validate and test.

    Where no folder says which, a seed decides: of each class one image in six tests, and one in
    six of the others validates. Of the folders val and test, a single one tests.

    Raises:
        InputError: for what is missing or does not fit together, naming folder and cure.

    """
    if folder is None:
        raise InputError(f"folder has no data of its own; {_CURE}")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {_CURE}")
    named = {path.name.lower(): path for path in _folders(folder)}
    train, validation, test = (
        next((named[name] for name in names if name in named), None)
        for names in (_TRAIN, _VALIDATION, _TEST)
    )
    if train is None:
        return _split(folder, seed)
    if validation is None and test is None:
        raise InputError(f"{folder}: has {train.name}, but neither val nor test; {_CURE}")
    classes, found, ignored = _classes(train, 2)
    files = {"train": found}
    scored = {"test": test or validation, "validation": validation if test else None}
    for part, root in scored.items():
        if root is not None:
            others, of_part, more = _classes(root)
            if unknown := sorted(set(others) - set(classes)):
                raise InputError(
                    f"{root / unknown[0]}: no class of that name trains; give {train} one, too"
                )
            files[part] = [(path, classes.index(others[label])) for path, label in of_part]
            ignored += more
    if "validation" not in files:
        files["train"], files["validation"] = _held_out(found, seed)
    return Listing(folder, classes, files, ignored)


def _split(folder: Path, seed: int) -> Listing:
    classes, found, ignored = _classes(folder, 2)
    for label, name in enumerate(classes):
        count = sum(own == label for _, own in found)
        if count < _FEWEST:
            raise InputError(
                f"{folder / name}: holds {count} image{'s' * (count > 1)}, too few to train, "
                f"validate and test; give {_FEWEST} or more, or remove it"
            )
    rest, test = _held_out(found, seed)
    train, validation = _held_out(rest, seed)
    files = {"train": train, "validation": validation, "test": test}
    return Listing(folder, classes, files, ignored)


def _classes(root: Path, least: int = 1) -> tuple[tuple[str, ...], list[tuple[Path, int]], int]:
    """Return the classes of a folder, its files with their labels, and how many it ignores."""
    folders = _folders(root)
    if len(folders) < least:
        raise InputError(f"{root}: holds {len(folders)} folders, not {least} or more; {_CURE}")
    found: list[tuple[Path, int]] = []
    ignored = 0
    for label, folder in enumerate(folders):
        inside = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.parts)
        images = [path for path in inside if has_image_name(path)]
        if not images:
            known = ", ".join(sorted(ENDINGS))
            raise InputError(
                f"{folder}: holds no image ({known}); give it some, or remove the folder"
            )
        ignored += len(inside) - len(images)
        found += [(path, label) for path in images]
    return tuple(folder.name for folder in folders), found, ignored


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _held_out(
    files: Sequence[tuple[Path, int]], seed: int
) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
    """Return what stays and what is held out: one file in six of each class."""
    labels = torch.tensor([label for _, label in files])
    held = held_out(labels, torch.arange(len(files)), _ONE_IN, seed=seed).tolist()
    stay, out = (
        [f for f, h in zip(files, held, strict=True) if h is side] for side in (False, True)
    )
    return stay, out
