"""Whole house numbers (section 4.2, Table 2): one to five digits, read by five softmaxes at once.

The paper's CNN has eleven hidden layers. *Single* has a spatial transformer in front of it, *Multi*
one before each of its first four convolutions. `svhn` reads Street View House Numbers;
`house-numbers` reads numbers that are made here, which look alike.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformers import Affine, LocalisationCNN, LocalisationFCN, SpatialTransformer

from ..base import Cell, Experiment
from ..data.digits import DIGITS, load, verify
from ..data.draws import Draws
from ..data.photographs import FOLDER, photographs
from ..data.samples import Data, InMemory, as_floats
from ..data.street import NULL, Glyphs, draw_numbers, glyphs, padded, pictures
from ..distorted import ClassifierRecipe, cell_of
from ..networks import Classifier, assemble, laid_out
from ..recipe import POSITIVE, Within, fact
from ..task import Classification
from .numbers import LONGEST, LOOSE, TIGHT, Crops, place, read

#: The networks, and how many transformers they have.
MODELS = {"cnn": 0, "st-cnn": 1, "4-deep-st-cnn": 4}
NUMBERS = ("svhn", "generated")
#: Filters of the paper's convolutions, and where it pools.
FILTERS = (
    *((48, True), (64, False), (128, True), (160, False), (192, True)),
    *((192, False), (192, True), (192, False)),
)
_WHOLE = 64  # the paper's width
_UNITS = 3072
_KERNEL = 5
_COUNTS = 60_000, 5_000, 10_000  # numbers that are made to train, validate and test
_QUICK = 1_280, 160, 320
#: Of the labels, in pictures.
NAMES = (*"0123456789", "")

#: Table 2, errors of sequences in percent.
PAPER = {
    "4-deep-st-cnn/affine": {TIGHT: 3.6, LOOSE: 3.9},
    "st-cnn/affine": {TIGHT: 3.7, LOOSE: 3.9},
    "cnn": {TIGHT: 4.0, LOOSE: 5.6},
}


@dataclass(frozen=True, kw_only=True)
class NumbersRecipe(ClassifierRecipe):
    """How a network that reads house numbers is trained."""

    model: str = fact("4-deep-st-cnn", "of the network, and its transformers", (*MODELS,))
    transformation: str = fact("affine", "of the spatial transformers", ("affine",))
    numbers: str = fact("svhn", "of a folder, or made of digits and fonts", NUMBERS)
    digits: str = fact("mnist", "that are written in made numbers", DIGITS)
    size: int = fact(
        TIGHT,
        "pixels of a crop along each axis, close to the number or loose",
        Within(f"{TIGHT} or {LOOSE}", lambda size: size in (TIGHT, LOOSE)),
    )
    budget: int = fact(
        2_000_000, "parameters of a network, at most; the paper's has 33 million", POSITIVE
    )


def _data(recipe: NumbersRecipe, folder: Path | None) -> Data:
    if recipe.numbers == "svhn":
        return Data(*read(folder, recipe.size), prepare=as_floats, workers=2)
    known = glyphs(load(recipe, folder))
    counts = _COUNTS if recipe.digits == "mnist" else _QUICK
    parts = [draw_numbers(known, count, part) for part, count in enumerate(counts)]

    @cache
    def on(device: torch.device) -> Glyphs:
        return known.to(device)

    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        family, theta = place(draws, recipe.size)
        points = family.grid(theta.float(), recipe.size)
        return pictures(on(inputs.device), inputs, draws, points)

    return Data(*parts, prepare=prepare, place=lambda draws: place(draws, recipe.size))


def _photographs(recipe: NumbersRecipe, folder: Path | None) -> dict[str, InMemory]:
    """Return real numbers for a network that was trained on made ones, if the folder has some."""
    if recipe.numbers == "svhn" or folder is None or not (folder / FOLDER).is_dir():
        return {}
    found = photographs(folder, LONGEST)
    crops = Crops({one.path: one.box for one in found}, recipe.size)
    targets = torch.tensor([padded(one.digits, LONGEST) for one in found])
    return {"photographs": InMemory(torch.stack([*map(crops, crops.boxes)]), targets)}


class Softmaxes(nn.Module):
    """A label for each of five places: a digit, or none."""

    def __init__(self, features: int):
        super().__init__()
        self.read = nn.Linear(features, LONGEST * (NULL + 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (N, 5, 11) of features (N, F)."""
        return self.read(features).unflatten(1, (LONGEST, NULL + 1))


def _front(size: int, transformers: int) -> SpatialTransformer | None:
    """Return the transformer in front, if any: a single one's localisation is convolutional."""
    if transformers != 1:
        return _fully_connected(3, size, seen=16) if transformers else None
    family = Affine()
    localisation = LocalisationCNN(
        family, in_channels=3, input_size=size // 2, filters=(32, 32), hidden=32
    )
    return SpatialTransformer(localisation, family, size=size)


def _fully_connected(channels: int, size: int, seen: int) -> SpatialTransformer:
    """Return one whose localisation network has two layers of 32 units, as all of Multi's."""
    family = Affine()
    localisation = LocalisationFCN(family, in_channels=channels, input_size=seen, hidden=(32, 32))
    return SpatialTransformer(localisation, family, size=size)


def _layers(width: int, size: int, transformers: int) -> nn.Sequential:
    """Return the paper's CNN at `width` sixty-fourths of its width.

    Behind the transformer in front of it there are `transformers` - 1 more, each before one of the
    convolutions that follow the first.
    """
    layers: list[nn.Module] = []
    channels = 3
    for number, (filters, pooled) in enumerate(FILTERS):
        if 0 < number < transformers:
            layers.append(_fully_connected(channels, size, seen=8))
        wide = max(filters * width // _WHOLE, 1)
        layers += [
            nn.Conv2d(channels, wide, _KERNEL, padding=_KERNEL // 2, bias=False),
            *([nn.MaxPool2d(2)] if pooled else []),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
        ]
        channels, size = wide, size // 2 if pooled else size
    layers.append(nn.Flatten())
    features, units = channels * size**2, _UNITS * width // _WHOLE
    for _ in range(3):
        layers += [nn.Linear(features, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
        features = units
    return nn.Sequential(*layers, Softmaxes(features))


def _network(recipe: NumbersRecipe) -> Classifier:
    transformers = MODELS[recipe.model]
    return assemble(
        lambda width: _layers(width, recipe.size, transformers),
        lambda: _front(recipe.size, transformers),
        recipe.budget,
    )


def of_the_paper(model: str) -> Classifier:
    """Return a network of the paper's width, with random weights, for crops of 64 pixels."""
    transformers = MODELS[model]
    layers = _layers(_WHOLE, TIGHT, transformers)
    return laid_out(Classifier(layers, _front(TIGHT, transformers)))


def _cells(recipe: NumbersRecipe) -> list[Cell]:
    real = recipe.numbers == "svhn"
    return [
        cell_of(replace(recipe, size=size), f"{size}px", row, errors[size] if real else None)
        for row, errors in PAPER.items()
        for size in (TIGHT, LOOSE)
    ]


def _experiment(name: str, numbers: str) -> Experiment:
    return Experiment(
        NumbersRecipe(
            experiment=name,
            numbers=numbers,
            epochs=12,
            batch_size=128,
            lr=2e-3,
            localisation_lr=1.0,
            weight_decay=0.05,
            hold_out=False,
            precision="bf16-mixed",
        ),
        data=_data,
        network=_network,
        task=lambda recipe: Classification(NULL + 1, recipe.label_smoothing, NAMES),
        shape=lambda recipe: (3, recipe.size, recipe.size),
        cells=_cells,
        quick=lambda recipe: replace(
            recipe, numbers="generated", digits="scikit-learn", epochs=4, budget=300_000
        ),
        verify=verify if numbers == "generated" else None,
        independent=_photographs,
    )


EXPERIMENT = _experiment("svhn", "svhn")
HOUSE_NUMBERS = _experiment("house-numbers", "generated")
