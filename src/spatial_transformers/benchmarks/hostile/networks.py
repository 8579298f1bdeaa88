"""A classifier alone, behind a transformer as tutorials write it, or behind ours with defaults."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import LocalisationCNN, Sampler, SpatialTransformer, Transformation, make_transformation
from .setups import Setup

_WIDTH = 10


class Tutorial(nn.Module):
    """The localisation network of PyTorch's tutorial, for any image and any transformation."""

    def __init__(self, transformation: Transformation, shape: tuple[int, ...]):
        super().__init__()
        channels, *_size = shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, 8, 7),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(8, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        )
        width = self.features(torch.zeros(1, *shape)).shape[1]
        last = nn.Linear(32, transformation.num_parameters)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(transformation.identity())
        self.regression = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), last)

    def forward(self, image: Tensor) -> Tensor:
        """Return θ (N, P)."""
        return self.regression(self.features(image))


class Network(nn.Module):
    """A classifier with its transformers, if it has any."""

    def __init__(self, setup: Setup, variant: str, shape: tuple[int, ...], classes: int):
        super().__init__()
        channels, size, _ = shape
        seen = setup.size or size
        count = 2 if setup.place == "parallel" and variant != "none" else 1
        self.first, self.rest = _classifier(setup, channels * count, seen, classes)
        places = {"image": [shape], "parallel": [shape, shape], "deep": [shape, _behind(shape)]}
        self.transformers = nn.ModuleList(
            _transformer(setup, variant, where)
            for where in ([] if variant == "none" else places[setup.place])
        )
        self.place, self.size = setup.place, seen

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits, and θ of every transformer."""
        thetas: list[Tensor] = []

        def through(number: int, image: Tensor) -> Tensor:
            warped, theta = self.transformers[number](image, return_theta=True)
            thetas.append(theta)
            return warped

        if not self.transformers:
            if image.shape[-1] != self.size:
                image = F.interpolate(
                    image, size=self.size, mode="bilinear", antialias=True, align_corners=False
                )
            return self.rest(self.first(image)), thetas
        if self.place == "parallel":
            image = torch.cat([through(0, image), through(1, image)], 1)
        else:
            image = through(0, image)
        features = self.first(image)
        if self.place == "deep":
            features = through(1, features)
        return self.rest(features), thetas


def _transformer(setup: Setup, variant: str, shape: tuple[int, ...]) -> SpatialTransformer:
    family = make_transformation(setup.transformation)
    if variant == "tutorial":  # nothing but the paper's module: as `affine_grid` and `grid_sample`
        sampler = Sampler(padding_mode=setup.padding_mode or "zeros")
        plain = {"reach": None, "theta_clip": None, "watch": False}
        return SpatialTransformer(
            Tutorial(family, shape), family, sampler, size=setup.size, **plain
        )
    sampler = None if setup.padding_mode is None else Sampler(padding_mode=setup.padding_mode)
    localisation = LocalisationCNN(family, in_channels=shape[0])
    return SpatialTransformer(localisation, family, sampler, size=setup.size)


def _behind(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return channels and size behind a classifier's first layers."""
    return (_WIDTH, *((n - 4) // 2 for n in shape[1:]))


def _classifier(
    setup: Setup, channels: int, size: int, classes: int
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the layers before and behind the place of a deep transformer."""
    kernel = 5 if size >= 28 else 3
    left = ((size - kernel + 1) // 2 - kernel + 1) // 2
    if setup.classifier == "tutorial":
        first = nn.Sequential(nn.Conv2d(channels, _WIDTH, kernel), nn.MaxPool2d(2), nn.ReLU())
        rest = [
            nn.Conv2d(_WIDTH, 2 * _WIDTH, kernel),
            nn.Dropout2d(),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        ]
        rest += [
            nn.Linear(2 * _WIDTH * left * left, 50),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(50, classes),
        ]
        return first, nn.Sequential(*rest)

    def norm(layer: nn.Module) -> list[nn.Module]:
        return [layer] if setup.batch_norm else []

    first = nn.Sequential(
        nn.Conv2d(channels, _WIDTH, kernel),
        nn.MaxPool2d(2),
        *norm(nn.BatchNorm2d(_WIDTH)),
        nn.ReLU(),
    )
    rest = nn.Sequential(
        nn.Conv2d(_WIDTH, 2 * _WIDTH, kernel),
        nn.MaxPool2d(2),
        *norm(nn.BatchNorm2d(2 * _WIDTH)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * _WIDTH * left * left, 64),
        *norm(nn.BatchNorm1d(64)),
        nn.ReLU(),
        nn.Linear(64, classes),
    )
    return first, rest
