"""Builds a network by name, as wide as its budget of parameters allows.

The rule of matched size: models of one kind, `cnn` or `fcn`, get the same number of parameters at
most, the localisation network included, and each takes the largest width that keeps to it. A model
with a spatial transformer pays for it with a narrower classifier.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformers import (
    Affine,
    LocalisationCNN,
    LocalisationFCN,
    Recurrent,
    Rigid,
    Sampler,
    SpatialTransformer,
    make_transformation,
    region_start,
)

from ..base import Network
from .batch_norm import share_batches
from .cnn import CNN
from .fcn import FCN

MODELS = ("cnn", "st-cnn", "fcn", "st-fcn")
#: In front of a model with several transformers, side by side (`2x-st-fcn`) or at several depths
#: (`3-deep-st-cnn`), or with one that is applied several times (`4-step-st-cnn`).
_HOW_OFTEN = re.compile(r"^(?:(?P<maps>\d+)x-|(?P<steps>\d+)-step-|\d+-deep-)?st-")
#: Families of transformers in 3-D, by the names that recipes have for them.
SOLID = {"affine": Affine, "rigid": Rigid}
POINTS = 2  # points that a transformer reads along each axis for one pixel of the classifier
_START = 0.7  # share of the image, along each axis in the middle, that it reads at first
HIDDEN = 64  # width of a localisation network's hidden layers
#: Recipes have their own learning rate for localisation networks, clipping, and a black background.
UNGUARDED: Any = {"reach": None, "theta_clip": None, "watch": False}


class Classifier(Network):
    """A classifier, behind a spatial transformer if there is one, or behind a recurrent one."""

    def __init__(
        self, classifier: nn.Sequential, transformer: SpatialTransformer | Recurrent | None = None
    ):
        super().__init__()
        self.transformer = transformer
        self.classifier = classifier

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits (N, classes), and θ (N, P) if there is a transformer, (N, 2, P) of two.

        Of a recurrent one it is the θ after its last step.
        """
        theta = None
        if self.transformer is not None:
            image, theta = self.transformer(image, return_theta=True)
            theta = theta[-1] if isinstance(theta, list) else theta
            if theta.ndim == 3:  # the outputs' channels, one transformer's behind the other's
                image = image.flatten(1, 2)
        return self.classifier(image), theta


class _SideBySide(nn.ModuleList):
    """Localisation networks on one image, a θ of each."""

    def forward(self, image: Tensor) -> Tensor:
        """Return θ (N, K, P)."""
        return torch.stack([localisation(image) for localisation in self], 1)


def build(
    model: str,
    transformation: str,
    *,
    size: int,
    view: int,
    classes: int,
    budget: int,
    channels: int = 1,
) -> Classifier:
    """Build the widest network of that name within a budget of parameters.

    Its images have `channels` of `size` × `size` pixels. A transformer reads them at 2 · `view`
    points along each axis, and the classifier behind it averages 2 × 2 of these (section 3.4:
    sampling fewer points than there are pixels causes aliasing). It starts on the middle of the
    image, from which it learns better than from the whole. Two transformers (`2x-st-fcn`) have a
    localisation network each, and the classifier sees the channels of both outputs. One that is
    applied several times (`4-step-st-cnn`) has one, and starts on the whole image, since its starts
    would multiply.

    Localisation networks are the paper's, convolutional for `st-cnn` and fully connected for
    `st-fcn`, but normalise batches, have hidden layers of 64 where the paper has 20 and 32, and
    both see the image at half its size (16 pixels at least).
    """
    behind, family = has_transformer(model), CNN if plain(model) == "cnn" else FCN

    def classifier(width: int) -> nn.Sequential:
        given = channels * _often(model, "maps")
        layers = family(view if behind else size, width, classes, given)
        return nn.Sequential(nn.AvgPool2d(POINTS), *layers) if behind else layers

    def transformer() -> SpatialTransformer | Recurrent | None:
        return _transformer(model, transformation, size, view, channels) if behind else None

    return assemble(classifier, transformer, budget)


def assemble(
    classifier: Callable[[int], nn.Sequential],
    transformer: Callable[[], SpatialTransformer | Recurrent | None],
    budget: int,
) -> Classifier:
    """Return the widest classifier of a budget of parameters, what is in front of it included.

    Args:
        classifier: makes one of a width.
        transformer: makes what is in front, if anything is.
        budget: parameters of both, at most.

    """
    with torch.device("meta"):
        front = transformer()
        left = budget - (0 if front is None else count_parameters(front))
        width = _widest(lambda w: count_parameters(classifier(w)) <= left)
    return laid_out(Classifier(classifier(width), transformer()))


def laid_out(network: Classifier) -> Classifier:
    """Return a network whose batches may be shared by processes, and convolutions fast."""
    share_batches(network)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def has_transformer(model: str) -> bool:
    """Return whether a model, or a table's row such as `st-cnn/affine`, has a transformer."""
    return plain(model) != model


def plain(model: str) -> str:
    """Return a model, or a table's row, without its transformer: `cnn` of `st-cnn`."""
    return _HOW_OFTEN.sub("", model)


def _often(model: str, what: str) -> int:
    """Return the number in front of a model: of `maps` side by side, or of `steps`."""
    found = _HOW_OFTEN.match(model)
    return int((found and found[what]) or 1)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _transformer(
    model: str, transformation: str, size: int, view: int, channels: int
) -> SpatialTransformer | Recurrent:
    family, steps = make_transformation(transformation), _often(model, "steps")
    common: Any = {
        "in_channels": channels,
        "input_size": max(size // 2, 16),
        "norm": "batch",
        "start": _started(transformation) if steps == 1 else None,
        "lr_multiplier": 1.0,
    }
    localisation = [
        LocalisationCNN.paper(family, hidden=HIDDEN, **common)
        if plain(model) == "cnn"
        else LocalisationFCN(family, hidden=3 * (HIDDEN,), **common)
        for _ in range(_often(model, "maps"))
    ]
    localisation = _SideBySide(localisation) if len(localisation) > 1 else localisation[0]
    stn = SpatialTransformer(localisation, family, Sampler(), size=POINTS * view, **UNGUARDED)
    return stn if steps == 1 else Recurrent(stn, steps)


@cache
def _started(transformation: str) -> Tensor:
    """Return the θ (P,) that reads the middle of the image."""
    return region_start(make_transformation(transformation), _START)


def _widest(fits: Callable[[int], bool]) -> int:
    width = 1
    while fits(2 * width):
        width *= 2
    step = width
    while step := step // 2:
        width += step if fits(width + step) else 0
    return width
