"""Pictures that come from a page's user, within limits, and pictures that are shown to them."""

import binascii
from base64 import b64decode
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from spatial_transformers import InputError

from ..._images import image_size, read_image
from ..data.pictures import resized

LARGEST_FILE = 10 << 20  # bytes
LARGEST_IMAGE = 1 << 24  # pixels
SHARE = 0.75  # of a canvas that a digit spans, as of the digits that the shipped network has seen
PEN = 0.14  # thickness of strokes as of MNIST, as a share of the digit
COARSE_PEN = 0.2  # the same of scikit-learn's scans
_SCANNED = 8  # pixels of such a scan, along each axis
_KEPT = 512  # pixels along the longer axis, which are enough to look at
_FAINT = 0.15  # share of the darkest ink below which paper is meant
_FAINTEST = 0.1  # of the range from black to white, that ink differs from its paper at least
_SHOWN = 320  # pixels of a picture along its longer axis
_MARGIN = 0.2  # of the input on each side, where the grid may lie outside of it
_FINE = 2  # times as large are grids drawn, so that lines are smooth
_COLOURS = ("#ff8c1a", "#29a3d6", "#7bc043", "#d64fa3")


def read(path: Path) -> Tensor:
    """Return an image file's colours or greys in [0, 1], (3, H, W) or (1, H, W), over white.

    Raises:
        InputError: naming the file without its folder, if it is too large, damaged or no image.

    """
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise InputError(f"{path}: has {size / 2**20:.1f} MB; give at most 10 MB")
        height, width = image_size(path)
        if height * width > LARGEST_IMAGE:
            raise InputError(
                f"{path}: has {width}×{height} pixels; give at most 2^24, as 4096×4096 have"
            )
        picture = read_image(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), path.name)) from error
    except OSError as error:
        raise InputError(f"{path.name}: {error.strerror or error}; give another file") from error
    values = picture.values
    if picture.mode.endswith("A"):
        values = values[:, :-1] + 1 - values[:, -1:]
    return at_most(values, _KEPT)[0].clamp(0, 1)


def read_drawing(url: str) -> Tensor:
    """Return what was drawn on the page's pad, a PNG as a data URL: see `read`."""
    head, _, content = url.partition(",")
    try:
        if head != "data:image/png;base64":
            raise binascii.Error("no PNG")
        pixels = b64decode(content, validate=True)
    except binascii.Error as error:
        raise InputError(f"the drawing is damaged ({error}); draw it again") from error
    with TemporaryDirectory() as folder:
        path = Path(folder) / "drawing.png"
        path.write_bytes(pixels)
        return read(path)


def at_most(images: Tensor, side: int) -> Tensor:
    """Return images (N, C, H, W) whose longer axis has so many pixels at most."""
    height, width = images.shape[2:]
    scale = side / max(height, width)
    if scale >= 1:
        return images
    size = [max(1, round(n * scale)) for n in (height, width)]
    return resized(images, size)


def cut_out(image: Tensor, size: Sequence[int], *, coarse: bool = False) -> Tensor:
    """Return what is written in an image (C, h, w), light on dark, amid a canvas (1, 1, H, W).

    Paper is what lies along the image's edge. What differs from it is ink, dark or light, whichever
    differs more; its box is scaled to `SHARE` of the canvas. Strokes that are thinner than those of
    the digits that a network has learnt are made as thick: networks of a few pixels read no others.

    Args:
        image: with a digit.
        size: of the canvas.
        coarse: draw as scikit-learn's digits are, scanned at 8×8 pixels; otherwise as MNIST's.

    Raises:
        InputError: if all is paper.

    """
    grey = image.mean(0)
    paper = torch.cat((grey[0], grey[-1], grey[:, 0], grey[:, -1])).median()
    ink = max((paper - grey, grey - paper), key=lambda difference: difference.max().item())
    if (strength := ink.max()) < _FAINTEST:
        raise InputError("nothing is to be seen on this paper; draw, or give, something darker")
    ink = (ink / strength).clamp(min=0)
    ink = ink.where(ink > _FAINT, 0)
    rows, columns = (torch.nonzero(ink.amax(axis))[:, 0] for axis in (1, 0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    canvas = amid(box[None, None], size)
    span = SHARE * min(size)
    thicker = round((COARSE_PEN if coarse else PEN) * span - _thickness(canvas))
    if thicker > 0:
        canvas = F.max_pool2d(canvas, 2 * (thicker // 2) + 1, 1, thicker // 2)
    if coarse:
        reach = round(span / _SCANNED / 2)
        canvas = F.avg_pool2d(canvas, 2 * reach + 1, 1, reach)
    return canvas / canvas.max()


def _thickness(ink: Tensor) -> float:
    """Return how thick strokes are, in pixels: twice their area, by how long their edges are."""
    steps = ink.diff(dim=-1).abs().sum() + ink.diff(dim=-2).abs().sum()
    edges = steps * torch.pi / 4  # of all directions, steps along the axes are longer by 4/π
    return (2 * ink.sum() / edges).item()


def amid(image: Tensor, size: Sequence[int]) -> Tensor:
    """Return an image (1, C, h, w), scaled to `SHARE` of a black canvas (1, C, H, W), amid it."""
    scale = SHARE * min(n / m for n, m in zip(size, image.shape[2:], strict=True))
    own = [max(1, round(scale * m)) for m in image.shape[2:]]
    scaled = resized(image, own)
    (top, bottom), (left, right) = (
        ((n - m) // 2, n - m - (n - m) // 2) for n, m in zip(size, own, strict=True)
    )
    return F.pad(scaled, (left, right, top, bottom)).clamp(0, 1)


def shown(image: Tensor) -> Image.Image:
    """Return an image (C, H, W) in [0, 1] as a picture; pixels of small ones are seen as such."""
    colours = image.expand(3, -1, -1) if len(image) == 1 else image
    pixels = (255 * colours.clamp(0, 1)).round().to(torch.uint8).movedim(0, -1)
    picture = Image.fromarray(pixels.contiguous().numpy())
    scale = _SHOWN / max(picture.size)
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)


def with_grid(image: Tensor, lines: Tensor) -> Image.Image:
    """Return an image (C, H, W) as a picture with grid lines (K, L, P, 2) of K maps drawn on it.

    Lines are normalised coordinates. The first, the output's top edge, is thicker, so that a turn
    is seen. Points that are not finite are left out.
    """
    picture = shown(image)
    width, height = (round(_FINE * n) for n in picture.size)
    margin = round(_MARGIN * max(width, height))
    canvas = Image.new("RGB", (width + 2 * margin, height + 2 * margin), "#404040")
    canvas.paste(picture.resize((width, height), Image.Resampling.NEAREST), (margin, margin))
    pen, half = ImageDraw.Draw(canvas), torch.tensor((width / 2, height / 2))
    points = ((lines + 1) * half + margin).clamp(-4 * width, 4 * width)
    for number, grid in enumerate(points):
        colour = _COLOURS[number % len(_COLOURS)]
        for place, line in enumerate(grid):
            thick = round(_FINE * (4 if place == 0 else 1.5))
            for start, end in pairwise(line):
                if start.isfinite().all() and end.isfinite().all():
                    pen.line((*start.tolist(), *end.tolist()), colour, thick)
    return canvas.reduce(_FINE)
