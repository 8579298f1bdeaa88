"""Rotated digits: a small embedded experiment, on scikit-learn's real handwritten digits.

1,797 scans of 8×8 pixels ship with scikit-learn, so nothing is downloaded. They are turned by up to
±90° on a canvas of 16×16. Every held-out digit is scored at 20 fixed angles.
"""

from dataclasses import dataclass
from functools import partial

from ..data.digits import shipped
from ..data.distortion import Distortion, rotated
from ..distorted import DistortedRecipe, Size, distorted
from ..recipe import fact

SIZE = 16
# The share of the canvas that an image spans. Up to 1/√2 a turned image stays inside as a whole;
# a little more loses nothing, since digits leave the corners of their images empty.
SHARE = 0.75


SIZES = {"cnn": {SIZE: Size(40_000, SIZE)}, "fcn": {SIZE: Size(40_000, SIZE)}}
DISTORTIONS = {"R": Distortion(SIZE, partial(rotated, share=SHARE))}


@dataclass(frozen=True, kw_only=True)
class DigitsRecipe(DistortedRecipe):
    """How a classifier of rotated digits is trained."""

    distortion: str = fact("R", "of the images, by the paper's name", (*DISTORTIONS,))


EXPERIMENT = distorted(
    DigitsRecipe(experiment="rotated-digits", epochs=60, batch_size=64),
    lambda recipe, folder: shipped(folder, recipe.experiment),
    DISTORTIONS,
    SIZES,
    classes=10,
    repeats=20,
    threads=1,
)
