"""Traffic signs: the German Traffic Sign Recognition Benchmark, by a CNN with transformers inside.

The CNN is that of IDSIA, the benchmark's winner (Cireşan et al. 2012), with one, two or three
spatial transformers: before its first convolution; also before its third, as that of Moodstocks
(2015); and before all three, as that of Arcos-García et al. (2018). Each has a localisation network
of its own, and warps what the layer before it gives.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformers import Affine, LocalisationCNN, Sampler, SpatialTransformer

from ..base import Experiment
from ..data.draws import Draws
from ..data.jitter import jittered, lit
from ..data.samples import Data, InMemory
from ..distorted import ClassifierRecipe, cell_of
from ..networks import Classifier, assemble
from ..recipe import NOT_NEGATIVE, fact
from ..task import Classification
from .signs import CLASSES, SIDE, generated, read

#: The networks, and the convolutions before which they have a transformer.
MODELS = {"cnn": (), "st-cnn": (0,), "2-deep-st-cnn": (0, 2), "3-deep-st-cnn": (0, 1, 2)}
SIGNS = ("gtsrb", "generated")
BUDGET = 945_000  # parameters; IDSIA's CNN at 32 pixels has 0.94 million

#: Errors in percent at 48 pixels of wider networks: of Moodstocks, and for three of Arcos-García.
PAPER = {
    "3-deep-st-cnn/affine": 0.29,
    "cnn": 1.15,
    "2-deep-st-cnn/affine": 0.33,
    "st-cnn/affine": 0.54,
}


@dataclass(frozen=True, kw_only=True)
class SignsRecipe(ClassifierRecipe):
    """How a network that reads traffic signs is trained."""

    model: str = fact("3-deep-st-cnn", "of the network, and its transformers", (*MODELS,))
    transformation: str = fact("affine", "of the spatial transformers", ("affine",))
    signs: str = fact("gtsrb", "of a folder, or eight shapes that are made", SIGNS)
    jitter: float = fact(
        0.0, "strength, at first, of changes in place and light of training images", NOT_NEGATIVE
    )


def normalised(images: Tensor) -> Tensor:
    """Return images in [0, 1] with a mean of 0 and a standard deviation of 1 each.

    What lies outside an image, which a transformer reads as 0, then has the image's mean.
    """
    deviation, mean = torch.std_mean(images, (1, 2, 3), keepdim=True)
    return (images - mean) / deviation.clamp(min=1 / 255)


def _data(recipe: SignsRecipe, folder: Path | None) -> Data:
    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        images, jitter = inputs.float() / 255, recipe.jitter * strength
        if not jitter:
            return normalised(images)
        return jittered(normalised(lit(images, draws, jitter)), draws, jitter)

    parts = generated(folder) if recipe.signs == "generated" else read(folder)
    return Data(*parts, prepare=prepare)


def _transformer(channels: int, size: int) -> SpatialTransformer:
    affine = Affine()
    localisation = LocalisationCNN(affine, in_channels=channels, input_size=size)
    return SpatialTransformer(localisation, affine, Sampler(), size=size)


def _layers(width: int, model: str) -> nn.Sequential:
    """Return the CNN, whose convolutions have 2, 3 and 5 times `width` filters.

    It has the model's transformers, but for the one in front of it.
    """
    layers: list[nn.Module] = []
    channels, size = 3, SIDE
    for number, (times, kernel) in enumerate(((2, 7), (3, 4), (5, 4))):
        if number and number in MODELS[model]:
            layers.append(_transformer(channels, size))
        filters = times * width
        layers += [
            nn.Conv2d(channels, filters, kernel, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
        channels, size = filters, (size - kernel + 1) // 2
    hidden = 6 * width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(channels * size**2, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, CLASSES),
    )


def _network(recipe: SignsRecipe) -> Classifier:
    return assemble(
        lambda width: _layers(width, recipe.model),
        lambda: _transformer(3, SIDE) if MODELS[recipe.model] else None,
        BUDGET,
    )


EXPERIMENT = Experiment(
    SignsRecipe(
        experiment="gtsrb",
        epochs=15,
        batch_size=128,
        lr=3e-3,
        localisation_lr=1.0,
        weight_decay=0.05,
        label_smoothing=0.05,
        jitter=1.0,
        hold_out=False,
        precision="bf16-mixed",
    ),
    data=_data,
    network=_network,
    task=lambda recipe: Classification(CLASSES, recipe.label_smoothing),
    shape=lambda recipe: (3, SIDE, SIDE),
    cells=lambda recipe: [cell_of(recipe, "signs", row, error) for row, error in PAPER.items()],
    quick=lambda recipe: replace(recipe, signs="generated", epochs=8),
    see=normalised,
)
