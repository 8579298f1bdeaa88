"""Birds (section 4.3, Table 3): transformers side by side that look at parts, one stream for each.

A transformer of attention crops half of the picture's width for each of two or four streams, each a
backbone pretrained on ImageNet, and their features together tell the class. One localisation
network, a backbone too, predicts where all of them look, and begins with regions side by side.
Every backbone reads pictures of 112×112 pixels, also the one that sees the whole.

*Loose* is harder: the picture lies at a random place and scale among pieces of others.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatial_transformers import (
    Affine,
    Attention,
    Constrained,
    RegressionHead,
    SpatialTransformer,
    region_start,
    warp,
)

from ..base import Experiment, Network
from ..data.distortion import upright
from ..data.draws import Draws
from ..data.pictures import resized
from ..data.samples import Data, InMemory, Placed
from ..distorted import ClassifierRecipe, cell_of
from ..networks.backbones import BACKBONES, backbone
from ..recipe import SHARE, fact
from ..task import Classification
from .birds import CLASSES, SIDE, generated, read

#: The networks, and how many transformers they have.
MODELS = {"cnn": 0, "2x-st-cnn": 2, "4x-st-cnn": 4}
BIRDS = ("cub", "generated")
#: How a picture is shown: as it is, or somewhere on a canvas, of so many pixels along each axis.
CANVASES = {"tight": SIDE, "loose": 2 * SIDE}
CROP = 0.5  # share of the picture's side that a stream reads
VIEW = 112  # pixels along each axis of what a backbone reads
SMALLEST, LARGEST = 0.4, 0.6  # share of a loose canvas's side that the picture spans
PIECES = 4  # of other pictures along each axis of a loose canvas
#: Where transformers look first, side by side: at a band across the picture, or at all of it.
STARTS = {
    2: ((-0.5, 0.0), (0.5, 0.0)),
    4: ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)),
}
_REDUCED = 128  # channels, and then units, of the localisation network

#: Table 3, errors in percent on all 200 classes.
PAPER = {"4x-st-cnn/attention": 15.9, "2x-st-cnn/attention": 16.9, "cnn": 17.7}


@dataclass(frozen=True, kw_only=True)
class BirdsRecipe(ClassifierRecipe):
    """How a network that tells birds apart is trained."""

    model: str = fact("2x-st-cnn", "of the network, and its transformers", (*MODELS,))
    transformation: str = fact("attention", "of the spatial transformers", ("attention",))
    birds: str = fact("cub", "of a folder, or sixteen kinds that are made", BIRDS)
    picture: str = fact("tight", "as it is, or anywhere on a canvas of others", (*CANVASES,))
    backbone: str = fact("efficientnet-lite0", f"of every stream: {BACKBONES}")
    dropout: float = fact(0.3, "of the features", SHARE)


def framed(draws: Draws) -> Placed:
    """Where the points of a loose canvas lie in the picture."""
    share = draws.uniform("share", SMALLEST, LARGEST)
    centre = (1 - share) * draws.uniform("place", -1, 1, 2)
    return upright(1 / share[:, 0], -centre / share)


def only_part(draws: Draws) -> Placed:
    """Return where the picture lies as the only part of a canvas: θ (N, 1, P)."""
    family, theta = framed(draws)
    return family, theta[:, None]


def flipped(images: Tensor, draws: Draws) -> Tensor:
    """Return crops of 80 to 100% of the images' sides, mirrored or not, at their size."""
    share = draws.uniform("crop", 0.8, 1.0)
    x, y = ((1 - share) * draws.uniform("crop's place", -1, 1, 2)).split(1, 1)
    sign = draws.uniform("mirror", 0, 1).lt(0.5).double() * 2 - 1
    zero = torch.zeros_like(share)
    theta = torch.cat((share * sign, zero, x, zero, share, y), 1)
    return warp(images, theta.to(images), Affine(), padding_mode="border")


def among_others(images: Tensor, draws: Draws, others: Tensor) -> Tensor:
    """Return images on canvases of twice their side, which are filled with pieces of others."""
    size, count = CANVASES["loose"], PIECES**2
    edge = size // PIECES
    source = draws.integers("pieces", 0, len(others), count)
    top, left = (draws.integers(f"pieces' {s}", 0, SIDE - edge + 1, count) for s in ("top", "left"))
    along = torch.arange(edge, device=images.device)
    rows, columns = top[..., None, None] + along[:, None], left[..., None, None] + along
    # indices beside a slice put the channels last: (N, pieces, edge, edge, 3)
    pieces = others.movedim(1, -1)[source[..., None, None], rows, columns].to(images) / 255
    canvas = (
        pieces.view(-1, PIECES, PIECES, edge, edge, 3)
        .permute(0, 5, 1, 3, 2, 4)
        .reshape(-1, 3, size, size)
    )
    family, theta = framed(draws)
    theta = theta.to(images)
    inside = (family.grid(theta, size).abs() < 1).all(-1)[:, None]
    return torch.where(
        inside, warp(images, theta, family, size=size, padding_mode="border"), canvas
    )


def _data(recipe: BirdsRecipe, folder: Path | None) -> Data:
    loose = recipe.picture == "loose"

    def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
        images = inputs.float() / 255
        images = flipped(images, draws) if strength else images
        return among_others(images, draws, samples.inputs) if loose else images

    parts = generated(folder) if recipe.birds == "generated" else read(folder)
    return Data(*parts, prepare=prepare, place=only_part if loose else None)


class WhereToLook(nn.Module):
    """The localisation network: a backbone's features, reduced, and a θ for each stream.

    The backbone does not train. What θ's gradient says differs from step to step, and features that
    follow it are the same for all pictures after an epoch.
    """

    def __init__(self, name: str, family: Constrained, starts: Tensor):
        super().__init__()
        self.backbone = backbone(name).requires_grad_(False)
        self.reduce = nn.Sequential(
            nn.Conv2d(self.backbone.features, _REDUCED, 1),
            nn.GroupNorm(1, _REDUCED),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(_REDUCED * self.backbone.cells(VIEW) ** 2, _REDUCED),
            nn.ReLU(),
        )
        self.head = RegressionHead(_REDUCED, family, start=starts)

    def forward(self, image: Tensor) -> Tensor:
        """Return θ (N, K, 2) of images (N, 3, H, W)."""
        return self.head(self.reduce(self.backbone.map(seen(image))))


def seen(image: Tensor) -> Tensor:
    """Return images at the size that a backbone reads."""
    return resized(image, VIEW)


class Streams(Network):
    """A backbone for each crop, or for the whole picture, and a classifier of their features."""

    def __init__(self, recipe: BirdsRecipe):
        super().__init__()
        count = MODELS[recipe.model]
        self.transformer = _transformer(recipe.backbone, count) if count else None
        self.streams = nn.ModuleList(backbone(recipe.backbone) for _ in range(count or 1))
        features = sum(stream.features for stream in self.streams)  # type: ignore[misc]
        self.read = nn.Sequential(nn.Dropout(recipe.dropout), nn.Linear(features, CLASSES))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits (N, 200), and θ (N, K, 2) of K streams."""
        if isinstance(self.transformer, SpatialTransformer):
            crops, theta = self.transformer(image, return_theta=True)
        else:
            crops, theta = seen(image)[:, None], None
        features = [s(crop) for s, crop in zip(self.streams, crops.unbind(1), strict=True)]
        return self.read(torch.cat(features, 1)), theta


def _transformer(name: str, count: int) -> SpatialTransformer:
    family = Constrained(Attention(), fixed={"s": CROP})
    starts = torch.stack([region_start(family, CROP, centre) for centre in STARTS[count]])
    return SpatialTransformer(WhereToLook(name, family, starts), family, size=VIEW)


EXPERIMENT = Experiment(
    BirdsRecipe(
        experiment="cub",
        epochs=15,
        batch_size=32,
        lr=3e-4,
        localisation_lr=1.0,
        weight_decay=0.05,
        label_smoothing=0.1,
        hold_out=False,
    ),
    data=_data,
    network=Streams,
    task=lambda recipe: Classification(CLASSES, recipe.label_smoothing),
    shape=lambda recipe: (3, *2 * (CANVASES[recipe.picture],)),
    cells=lambda recipe: [
        cell_of(
            replace(recipe, picture=picture), picture, row, error if picture == "tight" else None
        )
        for row, error in PAPER.items()
        for picture in CANVASES
    ],
    quick=lambda recipe: replace(recipe, birds="generated", epochs=2),
)
