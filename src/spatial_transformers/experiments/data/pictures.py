"""Reads photographs of data sets at the size that an experiment needs."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformers import InputError

from ..._images import read_image


def read_pixels(path: Path, size: int | tuple[int, int] | None = None) -> Tensor:
    """Return an image file's colours (3, H, W) in uint8, resized to a size, antialiased.

    Raises:
        InputError: if the file is missing, damaged, too large or not an image.

    """
    if not path.is_file():
        raise InputError(f"{path}: the image is missing; unpack the data set again")
    values = read_image(path).values[:, :3]
    values = values[:, :1].expand(-1, 3, -1, -1) if values.shape[1] < 3 else values
    if size is not None:
        values = F.interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
    return (255 * values[0]).round().clamp(0, 255).to(torch.uint8)
