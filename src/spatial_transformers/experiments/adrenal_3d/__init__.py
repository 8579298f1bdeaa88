"""Adrenal glands in 3-D: shapes of 28×28×28 voxels, turned at random, and whether they are ill.

The volumes are MedMNIST's AdrenalMNIST3D (Yang et al. 2023): masks of glands from CT, normal or
with a mass. Its own network sees every gland upright; here each is turned, all turns alike likely.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformers import Affine, LocalisationCNN, Rigid, SpatialTransformer, warp

from ..base import Experiment
from ..data.draws import Draws
from ..data.samples import Data, InMemory, Placed
from ..distorted import ClassifierRecipe, cell_of
from ..networks import SOLID, Classifier, assemble
from ..recipe import fact
from ..task import Classification
from .volumes import CLASSES, SIDE, generated, read

MODELS = ("cnn", "st-cnn")
VOLUMES = ("adrenal", "generated")
BUDGET = 120_000  # parameters
PERTURBATION = 0.1  # of θ at first: any move off the identity blurs, and none leaves it by itself
TURNS = 10  # fixed turns under which each test volume is scored


@dataclass(frozen=True, kw_only=True)
class AdrenalRecipe(ClassifierRecipe):
    """How a network that tells turned shapes apart is trained."""

    model: str = fact("st-cnn", "of the network, behind a spatial transformer or not", MODELS)
    transformation: str = fact("rigid", "of the spatial transformer, in 3-D", (*SOLID,))
    volumes: str = fact("adrenal", "of a folder, or straight and bent rods", VOLUMES)


def turned(draws: Draws) -> Placed:
    """Where a body lies: turned about the middle, by unit quaternions drawn uniformly."""
    real, imaginary = draws.normal("turn", 1.0, 4).split((1, 3), 1)
    length = imaginary.norm(dim=1, keepdim=True)
    turn = 2 * torch.atan2(length, real) * imaginary / length  # about this axis, by its length
    theta = torch.cat((turn, torch.zeros_like(turn)), 1)
    return Affine(ndim=3), Rigid(ndim=3).matrix(theta).flatten(1)


def _data(recipe: AdrenalRecipe, folder: Path | None) -> Data:
    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        family, theta = turned(draws)
        volumes = inputs.float() / 255
        return warp(volumes, theta.to(volumes), family)

    parts = generated(folder) if recipe.volumes == "generated" else read(folder)
    return Data(*parts, prepare=prepare, place=turned, repeats=TURNS)


class VolumeCNN(nn.Sequential):
    """Two convolutions, the second of `width` filters, and a classifier."""

    def __init__(self, width: int):
        left = ((SIDE - 4) // 2 - 4) // 2
        super().__init__(
            nn.Conv3d(1, 8, 5, bias=False),
            nn.MaxPool3d(2),
            nn.BatchNorm3d(8),
            nn.ReLU(),
            nn.Conv3d(8, width, 5, bias=False),
            nn.MaxPool3d(2),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * left**3, CLASSES),
        )


def _network(recipe: AdrenalRecipe) -> Classifier:
    def transformer() -> SpatialTransformer | None:
        if recipe.model == "cnn":
            return None
        family = SOLID[recipe.transformation](ndim=3)
        localisation = LocalisationCNN(family, in_channels=1, perturbation=PERTURBATION)
        return SpatialTransformer(localisation, family)

    return assemble(VolumeCNN, transformer, BUDGET)


EXPERIMENT = Experiment(
    AdrenalRecipe(
        experiment="adrenal-3d",
        epochs=30,
        batch_size=32,
        lr=1e-3,
        localisation_lr=3.0,
        weight_decay=0.05,
        label_smoothing=0.05,
        hold_out=False,
    ),
    data=_data,
    network=_network,
    task=lambda recipe: Classification(CLASSES, recipe.label_smoothing),
    shape=lambda recipe: (1, SIDE, SIDE, SIDE),
    cells=lambda recipe: [
        cell_of(recipe, "turned", row, None) for row in ("st-cnn/rigid", "st-cnn/affine", "cnn")
    ],
    quick=lambda recipe: replace(recipe, volumes="generated", epochs=8),
)
