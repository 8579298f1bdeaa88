"""Reads photographs of data sets at the size that an experiment needs."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformers import InputError

from ..._images import read_image
from ..progress import Bar

_NAMED = 10  # files that cannot be read, in a message
_ENOUGH = 2  # times the size that is asked for, at which a file is decoded


def read_pixels(
    path: Path,
    size: int | tuple[int, int] | None = None,
    *,
    square: bool = False,
    fast: bool = False,
) -> Tensor:
    """Return an image file's colours (3, H, W) in uint8.

    Args:
        path: of the file.
        size: of the result, (H, W) or along each axis, resized with antialiasing; the image's own
            if None.
        square: take the largest square in the middle; otherwise the aspect is not kept.
        fast: decode a large JPEG file at a fraction of its own size. That moves pixels by a level
            or so.

    Raises:
        InputError: if the file is missing, damaged, too large or not an image.

    """
    if not path.is_file():
        raise InputError(f"{path}: the image is missing; check the path, or unpack the set again")
    least = None
    if fast and size is not None:
        least = _ENOUGH * (size if isinstance(size, int) else max(size))
    values = read_image(path, least=least).values[:, :3]
    values = values[:, :1].expand(-1, 3, -1, -1) if values.shape[1] < 3 else values
    if square:
        height, width = values.shape[2:]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        values = values[..., top : top + side, left : left + side]
    if size is not None:
        values = resized(values, size)
    return (255 * values[0]).round().clamp(0, 255).to(torch.uint8)


def resized(images: Tensor, size: int | Sequence[int]) -> Tensor:
    """Return images (N, C, *size), (H, W) or so many pixels along each axis, antialiased."""
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def read_all(
    paths: Sequence[Path],
    size: int | tuple[int, int],
    *,
    square: bool = False,
    fast: bool = False,
) -> Tensor:
    """Return the colours (N, 3, *size) of image files in uint8, under a progress bar: see above.

    Raises:
        InputError: naming the files that cannot be read.

    """
    images, faults = read_each(paths, size, square=square, fast=fast)
    refuse(faults)
    return images


def read_each(
    paths: Sequence[Path],
    size: int | tuple[int, int],
    *,
    square: bool = False,
    fast: bool = False,
) -> tuple[Tensor, dict[Path, str]]:
    """Return the same, and why files cannot be read whose colours are any."""
    size = (size, size) if isinstance(size, int) else size
    images = torch.empty(len(paths), 3, *size, dtype=torch.uint8)
    rows = iter(images)

    def read(path: Path) -> None:
        row = next(rows)  # also of a file that cannot be read
        row.copy_(read_pixels(path, size, square=square, fast=fast))

    return images, faults_of(paths, read, "reading")


def faults_of(paths: Iterable[Path], look: Callable[[Path], object], doing: str) -> dict[Path, str]:
    """Return why files cannot be read, under a progress bar.

    Args:
        paths: of the files.
        look: reads a file, or as much of it as tells.
        doing: what is done, in a word.

    """
    faults = {}
    for path in Bar(paths, doing, unit="image"):
        try:
            look(path)
        except InputError as error:
            faults[path] = str(error).removeprefix(f"{path}: ").partition("; ")[0]
        except OSError as error:
            faults[path] = error.strerror or str(error)
    return faults


def refuse(faults: Mapping[Path, str], otherwise: str = "") -> None:
    """Refuse image files, if there are any.

    Args:
        faults: why they cannot be read.
        otherwise: what else can be done than to remove or replace them.

    Raises:
        InputError: naming them, ten at most, and how many there are.

    """
    if not faults:
        return
    if len(faults) == 1:
        ((path, reason),) = faults.items()
        raise InputError(f"{path}: {reason}; remove or replace it{otherwise}")
    root = Path(os.path.commonpath(faults))
    raise InputError(
        f"{root}: {len(faults):,} images cannot be read: {in_words(faults, root)}; "
        f"remove or replace them{otherwise}"
    )


def in_words(faults: Mapping[Path, str], root: Path) -> str:
    """Return files below a folder and why they cannot be read, ten at most."""
    by_reason: dict[str, list[str]] = {}
    for path in sorted(faults)[:_NAMED]:
        by_reason.setdefault(faults[path], []).append(path.relative_to(root).as_posix())
    named = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    more = f" and {len(faults) - _NAMED:,} more" if len(faults) > _NAMED else ""
    return "; ".join(named) + more
