"""House numbers that are made here: digits in rows on plates, coloured, shaded and seen askew.

A number of one to five digits is printed, in a font that comes with matplotlib, or written in
MNIST's digits. It lies on a textured ground, most often on a plate of another colour. Where it lies
in its picture is up to who asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from spatial_transformers import Affine, InputError, sample, warp

from .draws import Draws
from .samples import InMemory

NULL = 10  # the label of a place without a digit
GLYPH = 32  # pixels of a digit's picture along each axis
SHARES = (0.25, 0.35, 0.25, 0.1, 0.05)  # of numbers of one to five digits
MOST = 10_000  # written digits for each part of the data
WRITTEN = 0.3  # share of numbers in handwritten digits
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold"),
    *("DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)
MARKS = "$%#.,-/:"  # that stand in or at printed numbers and say nothing
MARKED = 0.4  # share of printed numbers that have one


@dataclass(frozen=True)
class Glyphs:
    """Pictures of digits: of all fonts, all digits of one after the other; written; no digits.

    Args:
        pictures: (G, 1, 32, 32) in uint8; each digit fills the height. Behind the digits come the
            marks of all fonts, as high as they are beside a 0, and the last picture is empty.
        widths: (G,) as shares of the height.
        labels: (G,), of what is no digit 10.
        parts: (G,) which part of the data a written one belongs to, from 0, and otherwise -1.

    """

    pictures: Tensor
    widths: Tensor
    labels: Tensor
    parts: Tensor

    def to(self, device: torch.device) -> "Glyphs":
        """Return the pictures on a device."""
        parts = (self.pictures, self.widths, self.labels, self.parts)
        return Glyphs(*(part.to(device) for part in parts))

    @property
    def none(self) -> int:
        """The number of the empty picture."""
        return len(self.labels) - 1


def glyphs(written: Sequence[InMemory]) -> Glyphs:
    """Return digits as they are printed, and those that were written for each part of the data."""
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    fonts = [folder / f"{name}.ttf" for name in FONTS]
    digits, marks = (_printed(fonts, letters) for letters in ("0123456789", MARKS))
    drawn = [digits, *(part.inputs[:MOST].float() / 255 for part in written)]
    zeros = digits[::10].repeat_interleave(len(MARKS), 0)
    filled = *map(_filled, drawn), _filled(marks, zeros)
    labels = [torch.arange(10).repeat(len(FONTS)), *(part.targets[:MOST] for part in written)]
    parts = [torch.full((len(group),), part) for part, group in enumerate(labels, -1)]
    others = len(marks) + 1
    return Glyphs(
        F.pad(torch.cat([pictures for pictures, _ in filled]), (*6 * (0,), 0, 1)),
        F.pad(torch.cat([widths for _, widths in filled]), (0, 1), value=1.0),
        F.pad(torch.cat(labels), (0, others), value=NULL),
        F.pad(torch.cat(parts), (0, others), value=-1),
    )


def _printed(fonts: Sequence[Path], letters: str) -> Tensor:
    """Return letters (N, 1, 96, 96) as fonts have them, all of one font after the other."""
    images = []
    for font in (ImageFont.truetype(path, 64) for path in fonts):
        for letter in letters:
            image = Image.new("L", (96, 96))
            ImageDraw.Draw(image).text((48, 48), letter, 255, font, anchor="mm")
            images.append(torch.from_numpy(np.array(image)))
    return torch.stack(images)[:, None].float() / 255


def _filled(images: Tensor, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return digits (N, 1, 32, 32) that fill the height, and their widths (N,) as shares of it.

    What is `beside` another digit, in an image of the same font, is as high as it is there.
    """
    spans = []
    for axis, of in ((1, images), (2, images if beside is None else beside)):  # columns, then rows
        there = (of[:, 0] > 0.25).any(axis)
        first = there.int().argmax(1)
        last = there.shape[1] - there.flip(1).int().argmax(1)
        spans.append((first, last))
    (left, right), (top, bottom) = spans
    height, size = (bottom - top).float(), images.shape[-1]
    scale = height * 1.1 / size  # a margin
    zero, x, y = torch.zeros_like(scale), (left + right) / size - 1, (top + bottom) / size - 1
    theta = torch.stack((scale, zero, x, zero, scale, y), 1)
    pictures = (255 * warp(images, theta, Affine(), size=GLYPH)).to(torch.uint8)
    return pictures, ((right - left) / height).clamp(0.3, 1.0)


def draw_numbers(glyphs: Glyphs, count: int, part: int) -> InMemory:
    """Return numbers for a part of the data: the glyphs (N, L) of their digits, and labels (N, L).

    The digits of a number are all of one font, or all written. Where there is room for one, some
    printed numbers have a mark before, among or behind their digits. What is left of L places is
    empty.

    Args:
        glyphs: what there is to write in.
        count: N.
        part: of the data, which has written digits of its own.

    """
    draw = np.random.default_rng(part)
    mine = glyphs.parts == part
    hands = [(mine & (glyphs.labels == digit)).nonzero()[:, 0].numpy() for digit in range(10)]
    if missing := [digit for digit, hand in enumerate(hands) if not len(hand)]:
        raise InputError(f"no digit {missing[0]} was found to write numbers in; give all ten")
    chosen = np.full((count, len(SHARES)), glyphs.none)
    lengths = draw.choice(len(SHARES), count, p=SHARES) + 1
    for row, length in zip(chosen, lengths, strict=True):
        digits = draw.integers(10, size=length)
        if draw.random() < WRITTEN:
            row[:length] = [draw.choice(hands[digit]) for digit in digits]
        else:
            font = draw.integers(len(FONTS))
            row[:length] = 10 * font + digits
            if length < len(row) and draw.random() < MARKED:
                place, mark = draw.integers(length + 1), draw.integers(len(MARKS))
                row[place + 1 : length + 1] = row[place:length].copy()
                row[place] = glyphs.none - len(MARKS) * (len(FONTS) - font) + mark
    inputs = torch.from_numpy(chosen)
    labels = glyphs.labels[inputs]
    digits_first = (labels == NULL).int().argsort(dim=1, stable=True)
    return InMemory(inputs, labels.gather(1, digits_first))


def padded(digits: list[int], length: int) -> list[int]:
    """Return the digits of a number, and behind them the label of a place without one."""
    return digits + [NULL] * (length - len(digits))


def pictures(glyphs: Glyphs, chosen: Tensor, draws: Draws, points: Tensor) -> Tensor:
    """Return crops (N, 3, H, W) in [0, 1] of numbers (N, L), chosen from the glyphs.

    Args:
        glyphs: what numbers are written in.
        chosen: the glyphs of each number.
        draws: decide colours, plates, texture, light and noise.
        points: (N, H, W, 2), where a crop's points lie in the number's own box, which spans
            [-1, 1] along both axes. H and W are multiples of 8.

    """
    size = points.shape[1:3]
    ink = _inked(glyphs, chosen, draws, points)
    plate = (points.abs() < draws.uniform("plate", 1.02, 1.3, 2)[:, None, None].to(points)).all(-1)
    plated = draws.uniform("has plate", 0, 1).lt(0.6)[..., None, None]
    plate = plate[:, None] & plated
    colours = draws.uniform("colours", 0, 1, 9).view(-1, 3, 3, 1, 1).float()
    colours = torch.lerp(colours.mean(2, keepdim=True), colours, 0.5)  # streets are rather grey
    ground, board, paint = colours.unbind(1)
    paint = _apart(paint, torch.where(plated, board, ground))
    canvas = torch.where(plate, board, ground + _texture(draws, "texture", 0.3, size))
    canvas = torch.lerp(canvas, paint.expand_as(canvas), ink)
    canvas = canvas * (1 + _texture(draws, "shade", 0.35, size, cells=3)[:, :1])
    light = draws.uniform("light", 0.5, 1.1)[..., None, None].float()
    noise = draws.normal("noise", 0.02, 64).view(-1, 1, 8, 8).float()
    return (canvas * light + noise.repeat(1, 1, size[0] // 8, size[1] // 8)).clamp(0, 1)


def _inked(glyphs: Glyphs, chosen: Tensor, draws: Draws, points: Tensor) -> Tensor:
    """Return where ink is (N, 1, H, W): each digit in its part of the number's box."""
    there = chosen != glyphs.none
    widths = glyphs.widths[chosen] * there + 0.12 * there
    ends = widths.cumsum(1)
    total = ends[:, -1:]
    middle = (2 * ends - widths) / total - 1  # of each digit along the box
    count = chosen.shape[1]
    turn = draws.uniform("turns", -8, 8, count).deg2rad().to(points)
    high = draws.uniform("heights", 0.85, 1.0, count).to(points)
    shift = (1 - high) * draws.uniform("shifts", -1, 1, count).to(points)
    ink = torch.zeros_like(points[:, None, ..., 0])
    for k in range(count):
        (rows,) = there[:, k].nonzero(as_tuple=True)  # most numbers have few digits
        # the digit's own coordinates, of its height
        x = (points[rows, ..., 0] - middle[rows, k, None, None]) * total[rows, :, None]
        y = (points[rows, ..., 1] - shift[rows, k, None, None]) / high[rows, k, None, None]
        cos, sin = (wave(turn[rows, k, None, None]) / 1.1 for wave in (torch.cos, torch.sin))
        at = torch.stack((cos * x + sin * y, cos * y - sin * x), -1)
        digit = glyphs.pictures[chosen[rows, k]].float() / 255
        ink[rows] = torch.maximum(ink[rows], sample(digit, at))
    return ink


def _apart(colour: Tensor, other: Tensor) -> Tensor:
    """Return a colour whose mean is 0.35 or more above or below another one's."""
    mean, its = colour.mean(1, keepdim=True), other.mean(1, keepdim=True)
    moved = its + torch.where(its < 0.5, 0.35, -0.35)  # from 0 to 1, as `its` is
    hue = (colour - mean) * torch.minimum(moved, 1 - moved).clamp(max=0.3)  # stays there, too
    return torch.where((mean - its).abs() >= 0.35, colour, moved + hue)


def _texture(
    draws: Draws, purpose: str, strength: float, size: Sequence[int], cells: int = 8
) -> Tensor:
    """Return smooth noise (N, 3, *size) of so many cells along each axis."""
    drawn = draws.uniform(purpose, -strength, strength, 3 * cells**2)
    return F.interpolate(drawn.view(-1, 3, cells, cells).float(), [*size], mode="bilinear")
