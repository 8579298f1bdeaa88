"""Small digits: the demo, on scikit-learn's real handwritten digits of 8×8 pixels.

Digits of any size and angle lie anywhere on canvases of 40×40 pixels. Each of the 1,197 that train
is seen in two pictures, which are drawn once: a network that is to read all poses has few to learn
them from. One with a transformer learns to look at the digit. Each test digit is scored in 20.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformers import (
    Affine,
    LocalisationCNN,
    SpatialTransformer,
    make_transformation,
    region_start,
)

from ..base import Experiment
from ..data.digits import shipped
from ..data.distortion import Distortion, rotation
from ..data.draws import Draws
from ..data.samples import Data, InMemory, Placed
from ..distorted import ClassifierRecipe
from ..networks import POINTS, Classifier, assemble, has_transformer
from ..networks.convolution import OneChannelConvolution
from ..recipe import fact
from ..task import Classification

CANVAS, VIEW = 40, 16  # pixels of a canvas's side, and of what a transformer gives the classifier
SIDES = 12.0, 26.0  # the least and the largest side of a digit's image, in pixels of the canvas
ANGLE = 60.0  # by which a digit is turned at most, in degrees
PICTURES, POSES = 2, 20  # of a digit that trains, and of one that is tested
BUDGET = 25_000  # parameters
LOOKS, HIDDEN = 28, 32  # pixels of the side that the localisation network sees; its hidden layer


def anywhere(draws: Draws) -> Placed:
    """Where a digit's image lies: turned, of any size, and as a whole on the canvas."""
    least, largest = (math.log(side / CANVAS) for side in SIDES)
    share = draws.uniform("size", least, largest).exp()[..., None]  # (N, 1, 1)
    turn = rotation(draws.uniform("angle", -ANGLE, ANGLE)[:, 0])
    room = 1 - share * turn.abs().sum(2, keepdim=True)  # a turned image is wider than its side
    centre = room * draws.uniform("position", -1, 1, 2)[..., None]
    matrix = turn / share
    return Affine(), torch.cat((matrix, -matrix @ centre), 2).flatten(1)


PLACED = Distortion(CANVAS, anywhere)


@dataclass(frozen=True, kw_only=True)
class SmallDigitsRecipe(ClassifierRecipe):
    """How a classifier of small digits is trained."""

    model: str = fact("st-cnn", "of the classifier, behind a transformer or not", ("cnn", "st-cnn"))


def _data(recipe: SmallDigitsRecipe, folder: Path | None) -> Data:
    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        return PLACED(inputs.float() / 255, replace(draws, epoch=0), samples.inputs)

    train, validation, test = shipped(folder, recipe.experiment)
    pictures = train[torch.arange(len(train)).repeat(PICTURES)]
    return Data(pictures, validation, test, prepare=prepare, place=PLACED.place, repeats=POSES)


def _block(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.MaxPool2d(2), nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def _whole(width: int) -> nn.Sequential:
    """Return a CNN that reads the canvas.

    What it finds counts alike wherever it is found: flattened, it errs more often.
    """
    same = partial(nn.Conv2d, padding="same", bias=False)
    layers = same(1, width, 5), same(width, 2 * width, 3), same(2 * width, 4 * width, 3)
    blocks = chain.from_iterable(map(_block, layers))
    return nn.Sequential(*blocks, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10))


def _view(width: int) -> nn.Sequential:
    """Return a CNN that reads what a transformer shows it."""
    first = OneChannelConvolution(1, width, 5, bias=False)
    second = nn.Conv2d(width, 4 * width, 3, bias=False)
    left = ((VIEW - 4) // 2 - 2) // 2
    found = nn.Flatten(), nn.Linear(4 * width * left**2, 10)
    return nn.Sequential(nn.AvgPool2d(POINTS), *_block(first), *_block(second), *found)


def _network(recipe: SmallDigitsRecipe) -> Classifier:
    """Return a network of the budget, its transformer the library's own with its defaults."""
    behind = has_transformer(recipe.model)

    def transformer() -> SpatialTransformer | None:
        if not behind:
            return None
        family = make_transformation(recipe.transformation)
        sizes = {"input_size": LOOKS, "hidden": HIDDEN, "start": region_start(family)}
        localisation = LocalisationCNN(family, in_channels=1, **sizes)
        return SpatialTransformer(localisation, family, size=POINTS * VIEW)

    return assemble(_view if behind else _whole, transformer, BUDGET)


EXPERIMENT = Experiment(
    SmallDigitsRecipe(experiment="small-digits", epochs=24, batch_size=64, localisation_lr=10.0),
    data=_data,
    network=_network,
    task=lambda recipe: Classification(10, recipe.label_smoothing),
    shape=lambda recipe: (1, CANVAS, CANVAS),
    threads=1,
)
