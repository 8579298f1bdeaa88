"""Classification of images under random distortions: what several experiments are made of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from .base import Cell, Experiment
from .data.digits import Splits
from .data.distortion import Distortion
from .data.draws import Draws
from .data.samples import Data, InMemory
from .independent import Maker, of_digits
from .networks import MODELS, Classifier, build, has_transformer, plain
from .recipe import NOT_NEGATIVE, SHARE, Recipe, fact
from .task import Classification

#: The part of its whole range from which a distortion is drawn at first, where it widens.
NARROW = 1 / 6


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(Recipe):
    """How a classifier is trained."""

    label_smoothing: float = fact(
        0.0, "share of every label that is spread over all classes", SHARE
    )


@dataclass(frozen=True, kw_only=True)
class BentRecipe(ClassifierRecipe):
    """How a classifier of images that are bent anew in every epoch is trained."""

    jitter: float = fact(
        0.0, "strength of random bends of the training images, at first", NOT_NEGATIVE
    )


@dataclass(frozen=True, kw_only=True)
class DistortedRecipe(BentRecipe):
    """How a classifier of images under one of several distortions is trained."""

    distortion: str = fact("R", "of the images, by the paper's name")
    shift: float = fact(
        0.0,
        "pixels that a training image's centre of mass lies off the centre, along each axis "
        "(standard deviation), or 0 to leave it where it is",
        NOT_NEGATIVE,
    )
    widening: float = fact(
        0.0, "share of training in which distortions widen to their whole range", SHARE
    )
    model: str = fact("st-cnn", "of the classifier, behind a spatial transformer or not", MODELS)

    def augmentation(self, epoch: int, strength: float) -> dict[str, float]:
        """Return how a `Distortion` augments in an epoch, at a strength that falls from 1.

        What widens is drawn at first from a sixth of its range. A classifier that has met digits
        that are nearly upright reads turned ones ill, and so asks the transformer to turn them.
        """
        over = epoch / (self.epochs * self.widening) if self.widening else 1.0
        spread = min(NARROW + (1 - NARROW) * over, 1.0)
        return {"jitter": self.jitter * strength, "shift": self.shift, "spread": spread}


@dataclass(frozen=True)
class Size:
    """How large the networks for one canvas are.

    Args:
        budget: parameters of every network, at most.
        view: height and width in pixels of what a spatial transformer gives to the classifier.

    """

    budget: int
    view: int


def distorted(
    recipe: DistortedRecipe,
    load: Callable[[Any, Path | None], Splits],
    distortions: Mapping[str, Distortion],
    sizes: Mapping[str, Mapping[int, Size]],
    *,
    classes: int,
    repeats: int = 1,
    facts: Mapping[str, Mapping[str, float]] | None = None,
    paper: Mapping[str, Mapping[str, float | None]] | None = None,
    quick: Callable[[Any], Recipe] | None = None,
    threads: int | None = None,
    verify: Callable[[Path], None] | None = None,
    independent: Mapping[str, Mapping[str, Maker]] | None = None,
) -> Experiment:
    """Return an experiment.

    Args:
        recipe: see `Experiment`, as `quick`, `threads` and `verify`.
        load: reads a recipe's images from a folder, or without one from what ships.
        distortions: of the images, by the names that the recipe allows.
        sizes: of the networks, by their kind (`cnn`, `fcn`) and the canvas.
        classes: how many there are.
        repeats: fixed distortions scored per test image.
        facts: of the recipes of a column's cells that differ from `recipe`, by distortion.
        paper: the paper's test errors in percent, by row (model and transformation, as
            `st-cnn/affine` or `cnn`) and column (distortion), in the order to reproduce them; None
            where it gives no number.
        quick: see above.
        threads: see above.
        verify: see above.
        independent: what else distorts the test images, by distortion and name.

    """

    def data(recipe: DistortedRecipe, folder: Path | None) -> Data:
        distortion = distortions[recipe.distortion]

        def prepare(inputs: Tensor, draws: Draws, samples: InMemory, strength: float) -> Tensor:
            augmented = recipe.augmentation(draws.epoch, strength) if strength else {}
            return distortion(inputs.float() / 255, draws, samples.inputs, **augmented)

        return Data(*load(recipe, folder), prepare=prepare, place=distortion.place, repeats=repeats)

    def network(recipe: DistortedRecipe) -> Classifier:
        canvas = distortions[recipe.distortion].size
        size = sizes[plain(recipe.model)][canvas]
        return build(
            recipe.model,
            recipe.transformation,
            size=canvas,
            view=size.view,
            classes=classes,
            budget=size.budget,
        )

    def shape(recipe: DistortedRecipe) -> tuple[int, ...]:
        return (1, *2 * (distortions[recipe.distortion].size,))

    return Experiment(
        recipe,
        data=data,
        network=network,
        task=lambda recipe: Classification(classes, recipe.label_smoothing),
        shape=shape,
        cells=lambda recipe: list(_cells(recipe, paper or {}, facts or {})),
        quick=quick,
        threads=threads,
        verify=verify,
        independent=of_digits(load, lambda recipe: (independent or {}).get(recipe.distortion, {})),
    )


def _cells(
    recipe: DistortedRecipe,
    paper: Mapping[str, Mapping[str, float | None]],
    facts: Mapping[str, Mapping[str, float]],
) -> Iterable[Cell]:
    for row, errors in paper.items():
        for distortion, error in errors.items():
            own: dict[str, Any] = {"distortion": distortion, **facts.get(distortion, {})}
            yield cell_of(replace(recipe, **own), distortion, row, error)


def cell_of(recipe: Recipe, column: str, row: str, error: float | None) -> Cell:
    """Return a cell of the paper's table, whose row says model and transformation."""
    model, _, transformation = row.partition("/")
    named = {"transformation": transformation} if transformation else {}
    baseline = plain(model) if has_transformer(model) else None
    return Cell(column, row, replace(recipe, model=model, **named), error, baseline)
