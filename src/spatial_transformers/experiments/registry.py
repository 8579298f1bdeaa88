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


def defaults(experiment: str, **changes: Any) -> Recipe:
    """Return the experiment's recipe with some facts changed."""
    _one_of("experiment", experiment, EXPERIMENTS)
    return replace(EXPERIMENTS[experiment].defaults, **changes)


def find(recipe: Recipe) -> Experiment:
    """Return the recipe's experiment.

    Raises:
        InputError: for an unknown name or a number out of range, listing what is known.

    """
    _one_of("experiment", recipe.experiment, EXPERIMENTS)
    experiment = EXPERIMENTS[recipe.experiment]
    _one_of("distortion", recipe.distortion, experiment.distortions)
    _one_of("model", recipe.model, MODELS)
    make_transformation(recipe.transformation)
    for name in ("epochs", "batch_size", "lr", "localisation_lr", "localisation_clip"):
        if not 0 < getattr(recipe, name) < float("inf"):
            raise InputError(f"{name} {getattr(recipe, name)} was asked for; give more than 0")
    if not 0 <= recipe.weight_decay < float("inf") or not 0 <= recipe.seed < 1 << 32:
        raise InputError(
            f"weight_decay {recipe.weight_decay} and seed {recipe.seed} were asked for; give 0 or "
            "more, and a seed below 2^32"
        )
    return experiment


def _one_of(what: str, name: str, known: Iterable[str]) -> None:
    if name not in (names := list(known)):
        raise InputError(f"{what} {name!r} was asked for; known: {', '.join(names)}")
