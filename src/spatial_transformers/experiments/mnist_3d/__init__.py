"""MNIST in 3-D (appendix A.3): digits as bodies, turned and placed in volumes of 60×60×60 voxels.

A digit is extruded: its image is stretched along depth to a body. A 3-D transformer turns the
volume, the depth of what it gives is flattened, and what is left is read as an image. Without a
transformer the same network reads the flattened volume, in which a turned digit is foreshortened
and smeared by its own depth.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformers import (
    Affine,
    LocalisationCNN,
    Rigid,
    SpatialTransformer,
    region_start,
    warp,
)

from ..base import Experiment
from ..data.digits import DIGITS, load, verify
from ..data.distortion import IMAGE, bent
from ..data.draws import Draws
from ..data.samples import Data, InMemory, Placed
from ..distorted import BentRecipe, cell_of
from ..independent import bodies, of_digits
from ..networks import CNN, POINTS, SOLID, Classifier, assemble
from ..recipe import Within, fact
from ..task import Classification

MODELS = ("cnn", "st-cnn")
SIDE = 60  # voxels of a volume, along each axis
THICK = 12  # voxels of a digit, along depth
CLASSES = 10
VIEW, DEPTH = IMAGE, 16  # what a transformer gives to the classifier, and planes that are flattened
START = 0.5  # share of the volume, along each axis in the middle, that it reads at first
BUDGET = 270_026  # parameters, as of distorted MNIST's CNN on 60×60 pixels


def placed(draws: Draws, most: float) -> Placed:
    """Where a body lies: turned about z, y and x by U(-most, most) each, then moved at random.

    The position is uniform where the body, before it is turned, stays in the volume; a body that
    would not stay after turning, either, has no ink there.
    """
    rigid = Rigid(ndim=3)
    turn = torch.eye(3, dtype=torch.float64, device=draws.sample.device)
    for axis, (name, sign) in enumerate({"x": 1, "y": -1, "z": 1}.items()):
        theta = torch.zeros(len(draws.sample), 6, dtype=turn.dtype, device=turn.device)
        theta[:, axis] = sign * draws.uniform(f"angle about {name}", -most, most)[:, 0].deg2rad()
        turn = turn @ rigid.matrix(theta)[..., :3]
    centre = draws.uniform("position", -1, 1, 3)[..., None] * (1 - IMAGE / SIDE)
    size = torch.tensor([IMAGE, IMAGE, THICK], device=turn.device)
    matrix = (SIDE / size)[:, None] * turn
    return Affine(ndim=3), torch.cat((matrix, -matrix @ centre), 2).flatten(1)


@dataclass(frozen=True, kw_only=True)
class VolumeRecipe(BentRecipe):
    """How a network that reads digits in volumes is trained."""

    model: str = fact("st-cnn", "of the network, behind a spatial transformer or not", MODELS)
    transformation: str = fact("affine", "of the spatial transformer, in 3-D", (*SOLID,))
    turn: float = fact(
        45.0,
        "degrees about each axis, at most",
        Within("0 to 180", lambda degrees: 0 <= degrees <= 180),
    )
    digits: str = fact("mnist", "that become bodies: of a folder, or those that ship", DIGITS)


def extruded(images: Tensor, draws: Draws, turn: float) -> Tensor:
    """Return images (N, 1, 28, 28) as bodies in volumes (N, 1, 60, 60, 60)."""
    family, theta = placed(draws, turn)
    bodies = images[:, :, None].expand(-1, -1, THICK, -1, -1)
    return warp(bodies, theta.to(images), family, size=SIDE)


def _data(recipe: VolumeRecipe, folder: Path | None) -> Data:
    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        images, jitter = inputs.float() / 255, recipe.jitter * strength
        return extruded(bent(images, draws, jitter) if jitter else images, draws, recipe.turn)

    parts = load(recipe, folder)
    return Data(*parts, prepare=prepare, place=lambda draws: placed(draws, recipe.turn))


class Flattened(nn.Module):
    """The mean of a volume along its depth."""

    def forward(self, volume: Tensor) -> Tensor:
        """Return images (N, C, H, W) of volumes (N, C, D, H, W)."""
        return volume.mean(2)


def _network(recipe: VolumeRecipe) -> Classifier:
    behind = recipe.model == "st-cnn"

    def classifier(width: int) -> nn.Sequential:
        if not behind:
            return nn.Sequential(Flattened(), *CNN(SIDE, width, CLASSES))
        return nn.Sequential(Flattened(), nn.AvgPool2d(POINTS), *CNN(VIEW, width, CLASSES))

    def transformer() -> SpatialTransformer | None:
        if not behind:
            return None
        family = SOLID[recipe.transformation](ndim=3)
        start = region_start(family, START)
        localisation = LocalisationCNN(family, in_channels=1, start=start)
        return SpatialTransformer(localisation, family, size=(DEPTH, *2 * (POINTS * VIEW,)))

    return assemble(classifier, transformer, BUDGET)


EXPERIMENT = Experiment(
    VolumeRecipe(
        experiment="mnist-3d",
        epochs=5,
        batch_size=64,
        lr=3e-3,
        localisation_lr=3.0,
        weight_decay=0.05,
        label_smoothing=0.05,
        hold_out=False,
        turn=75.0,
    ),
    data=_data,
    network=_network,
    task=lambda recipe: Classification(CLASSES, recipe.label_smoothing),
    shape=lambda recipe: (1, SIDE, SIDE, SIDE),
    cells=lambda recipe: [
        cell_of(recipe, "volumes", row, None) for row in ("st-cnn/affine", "cnn")
    ],
    quick=lambda recipe: replace(recipe, digits="scikit-learn", epochs=10),
    verify=verify,
    independent=of_digits(load, lambda recipe: {"SciPy": partial(bodies, degrees=recipe.turn)}),
)
