"""What an experiment is: data, a distortion, networks of one size, and a recipe to train them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .data.module import Distort, Splits
from .recipe import Recipe


@dataclass(frozen=True)
class Experiment:
    """One of the paper's experiments, or the embedded one.

    Args:
        size: height and width of the distorted images in pixels.
        classes: how many there are.
        budget: parameters of every network, at most.
        distortions: by name, what turns images and sample numbers into network inputs.
        repeats: fixed distortions scored per test image.
        load: reads the images from a folder, or without one from what ships with the package.
        defaults: the recipe, unless options say otherwise.
        threads: processor threads at most. Networks too small to share gain little from a second
            one, and wait long for it where the other core is busy.

    """

    size: int
    classes: int
    budget: int
    distortions: dict[str, Distort]
    repeats: int
    load: Callable[[Path | None], Splits]
    defaults: Recipe
    threads: int | None = None
