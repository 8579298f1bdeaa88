"""Lines of digits: bent, tilted, and cut out as loosely as a detector cuts them; read by CTC.

A line of one to eight digits is printed or written on a textured ground. It is tilted, bent along
an arc and seen askew, and lies anywhere in a picture of 48×144 pixels. The reader sees 24×72
pixels: alone the whole picture, made smaller, and behind a transformer what that reads. Photographs
of real numbers are a second test.

Source: Shi et al., Robust Scene Text Recognition with Automatic Rectification (RARE), CVPR 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatial_transformers import (
    Affine,
    LocalisationCNN,
    Sampler,
    SpatialTransformer,
    ThinPlateSpline,
    text_rows,
)

from ..base import Cell, Experiment
from ..data.digits import DIGITS, load, verify
from ..data.draws import Draws
from ..data.photographs import FOLDER, photographs
from ..data.pictures import read_pixels, resized
from ..data.samples import Data, InMemory
from ..data.street import NULL, Glyphs, draw_numbers, glyphs, padded, pictures
from ..distorted import cell_of
from ..networks import Classifier, assemble, has_transformer
from ..recipe import Recipe, fact
from .task import Transcription

SIZE = 48, 144  # pixels of a picture
VIEW = 24, 72  # and of what the reader sees
SPANS = 0.45, 0.85  # of a picture that the line spans along each axis, least and most
SHARES = (0.16, 0.26, 0.2, 0.14, 0.1, 0.06, 0.05, 0.03)  # of lines of one to eight digits
LONGEST = len(SHARES)
MARKED = 0.4  # share of printed lines with a mark that is no digit
BUDGET = 200_000  # parameters
_COUNTS = 40_000, 2_000, 5_000  # lines that are made to train, validate and test
_QUICK = 1_280, 160, 320
WHOLE = "cnn-48"  # reads every pixel, for comparison
MODELS = ("cnn", "st-cnn", WHOLE)
FAMILIES = {
    "affine": Affine,
    "thin-plate-spline": lambda: ThinPlateSpline(
        text_rows(12, margin=(0.05, 0.1)), parameters="positions"
    ),
}


@dataclass(frozen=True, kw_only=True)
class LinesRecipe(Recipe):
    """How a network that reads lines of digits is trained."""

    model: str = fact("st-cnn", "of the reader, behind a transformer or not", MODELS)
    transformation: str = fact("thin-plate-spline", "of the transformer", (*FAMILIES,))
    digits: str = fact("mnist", "that are written in lines", DIGITS)


def bent(draws: Draws, lengths: Tensor) -> Tensor:
    """Return where the points of pictures lie in the line's own box: (N, 48, 144, 2).

    Its ends are tilted and its arc bent by up to about its half height, those of a short line by
    less. The upright box about all that lies anywhere in the picture.

    Args:
        draws: decide the shapes.
        lengths: (N,) digits of the lines.

    """
    length = lengths[:, None].double()
    short = (length / 4).clamp(max=1)
    tilt, bend = short * draws.uniform("tilt", -1, 1), short * draws.uniform("bend", -0.8, 0.8)
    keystone, slant = (
        draws.uniform("keystone", -0.2, 0.2),
        draws.uniform("slant", -0.4, 0.4) / length,
    )
    share = draws.uniform("share", *SPANS, 2)
    middle = draws.uniform("place", -1, 1, 2) * (1 - share)
    ends = 1 + slant.abs()  # where the slanted line ends, of its half width
    highest = 1 / (1 - keystone.abs() * ends)
    highest = highest + tilt.abs() * ends + bend.abs() * (2 * ends.square() - 1)
    half = share / torch.cat((ends, highest), 1)  # width and height of the line, of the picture's
    rows, columns = ((torch.arange(n).to(half) * 2 + 1) / n - 1 for n in SIZE)
    u = ((columns - middle[:, :1]) / half[:, :1])[:, None]  # (N, 1, 144)
    v = ((rows - middle[:, 1:]) / half[:, 1:])[..., None]  # (N, 48, 1)
    tilt, bend, keystone, slant = (t[..., None] for t in (tilt, bend, keystone, slant))
    v = (v - tilt * u - bend * (2 * u.square() - 1)) * (1 + keystone * u)
    return torch.stack((u + slant * v, v), -1).float()


def _data(recipe: LinesRecipe, folder: Path | None) -> Data:
    known = glyphs(load(recipe, folder))
    counts = _COUNTS if recipe.digits == "mnist" else _QUICK
    parts = [draw_numbers(known, count, part, SHARES, MARKED) for part, count in enumerate(counts)]

    @cache
    def on(device: torch.device) -> Glyphs:
        return known.to(device)

    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        return pictures(
            on(inputs.device), inputs, draws, bent(draws, (inputs != known.none).sum(1))
        )

    return Data(*parts, prepare=prepare)


def real(folder: Path, split: str) -> InMemory:
    """Return the photographs of one part of `digit_words` as loose crops, and what they say.

    A photograph spans so much of its crop as made lines do, anywhere in it. Around it the pixels of
    its edge go on.

    Raises:
        InputError: for what is missing or damaged.

    """
    found = [one for one in photographs(folder, LONGEST) if one.split == split]
    inputs = torch.empty(len(found), 3, *SIZE, dtype=torch.uint8)
    draw = np.random.default_rng(0)
    for image, one in zip(inputs, found, strict=True):
        pixels, around = read_pixels(one.path), []
        for length in pixels.shape[:0:-1]:
            more = round(length * (1 / draw.uniform(*SPANS) - 1))
            before = draw.integers(more + 1)
            around += [before, more - before]
        loose = F.pad(pixels[None].float(), around, "replicate")
        image.copy_(resized(loose, SIZE)[0].round().clamp(0, 255))
    targets = torch.tensor([padded(one.digits, LONGEST) for one in found])
    return InMemory(inputs, targets.view(-1, LONGEST))


def _photographs(recipe: LinesRecipe, folder: Path | None) -> dict[str, InMemory]:
    """Return the photographs that nothing was chosen by, if the folder has some."""
    if folder is None or not (folder / FOLDER).is_dir():
        return {}
    return {"photographs": real(folder, "test")}


class _Shrunk(nn.Module):
    """The picture at the size that the reader sees."""

    def forward(self, images: Tensor) -> Tensor:
        return resized(images, VIEW)


class _Columns(nn.Module):
    """What is left of features (N, C, 1, W), by columns: (N, W, C)."""

    def forward(self, features: Tensor) -> Tensor:
        return features[:, :, 0].mT


def _reader(width: int, model: str) -> nn.Sequential:
    """Return a reader of four pixels a column, each of which sees most of the line."""
    rows = SIZE[0] if model == WHOLE else VIEW[0]
    layers: list[nn.Module] = [_Shrunk()] if model == "cnn" else []
    channels = 3
    convolutions: Sequence[tuple[int, dict[str, Any], Any]] = (
        (1, {"kernel_size": 3, "padding": 1}, 2),
        (2, {"kernel_size": 3, "padding": 1}, 2),
        (4, {"kernel_size": 3, "padding": 1}, (2, 1)),
        (4, {"kernel_size": 3, "padding": 1}, (3, 1)),
        (4, {"kernel_size": (rows // 24, 3), "padding": (0, 1)}, 1),
        (4, {"kernel_size": (1, 5), "padding": (0, 2)}, 1),
        (4, {"kernel_size": (1, 5), "padding": (0, 4), "dilation": (1, 2)}, 1),
    )
    for times, how, pool in convolutions:
        wide = times * width
        layers += [
            nn.Conv2d(channels, wide, bias=False, **how),
            *([] if pool == 1 else [nn.MaxPool2d(pool)]),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
        ]
        channels = wide
    return nn.Sequential(*layers, _Columns(), nn.Linear(channels, NULL + 1))


def _network(recipe: LinesRecipe) -> Classifier:
    def transformer() -> SpatialTransformer | None:
        if not has_transformer(recipe.model):
            return None
        family = FAMILIES[recipe.transformation]()
        localisation = LocalisationCNN(
            family, in_channels=3, input_size=VIEW, filters=(16, 32), hidden=32, norm="batch"
        )
        return SpatialTransformer(localisation, family, Sampler(padding_mode="border"), size=VIEW)

    return assemble(lambda width: _reader(width, recipe.model), transformer, BUDGET)


def _cells(recipe: LinesRecipe) -> list[Cell]:
    rows = "cnn", *(f"st-cnn/{name}" for name in FAMILIES), WHOLE
    return [cell_of(recipe, "lines", row, None) for row in rows]


EXPERIMENT = Experiment(
    LinesRecipe(
        experiment="digit-lines",
        epochs=7,
        batch_size=128,
        lr=3e-3,
        localisation_lr=3.0,
        weight_decay=0.02,
        precision="bf16-mixed",
    ),
    data=_data,
    network=_network,
    task=lambda recipe: Transcription(NULL),
    shape=lambda recipe: (3, *SIZE),
    cells=_cells,
    quick=lambda recipe: replace(recipe, digits="scikit-learn", epochs=4),
    verify=verify,
    independent=_photographs,
    see=lambda pictures: pictures,
)
