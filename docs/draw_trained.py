"""Draws pictures of transformers that are trained here, in a few minutes each.

They are those of `troubleshooting.md`, a failure on the left and its cure on the right, and those
of `arrangements.md`. Digits and photographs are scikit-learn's.

Run: python docs/draw_trained.py [NAME ...]
"""

import sys
import warnings
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from spatial_transformers import (
    Affine,
    Attention,
    LocalisationCNN,
    Parallel,
    Recurrent,
    RegressionHead,
    Rigid,
    Sampler,
    Series,
    SpatialTransformer,
    Transformation,
    region_start,
    show,
    tiled_starts,
    warp,
)
from spatial_transformers._drawing import few_colours, figure_of, pixels
from spatial_transformers.benchmarks.hostile.images import Images, embedded

EPOCHS, SHOWN, DPI, GAP = 3, 4, 70, 20
MOMENTUM = partial(torch.optim.SGD, momentum=0.9)
Optimiser = Callable[..., torch.optim.Optimizer]
Figures = tuple[Figure, Figure]  # drawn side by side


def classifier(channels: int = 1) -> nn.Sequential:
    """Return a small network for images of any size."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 5), nn.MaxPool2d(2), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 5), nn.MaxPool2d(2), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10)),
    )


def unprotected(transformation: Transformation) -> SpatialTransformer:
    """Return a transformer as tutorials write it: not normalised, at the full rate."""
    localisation = nn.Sequential(
        *(nn.Conv2d(1, 8, 7), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(8, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(490, 32), nn.ReLU(), RegressionHead(32, transformation)),
    )
    plain = {"reach": None, "theta_clip": None, "watch": False}
    return SpatialTransformer(localisation, transformation, Sampler(), **plain)


@cache
def digits() -> Images:
    """Return digits that are turned, scaled and placed at random."""
    return embedded(4_000, SHOWN)


def train(first: nn.Module, images: Images, optimiser: Optimiser, lr: float) -> None:
    """Train a module and a classifier behind it, all at one rate."""
    network = nn.Sequential(first, classifier(first(images.train[:2]).shape[1]))
    steps = optimiser(network.parameters(), lr=lr)
    for _ in range(EPOCHS):
        for numbers in torch.randperm(len(images.train)).split(64):
            loss = F.cross_entropy(network(images.train[numbers]), images.train_labels[numbers])
            steps.zero_grad()
            loss.backward()
            steps.step()


def ours(transformation: Transformation, **options: Any) -> SpatialTransformer:
    """Return a transformer with its defaults, but for options of its localisation network."""
    localisation = LocalisationCNN(transformation, in_channels=1, **options)
    return SpatialTransformer(localisation, transformation)


def pair(
    failing: SpatialTransformer, cured: SpatialTransformer, optimiser: Optimiser, lr: float
) -> Figures:
    """Train both, and show what they do."""
    images = digits()
    for stn in (failing, cured):
        train(stn, images, optimiser, lr)
    return show(failing, images.test), show(cured, images.test)


def outside() -> Figures:
    """Adam at a rate that suits the classifier: unprotected, and with the defaults."""
    return pair(unprotected(Affine()), ours(Affine()), torch.optim.Adam, 1e-2)


def zoomed_out() -> Figures:
    """The same by gradient descent."""
    return pair(unprotected(Affine()), ours(Affine()), MOMENTUM, 0.05)


def constant() -> Figures:
    """The same at twice that rate, at which units die."""
    return pair(unprotected(Affine()), ours(Affine()), MOMENTUM, 0.1)


def identity() -> Figures:
    """At a rate at which all learns slowly: a tenth of it, and the same for all."""
    return pair(ours(Affine()), ours(Affine(), lr_multiplier=1.0), torch.optim.Adam, 1e-4)


def one_region() -> Figures:
    """Two transformers side by side: from one start, and from tiles."""
    middle = region_start(Attention(), 0.5)
    return side_by_side([middle, middle]), side_by_side(tiled_starts(Attention(), 2))


def side_by_side(starts: Iterable[Tensor]) -> Figure:
    """Train two transformers on the same digits, and show what both do to two of them."""
    images, attention = digits(), Attention()
    both = Parallel(*(ours(attention, start=start) for start in starts))
    train(both, images, torch.optim.Adam, 1e-3)
    shown = images.test[:2]
    both.join = "stack"
    outputs, thetas = both.eval()(shown, return_theta=True)
    return figure_of(
        attention,
        shown.repeat_interleave(2, 0),
        outputs.flatten(0, 1).detach(),
        torch.stack(thetas, 1).flatten(0, 1).detach(),
        ["the first", "the second"] * 2,
    )


def shared() -> Figures:
    """One localisation network for four maps, as it begins, of each of two pictures."""
    attention = Attention()
    localisation = LocalisationCNN(attention, in_channels=3, start=tiled_starts(attention, 4))
    stn = SpatialTransformer(localisation, attention, size=60)
    return tuple(show(stn, picture(name)) for name in ("flower.jpg", "china.jpg"))


def steps_of(series: Series) -> Figures:
    """Train transformers in series, and show the first step and the last."""
    images = digits()
    train(series, images, torch.optim.Adam, 1e-3)
    _, thetas = series.eval()(images.test, return_theta=True)
    return tuple(
        figure_of(
            series.families[step],
            images.test,
            series.warp(images.test, thetas[step], step=step).detach(),
            thetas[step].detach(),
            [title] * SHOWN,
        )
        for step, title in ((0, "the first step"), (-1, "the last step"))
    )


def series() -> Figures:
    """A crop, then a turn."""
    return steps_of(Series(ours(Attention()), ours(Rigid())))


def recurrent() -> Figures:
    """One affine transformer, applied four times."""
    return steps_of(Recurrent(ours(Affine()), 4))


def picture(name: str) -> Tensor:
    """Return one of scikit-learn's two photographs, cut to a square."""
    image = torch.from_numpy(load_sample_image(name)).movedim(-1, 0) / 255
    return image[None, :, :420, 60:480]


def blurred() -> Figures:
    """A crop from an image that was made small, and the same one from the original."""
    original = picture("flower.jpg")
    small = F.interpolate(original, size=60, mode="area")
    centres = ((-0.5, -0.4), (0.1, 0.0), (0.4, 0.5), (0.6, -0.1))
    attention = Attention()
    theta = torch.stack([region_start(attention, 0.3, centre) for centre in centres]).float()
    return tuple(
        figure_of(
            attention,
            image.expand(SHOWN, -1, -1, -1),
            warp(image, theta, attention, size=60, antialias=True),
            theta,
            [""] * SHOWN,
        )
        for image in (small, original)
    )


#: What is drawn, by the name of its picture.
PICTURES: dict[str, Callable[[], Figures]] = {
    "troubleshooting/outside": outside,
    "troubleshooting/zoomed-out": zoomed_out,
    "troubleshooting/constant": constant,
    "troubleshooting/identity": identity,
    "troubleshooting/one-region": one_region,
    "troubleshooting/blurred": blurred,
    "arrangements/shared": shared,
    "arrangements/series": series,
    "arrangements/recurrent": recurrent,
}


def main(names: list[str]) -> None:
    """Draw the pictures that were asked for, or all."""
    warnings.simplefilter("ignore")  # of the transformers that are to fail
    for name in names or PICTURES:
        torch.manual_seed(0)
        left, right = (pixels(figure, DPI) for figure in PICTURES[name]())
        both = Image.new("RGB", (left.width + GAP + right.width, left.height), "white")
        both.paste(left, (0, 0))
        both.paste(right, (left.width + GAP, 0))
        path = Path(__file__).parent / f"{name}.png"
        few_colours(both, 128).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
