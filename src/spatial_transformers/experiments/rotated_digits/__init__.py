"""Rotated digits: the embedded experiment, on scikit-learn's real handwritten digits.

1,797 scans of 8×8 pixels ship with scikit-learn, so nothing is downloaded. They are turned by up to
±90° on a canvas of 16×16. Every held-out digit is scored at 20 fixed angles.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from spatial_transformers import InputError

from ..data.distortion import Distortion, rotated
from ..data.samples import InMemory
from ..distorted import DistortedRecipe, Size, Splits, distorted
from ..recipe import fact

SIZE = 16
# The share of the canvas that an image spans. Up to 1/√2 a turned image stays inside as a whole;
# a little more loses nothing, since digits leave the corners of their images empty.
SHARE = 0.75


def load(folder: Path | None) -> Splits:
    """Return the digits, split by a fixed draw: 1,197 train, 150 validate, 450 test."""
    if folder is not None:
        raise InputError("rotated-digits ships its data with scikit-learn; leave --data out")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)  # (1797, 64) in 0 … 16
    images = torch.from_numpy(pixels / 16 * 255).round().to(torch.uint8).reshape(-1, 1, 8, 8)
    everything = InMemory(images, torch.from_numpy(labels).long())
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(0))
    return Splits(
        train=everything[order[600:]],
        validation=everything[order[450:600]],
        test=everything[order[:450]],
    )


SIZES = {"cnn": {SIZE: Size(40_000, SIZE)}, "fcn": {SIZE: Size(40_000, SIZE)}}
DISTORTIONS = {"R": Distortion(SIZE, partial(rotated, share=SHARE))}


@dataclass(frozen=True, kw_only=True)
class DigitsRecipe(DistortedRecipe):
    """How a classifier of rotated digits is trained."""

    distortion: str = fact("R", "of the images, by the paper's name", (*DISTORTIONS,))


EXPERIMENT = distorted(
    DigitsRecipe(experiment="rotated-digits", epochs=60, batch_size=64),
    load,
    DISTORTIONS,
    SIZES,
    classes=10,
    repeats=20,
    threads=1,
)
