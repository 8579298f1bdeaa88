"""What an experiment is: data, a distortion, networks of one size, and a recipe to train them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .data.distortions import Distortion
from .data.module import Splits
from .recipe import Recipe


@dataclass(frozen=True)
class Experiment:
    """One of the paper's experiments, or the embedded one.

    Args:
        classes: how many there are.
        budget: parameters of every network, at most, by its kind (`cnn`, `fcn`) and the size of the
            canvas.
        view: height and width in pixels of what a spatial transformer gives to the classifier, by
            its kind and the canvas.
        distortions: of its images, by the paper's names.
        repeats: fixed distortions scored per test image.
        load: reads the images from a folder, or without one from what ships with the package.
        defaults: the recipe, unless options say otherwise.
        threads: processor threads at most. Networks too small to share gain little from a second
            one, and wait long for it where the other core is busy.
        paper: the paper's test errors in percent, by row (model and transformation, as
            `st-cnn/affine` or `cnn`) and column (distortion), in the order to reproduce them.
        verify: refuses a folder whose data are not the paper's.

    """

    classes: int
    budget: Mapping[str, Mapping[int, int]]
    view: Mapping[str, Mapping[int, int]]
    distortions: dict[str, Distortion]
    repeats: int
    load: Callable[[Path | None], Splits]
    defaults: Recipe
    threads: int | None = None
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    verify: Callable[[Path], None] | None = None
