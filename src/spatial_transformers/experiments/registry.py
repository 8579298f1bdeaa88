"""The experiments by name, and the check of a recipe's names against them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from spatial_transformers import InputError, make_transformation

from . import distorted_mnist, rotated_digits
from .base import Experiment
from .networks import MODELS
from .recipe import Recipe

EXPERIMENTS: dict[str, Experiment] = {
    "rotated-digits": rotated_digits.EXPERIMENT,
    "distorted-mnist": distorted_mnist.EXPERIMENT,
}
PRECISIONS = ("32-true", "64-true", "16-mixed", "bf16-mixed")


def named(experiment: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        InputError: for an unknown name, listing what is known.

    """
    _one_of("experiment", experiment, EXPERIMENTS)
    return EXPERIMENTS[experiment]


def defaults(experiment: str, **changes: Any) -> Recipe:
    """Return the experiment's recipe with some facts changed."""
    return replace(named(experiment).defaults, **changes)


def find(recipe: Recipe) -> Experiment:
    """Return the recipe's experiment.

    Raises:
        InputError: for an unknown name or a number out of range, listing what is known.

    """
    experiment = named(recipe.experiment)
    _one_of("distortion", recipe.distortion, experiment.distortions)
    _one_of("model", recipe.model, MODELS)
    _one_of("precision", recipe.precision, PRECISIONS)
    make_transformation(recipe.transformation)
    for name in ("epochs", "batch_size", "lr", "localisation_lr", "localisation_clip"):
        if not 0 < getattr(recipe, name) < float("inf"):
            raise InputError(f"{name} {getattr(recipe, name)} was asked for; give more than 0")
    for name in ("weight_decay", "jitter"):
        if not 0 <= getattr(recipe, name) < float("inf"):
            raise InputError(f"{name} {getattr(recipe, name)} was asked for; give 0 or more")
    if not 0 <= recipe.label_smoothing < 1:
        raise InputError(
            f"label_smoothing {recipe.label_smoothing} was asked for; give 0 to below 1"
        )
    if not 0 <= recipe.seed < 1 << 32:
        raise InputError(f"seed {recipe.seed} was asked for; give 0 to 2^32 - 1")
    return experiment


def _one_of(what: str, name: str, known: Iterable[str]) -> None:
    if name not in (names := list(known)):
        raise InputError(f"{what} {name!r} was asked for; known: {', '.join(names)}")
