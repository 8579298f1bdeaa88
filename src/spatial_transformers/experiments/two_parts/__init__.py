"""Two parts: the class is that of two small parts that lie apart, anywhere on clutter.

A part of one kind and a part of another, five of each, are placed at random on 48×48 pixels; their
combination is one of 25 classes. A classifier that reads images of 16×16 pixels sees the picture at
a third of its size; or what one transformer frames, which is both parts at once; or what two do,
which can take a part each. So the paper's read birds (section 4.3), and nobody says where the parts
are.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformers import (
    Attention,
    Constrained,
    LocalisationCNN,
    SpatialTransformer,
    region_start,
)

from ..base import Experiment
from ..data.digits import DIGITS, load, verify
from ..data.distortion import Distortion, clutter, upright
from ..data.draws import Draws
from ..data.pairs import PARTS, Apart, Pairs
from ..data.samples import Data, InMemory, Placed
from ..distorted import BentRecipe, cell_of
from ..independent import of_digits, parts
from ..networks import CNN, POINTS, Classifier, assemble
from ..recipe import fact
from ..task import Classification

WHOLE = "cnn-48"  # reads every pixel, for comparison
MODELS = {"cnn": 0, "st-cnn": 1, "2x-st-cnn": 2, WHOLE: 0}  # and how many transformers they have
KINDS = 5  # of each part: the digits 0 to 4, and 5 to 9
CLASSES = KINDS**PARTS
CANVAS, PART = 48, 16  # pixels of the canvas, and of a part's side
PATCHES = 8  # pieces of other digits
VIEW = 16  # pixels along each side of what a classifier reads of the picture, or of each crop
CROP = 0.42  # share of the picture's side that each of two transformers reads
BUDGET = 400_000  # parameters


def apart(draws: Draws) -> Placed:
    """Where a part lies: samples 2n and 2n + 1 are the two parts of picture n, and lie apart.

    Along one axis, drawn at random, the second lies behind the first, to the right of it or below;
    along the other axis, anywhere.
    """
    picture, second = replace(draws, sample=draws.sample // PARTS), draws.sample % PARTS == 1
    width = 2 * PART / CANVAS  # normalised
    room = picture.uniform("along", 0, 2 - 2 * width, PARTS).sort(1).values
    along = torch.where(second, room[:, 1] + width, room[:, 0])
    across = draws.uniform("across", 0, 2 - width)[:, 0]
    down = picture.uniform("axis", 0, 1)[:, 0].lt(0.5)
    corner = torch.stack((along, across), 1)
    centre = torch.where(down[:, None], corner.flip(1), corner) + width / 2 - 1
    scale = CANVAS / PART
    return upright(scale, -scale * centre)


PARTS_APART = Apart(Distortion(CANVAS, apart))


@dataclass(frozen=True, kw_only=True)
class TwoPartsRecipe(BentRecipe):
    """How a network that reads two parts is trained."""

    model: str = fact("2x-st-cnn", "of the network, behind spatial transformers or not", (*MODELS,))
    transformation: str = fact("attention", "of the spatial transformers", ("attention",))
    digits: str = fact("mnist", "that are the parts: of a folder, or those that ship", DIGITS)


def combination(first: Tensor, second: Tensor) -> Tensor:
    """Return the class of two parts, labelled 0 to 4 and 5 to 9."""
    return KINDS * first + second - KINDS


def _pairs(digits: InMemory, seed: int) -> Pairs:
    kind = digits.targets < KINDS
    return Pairs.of(digits[kind], digits[~kind], combination, times=1, seed=seed)


def _data(recipe: TwoPartsRecipe, folder: Path | None) -> Data:
    def prepare(inputs: Tensor, draws: Draws, samples: Pairs, strength: float) -> Tensor:
        digits = samples.first.inputs
        parts = PARTS_APART(inputs.float() / 255, draws, digits, jitter=recipe.jitter * strength)
        canvas = parts.amax(1, keepdim=True)
        return clutter(canvas, draws, digits, PATCHES, between=False)

    splits = load(recipe, folder)
    pairs = (_pairs(digits, seed) for seed, digits in enumerate(splits))
    return Data(*pairs, prepare=prepare, place=PARTS_APART.place)


def _network(recipe: TwoPartsRecipe) -> Classifier:
    """Return a network with the library's own transformer, which keeps to the picture.

    Transformers side by side share their localisation network, as the paper's on birds do, and
    start on regions of their own.
    """
    maps = MODELS[recipe.model]

    def classifier(width: int) -> nn.Sequential:
        if recipe.model == WHOLE:
            return CNN(CANVAS, width, CLASSES)
        pool = nn.AvgPool2d(POINTS if maps else CANVAS // VIEW)
        return nn.Sequential(pool, *CNN(VIEW, width, CLASSES, maps or 1))

    def transformer() -> SpatialTransformer | None:
        if not maps:
            return None
        family: Attention | Constrained = Attention()
        starts = region_start(family)
        if maps > 1:
            family = Constrained(family, fixed={"s": CROP})
            starts = torch.stack([region_start(family, CROP, (x, x)) for x in (-1 / 3, 1 / 3)])
        localisation = LocalisationCNN(family, in_channels=1, start=starts)
        return SpatialTransformer(localisation, family, size=POINTS * VIEW)

    return assemble(classifier, transformer, BUDGET)


EXPERIMENT = Experiment(
    TwoPartsRecipe(
        experiment="two-parts",
        epochs=12,
        batch_size=128,
        lr=3e-3,
        localisation_lr=3.0,
        weight_decay=0.05,
        label_smoothing=0.05,
        hold_out=False,
    ),
    data=_data,
    network=_network,
    task=lambda recipe: Classification(CLASSES, recipe.label_smoothing),
    shape=lambda recipe: (1, CANVAS, CANVAS),
    cells=lambda recipe: [
        cell_of(recipe, "parts", row, None)
        for row in ("2x-st-cnn/attention", "st-cnn/attention", "cnn", WHOLE)
    ],
    quick=lambda recipe: replace(recipe, digits="scikit-learn", epochs=20),
    verify=verify,
    independent=of_digits(load, lambda recipe: {"SciPy": parts}),
)
