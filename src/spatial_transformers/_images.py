"""PNG and JPEG files as float images, and back, for commands; it needs Pillow."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ._files import whole
from ._types import InputError

Image.MAX_IMAGE_PIXELS = 1 << 26
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")


class Picture(NamedTuple):
    """An image in [0, 1], (1, C, H, W) in float32, colours multiplied by alpha if there is one."""

    values: Tensor
    mode: str  # Pillow's: L, LA, RGB, RGBA or I;16


def read_image(path: Path) -> Picture:
    """Read a PNG or JPEG file, upright as its EXIF tag asks.

    Raises:
        InputError: if it is not such a file, is damaged, or has more than 2²⁶ pixels.

    """
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            if file.width * file.height > (Image.MAX_IMAGE_PIXELS or 0):
                raise Image.DecompressionBombError(f"{file.width}×{file.height} pixels")
            file.load()
            image = ImageOps.exif_transpose(file)
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a PNG or JPEG file; convert it first") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: too large ({error}); give at most 2^26 pixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{path}: damaged image file ({error}); save it again") from error
    return _as_picture(image)


def write_image(path: Path, picture: Picture) -> None:
    """Write a PNG or JPEG file; the ending of its name says which."""
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: pictures are written as .png, .jpg or .jpeg; name one of these")
    if kind == "JPEG" and picture.mode not in ("L", "RGB"):
        raise InputError(f"{path}: JPEG holds neither transparency nor 16 bits; write a .png")
    values = picture.values[0].movedim(0, -1).clone()
    if picture.mode in ("LA", "RGBA"):
        alpha = values[..., -1:]
        values[..., :-1] /= alpha.where(alpha > 0, 1)
    depth = np.uint16 if picture.mode == "I;16" else np.uint8
    pixels = (values.clamp(0, 1) * np.iinfo(depth).max).round().numpy().astype(depth)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    with whole(path) as temporary:
        image.save(temporary, format=kind, **({"quality": 95} if kind == "JPEG" else {}))


def _as_picture(image: Image.Image) -> Picture:
    if image.mode in _SIXTEEN_BIT:
        mode, array = "I;16", np.asarray(image).astype(np.float32) / 65535
    else:
        mode = _closest_mode(image)
        array = np.asarray(image.convert(mode)).astype(np.float32) / 255
    values = torch.from_numpy(array.reshape(image.height, image.width, -1)).movedim(-1, 0)[None]
    if mode in ("LA", "RGBA"):
        values = torch.cat((values[:, :-1] * values[:, -1:], values[:, -1:]), 1)
    return Picture(values.contiguous(), mode)


def _closest_mode(image: Image.Image) -> str:
    grey = image.mode in ("1", "L", "LA", "La")
    return ("L" if grey else "RGB") + ("A" if image.has_transparency_data else "")
