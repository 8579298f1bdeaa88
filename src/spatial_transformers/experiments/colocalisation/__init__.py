"""Co-localisation (appendix A.2, Table 5): the same unknown thing is found in a hundred images.

A digit lies anywhere on 84×84 pixels, alone (T) or among clutter (TC). There are no labels and no
boxes, only the knowledge that all images hold a digit of the same class: crops of them should look
more alike than a crop and a random patch of the same image (`triplet_hinge`).

The crop starts as nearly the whole image, and the largest crop allowed shrinks as training goes on.
A crop of the digit's size would see nothing of it at most places, and learn nothing there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformers import (
    Attention,
    InputError,
    LocalisationCNN,
    Sampler,
    SpatialTransformer,
    warp,
)

from ..base import Cell, Experiment, Network
from ..data.digits import DIGITS, load, verify
from ..data.distortion import IMAGE
from ..data.draws import Draws
from ..data.samples import Data, InMemory, Placed
from ..networks import UNGUARDED
from ..pose import frame, iou
from ..recipe import POSITIVE, Recipe, Within, fact
from ..task import Metric, TripletHinge, percent
from .views import CANVAS, PATCHES, PLAIN, VIEW, trained

IMAGES = 100  # of a class, which are all there is to learn from
ROUNDS = 20  # in which each is seen in an epoch
OVERLAP = 0.5  # intersection over union above which a crop has found the digit
LARGEST, SMALLEST = 0.95, 0.4  # crop allowed at first and in the end, in shares of the side
RANGE = 0.25  # by how much the crop may be smaller than the one allowed
SHRINKS = 0.6  # share of training in which it shrinks
_PLACES = 0  # the seed of where digits and clutter lie
CANVASES = {
    "T": PLAIN,
    "TC": replace(PLAIN, patches=PATCHES),
}

#: Table 5: images whose digit is found, in percent, by digit. The numbers of TC are second-hand.
PAPER = {"T": (100,) * 10, "TC": (81, 82, 88, 75, 94, 84, 93, 85, 89, 87)}
DIGIT = Within("0 to 9", lambda value: value in range(10))


@dataclass(frozen=True, kw_only=True)
class ColocalisationRecipe(Recipe):
    """How a transformer that finds the digits of one class is trained."""

    model: str = fact("st", "the one network there is", ("st",))
    transformation: str = fact("attention", "of the spatial transformer", ("attention",))
    distortion: str = fact("T", "of the images, by the paper's name", (*CANVASES,))
    digit: int = fact(0, "that is in every image", DIGIT)
    digits: str = fact("mnist", "that are placed: of a folder, or those that ship", DIGITS)
    margin: float = fact(2.0, "α of the triplet hinge loss", POSITIVE)


class Shrinking(nn.Module):
    """A localisation network whose crop lies on the image, and shrinks with the batches seen.

    Args:
        steps: batches in training.

    """

    seen: Tensor

    def __init__(self, steps: int):
        super().__init__()
        self.localisation = LocalisationCNN(Attention(), in_channels=1, lr_multiplier=1.0)
        self.steps = steps
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, image: Tensor) -> Tensor:
        """Return θ (N, 3): scale, and where."""
        if self.training:
            self.seen += 1
        shrunk = (LARGEST - SMALLEST) * self.seen / (SHRINKS * self.steps)
        allowed = (LARGEST - shrunk).clamp(min=SMALLEST)
        scale, place = self.localisation(image).split((1, 2), 1)
        scale = allowed * (1 - RANGE * torch.sigmoid(4 * (1 - scale)))
        return torch.cat((scale, (1 - scale) * place.tanh()), 1)


class Colocaliser(Network):
    """A transformer, and an encoder that compares what it crops with random patches."""

    def __init__(self, steps: int):
        super().__init__()
        self.transformer = SpatialTransformer(
            Shrinking(steps), Attention(), Sampler(), size=VIEW, **UNGUARDED
        )
        self.encoder = trained()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return encodings (N, 2, D), of a crop and a random patch of each image, and θ."""
        assert isinstance(self.transformer, SpatialTransformer)
        crop, theta = self.transformer(image, return_theta=True)
        seen = self.transformer.localisation.get_buffer("seen")
        patch = warp(image, _anywhere(image, seen), Attention(), size=VIEW)
        return torch.stack([self.encoder.encode(view) for view in (crop, patch)], 1), theta


def _anywhere(image: Tensor, seen: Tensor) -> Tensor:
    """Return θ of a patch of the digit's size of each image, which the batches seen decide."""
    draw = torch.Generator().manual_seed(int(seen))
    scale = torch.full((len(image), 1), IMAGE / CANVAS)
    place = (1 - scale) * (2 * torch.rand(len(image), 2, generator=draw) - 1)
    return torch.cat((scale, place), 1).to(image)


class Colocalisation(TripletHinge):
    """The triplet hinge loss, and in how many images the crop is on the digit.

    Targets are the digits' boxes (N, 4), which the loss does not see.
    """

    metrics = (Metric("found", "found", "%", percent, less_is_better=False), *TripletHinge.metrics)

    def scores(self, output: Tensor, theta: Tensor | None, target: Tensor) -> Mapping[str, Tensor]:
        """Return whether each digit is found, too."""
        assert theta is not None
        found = iou(frame(Attention(), theta), target.to(theta)) > OVERLAP
        return {"found": found, **super().scores(output, theta, target)}


def placed(draws: Draws) -> Placed:
    """Where the digits lie: those of an image are always in the same place."""
    return PLAIN.place(_still(draws))


def _still(draws: Draws) -> Draws:
    return Draws(_PLACES, 0, draws.sample % IMAGES)


def _data(recipe: ColocalisationRecipe, folder: Path | None) -> Data:
    splits = load(recipe, folder)
    known = splits.train + splits.validation  # of MNIST, the encoder has not seen the latter
    digits = known.inputs[known.targets == recipe.digit][-IMAGES:]
    if len(digits) < IMAGES:
        raise InputError(
            f"{folder}: {len(digits)} images of the digit {recipe.digit} were found; give a folder "
            f"that has {IMAGES}"
        )
    canvas = CANVASES[recipe.distortion]

    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        return canvas(inputs.float() / 255, _still(draws), known.inputs.to(inputs.device))

    family, theta = placed(Draws(0, 0, torch.arange(IMAGES)))
    images = InMemory(digits, frame(family, family.inverse(theta)).float())
    rounds = torch.arange(IMAGES).repeat(ROUNDS)
    return Data(images[rounds], images, images, prepare=prepare, place=placed)


EXPERIMENT = Experiment(
    ColocalisationRecipe(
        experiment="colocalisation",
        epochs=16,
        batch_size=32,
        lr=1e-3,
        weight_decay=0.0,
    ),
    data=_data,
    network=lambda recipe: Colocaliser(recipe.epochs * (ROUNDS * IMAGES // recipe.batch_size)),
    task=lambda recipe: Colocalisation(recipe.margin),
    shape=lambda recipe: (1, CANVAS, CANVAS),
    cells=lambda recipe: [
        Cell(name, f"digit-{n}", replace(recipe, distortion=name, digit=n), float(number))
        for name, numbers in PAPER.items()
        for n, number in enumerate(numbers)
    ],
    quick=lambda recipe: replace(recipe, digits="scikit-learn", epochs=5),
    verify=verify,
)
