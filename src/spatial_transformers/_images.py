"""Image files as float images, and back, for commands; it needs Pillow."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ._errors import InputError
from ._files import require_regular, whole

Image.MAX_IMAGE_PIXELS = 1 << 26
#: The formats, by the endings of names, and what they are saved with.
ENDINGS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".ppm": "PPM",
}
_SAVED_WITH: Mapping[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
#: The modes that a format holds; the others hold all.
_HOLDS = {
    "JPEG": ("L", "RGB"),
    "BMP": ("L", "RGB"),
    "PPM": ("L", "RGB"),
    "WEBP": ("L", "RGB", "LA", "RGBA"),
}
#: The last bytes of a whole file; Pillow also reads some that have more behind.
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_KEPT = ("icc_profile", "dpi")  # of what a file says besides its pixels
_CURE = "remove or replace it"
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")


class Picture(NamedTuple):
    """An image in [0, 1], (1, C, H, W) in float32, colours multiplied by alpha if there is one."""

    values: Tensor
    mode: str  # Pillow's: L, LA, RGB, RGBA or I;16
    info: Mapping[str, Any] = {}  # colour profile and resolution


def destinations(given: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return image files, and where in the folder `out` what is made of each will lie.

    Args:
        given: files, which keep their names, and folders, whose image files keep their paths in it.
        out: the folder.

    Raises:
        InputError: for a folder without image files, and where a result would replace another one
            or its own original.

    """
    found: dict[Path, Path] = {}
    for path in given:
        inside = sorted(p for p in path.rglob("*") if is_image(p)) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: a folder without image files; give one that has some")
        found |= {p: out / (p.relative_to(path) if path.is_dir() else p.name) for p in inside}
    made: dict[Path, Path] = {}
    for source, target in found.items():
        if target in made:
            raise InputError(
                f"{made[target]} and {source} would both become {target}; give the folder that "
                "holds both, whose paths are kept, or one after the other"
            )
        if target.exists() and source.exists() and target.samefile(source):
            raise InputError(f"{source} would be replaced; give --out another folder")
        made[target] = source
    return found


def is_image(path: Path) -> bool:
    """Return whether a path's name is that of an image file, and not hidden."""
    return has_image_name(path) and path.is_file()


def has_image_name(path: Path) -> bool:
    """Return whether a path is named as image files are, and not hidden, whatever lies there."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def read_image(path: Path, *, least: int | None = None) -> Picture:
    """Read a PNG, JPEG, WebP, TIFF, BMP or PPM file, upright as its EXIF tag asks.

    Args:
        path: of the file.
        least: pixels along each axis that will do. A JPEG file that has more is then decoded at an
            eighth, a quarter or half of its size, which takes a fraction of the time.

    Raises:
        InputError: if it is not such a file, is damaged, has more than 2²⁶ pixels or several
            pages, or colours of 16 bits, which Pillow would cut to 8.

    """
    with _opened(path) as file:
        if least is not None:
            file.draft(None, (least, least))
        file.load()
        image = ImageOps.exif_transpose(file)
    return _as_picture(image)


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image file in pixels, upright; its pixels are not read.

    Raises:
        InputError: as `read_image`.

    """
    with _opened(path) as file:
        turned = file.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (file.width, file.height) if turned else (file.height, file.width)


def check_image(path: Path) -> None:
    """Refuse an image file whose head cannot be read, or whose end is missing.

    Its pixels are read only where the file does not end as its format says. Damage in the midst of
    a file is found when it is read.

    Raises:
        InputError: as `read_image`.

    """
    with _opened(path) as file:
        end = _ENDS.get(file.format or "", b"")
        with path.open("rb") as raw:
            raw.seek(max(0, path.stat().st_size - len(end)))
            whole_file = raw.read() == end or not end
        if not whole_file:
            file.load()


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Give an image file whose head is read; say what is wrong with it, then and in the block."""
    require_regular(path)
    try:
        with Image.open(path, formats=tuple(set(ENDINGS.values()))) as file:
            if file.width * file.height > (Image.MAX_IMAGE_PIXELS or 0):
                raise Image.DecompressionBombError(f"{file.width}×{file.height} pixels")
            _require_one_picture(path, file)
            yield file
    except UnidentifiedImageError as error:
        kind = "not a PNG, JPEG, WebP, TIFF, BMP or PPM file; convert it first"
        empty = not path.stat().st_size
        raise InputError(f"{path}: {f'an empty file; {_CURE}' if empty else kind}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: too large ({error}); give at most 2^26 pixels") from error
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{path}: damaged image file ({error}); {_CURE}") from error


def _require_one_picture(path: Path, file: Image.Image) -> None:
    """Refuse files that hold more than is read."""
    pages = getattr(file, "n_frames", 1)
    if pages != 1:
        raise InputError(f"{path}: holds {pages} pictures; save the one that is meant")
    layouts = [tile[3] for tile in getattr(file, "tile", ())]  # Pillow's names of what is stored
    layouts = [str(a[0]) if isinstance(a, tuple) and a else str(a) for a in layouts]
    if any(layout.startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16")) for layout in layouts):
        raise InputError(f"{path}: has colours of 16 bits; save it with 8, or as greyscale of 16")
    if file.format == "PPM" and (file.mode in ("I", "F") or _largest_value(file) > 255):
        raise InputError(f"{path}: has values of more than 8 bits; save it with 8")
    if file.mode == "P" and not (file.palette and file.palette.palette):
        raise InputError(f"{path}: damaged image file (its palette is missing); {_CURE}")


def _largest_value(file: Image.Image) -> int:
    """Return what stands for white in a PPM file, which Pillow would cut to 8 bits."""
    given = [tile[3] for tile in getattr(file, "tile", ()) if str(tile[0]).startswith("ppm")]
    return max((int(a[1]) for a in given), default=255)


def write_image(path: Path, picture: Picture) -> None:
    """Write an image file; the ending of its name says in which format."""
    kind = ENDINGS.get(path.suffix.lower())
    if kind is None:
        known = ", ".join(ENDINGS)
        raise InputError(f"{path}: pictures are written as {known}; name one of these")
    if picture.mode not in _HOLDS.get(kind, (picture.mode,)):
        missing = "16 bits" if picture.mode == "I;16" else "transparency"
        raise InputError(f"{path}: {kind} does not hold {missing}; write a .png")
    values = picture.values[0].movedim(0, -1).clone()
    if picture.mode in ("LA", "RGBA"):
        alpha = values[..., -1:]
        values[..., :-1] /= alpha.where(alpha > 0, 1)
    depth = np.uint16 if picture.mode == "I;16" else np.uint8
    pixels = (values.clamp(0, 1) * np.iinfo(depth).max).round().numpy().astype(depth)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    with whole(path) as temporary:
        image.save(temporary, format=kind, **_SAVED_WITH.get(kind, {}), **picture.info)


def _as_picture(image: Image.Image) -> Picture:
    if image.mode in _SIXTEEN_BIT:
        mode, array = "I;16", np.asarray(image).astype(np.float32) / 65535
    else:
        mode = _closest_mode(image)
        array = np.asarray(image.convert(mode)).astype(np.float32) / 255
    values = torch.from_numpy(array.reshape(image.height, image.width, -1)).movedim(-1, 0)[None]
    if mode in ("LA", "RGBA"):
        values = torch.cat((values[:, :-1] * values[:, -1:], values[:, -1:]), 1)
    info = {key: image.info[key] for key in _KEPT if image.info.get(key)}
    return Picture(values.contiguous(), mode, info)


def _closest_mode(image: Image.Image) -> str:
    grey = image.mode in ("1", "L", "LA", "La")
    return ("L" if grey else "RGB") + ("A" if image.has_transparency_data else "")
