"""A toy experiment of another kind than the package's: regression on volumes.

Volumes of 12 × 12 × 12 voxels and two channels hold a ball whose brightness is to be told wherever
it lies. A spatial transformer in 3-D brings it to a linear layer.
"""

from dataclasses import dataclass

import torch
from torch import nn

from spatial_transformers import LocalisationFCN, SpatialTransformer, make_transformation
from spatial_transformers.experiments.base import Cell, Experiment, Network
from spatial_transformers.experiments.data.samples import Data, InMemory
from spatial_transformers.experiments.recipe import NOT_NEGATIVE, Recipe, fact
from spatial_transformers.experiments.task import Regression

SIZE = 12
PLACES = torch.linspace(-1, 1, SIZE)


@dataclass(frozen=True, kw_only=True)
class BallRecipe(Recipe):
    model: str = fact("st-linear", "of the network", ("linear", "st-linear"))
    noise: float = fact(0.0, "standard deviation of every voxel in training", NOT_NEGATIVE)


class Linear(Network):
    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer
        self.read = nn.Sequential(nn.Flatten(), nn.Linear(2 * SIZE**3, 1))

    def forward(self, image):
        theta = None
        if self.transformer is not None:
            image, theta = self.transformer(image, return_theta=True)
        return self.read(image), theta


def network(recipe):
    if recipe.model == "linear":
        return Linear(None)
    transformation = type(make_transformation(recipe.transformation))(ndim=3)
    localisation = LocalisationFCN(transformation, in_channels=2, input_size=6, hidden=(8,))
    return Linear(SpatialTransformer(localisation, transformation, size=SIZE))


def balls(count, seed):
    """Return volumes (N, 2, 12, 12, 12), and how bright the ball in each is (N, 1)."""
    draw = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 3, 1, 1, 1, generator=draw) - 0.5
    bright = torch.rand(count, 1, generator=draw)
    points = torch.stack(torch.meshgrid(PLACES, PLACES, PLACES, indexing="ij"))
    ball = (-8 * (points - centre).square().sum(1)).exp()
    return InMemory(torch.stack((ball * bright[..., None, None], 1 - ball), 1), bright)


def data(recipe, folder):
    def prepare(inputs, draws, samples, strength):
        noise = draws.normal("noise", recipe.noise * strength, inputs[0].numel())
        return inputs + noise.view_as(inputs).to(inputs)

    return Data(balls(64, 0), balls(16, 1), balls(16, 2), prepare=prepare)


def cells(recipe):
    yield Cell("balls", "linear", BallRecipe(**{**vars(recipe), "model": "linear"}))
    yield Cell("balls", "st-linear", recipe, paper=0.01, baseline="linear")


EXPERIMENT = Experiment(
    BallRecipe(experiment="balls", transformation="attention", epochs=2, batch_size=16, noise=0.01),
    data=data,
    network=network,
    task=lambda recipe: Regression("lux"),
    shape=lambda recipe: (2, SIZE, SIZE, SIZE),
    cells=lambda recipe: list(cells(recipe)),
)
