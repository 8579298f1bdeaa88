"""Reads photographs of data sets at the size that an experiment needs."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from spatial_transformers import InputError

from ..._images import read_image

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
        InputError: naming the first file that cannot be read, and how many others there are.

    """
    size = (size, size) if isinstance(size, int) else size
    images = torch.empty(len(paths), 3, *size, dtype=torch.uint8)
    refused = []
    for image, path in zip(images, tqdm(paths, "reading", unit="image"), strict=True):
        try:
            image.copy_(read_pixels(path, size, square=square, fast=fast))
        except InputError as error:
            refused.append(error)
    if refused:
        others = f" (and {len(refused) - 1} more images cannot be read)" if refused[1:] else ""
        raise InputError(f"{refused[0]}{others}") from refused[0]
    return images
