"""The experiments by name."""

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from spatial_transformers import InputError

from .._errors import brief, nearest, shown
from .._reading import read_json
from .adrenal_3d import EXPERIMENT as ADRENAL_3D
from .base import Experiment
from .colocalisation import EXPERIMENT as COLOCALISATION
from .colocalisation.views import EXPERIMENT as DIGIT_VIEWS
from .cub import EXPERIMENT as CUB
from .distorted_mnist import EXPERIMENT as DISTORTED_MNIST
from .folder import EXPERIMENT as FOLDER
from .gtsrb import EXPERIMENT as GTSRB
from .inverse_compositional import EXPERIMENT as INVERSE_COMPOSITIONAL
from .mnist_3d import EXPERIMENT as MNIST_3D
from .mnist_addition import EXPERIMENT as MNIST_ADDITION
from .recipe import Recipe, in_words, kind
from .rotated_digits import EXPERIMENT as ROTATED_DIGITS
from .small_digits import EXPERIMENT as SMALL_DIGITS
from .svhn import EXPERIMENT as SVHN
from .svhn import HOUSE_NUMBERS
from .two_parts import EXPERIMENT as TWO_PARTS

EXPERIMENTS: dict[str, Experiment] = {
    experiment.recipe.experiment: experiment
    for experiment in (
        *(ROTATED_DIGITS, SMALL_DIGITS, DISTORTED_MNIST, MNIST_ADDITION, GTSRB, SVHN),
        *(HOUSE_NUMBERS, CUB, COLOCALISATION, DIGIT_VIEWS, TWO_PARTS, INVERSE_COMPOSITIONAL),
        *(MNIST_3D, ADRENAL_3D, FOLDER),
    )
}


class Option(NamedTuple):
    """A fact as an option of a command."""

    kind: type
    text: str


def options() -> dict[str, Option]:
    """Return the facts of all recipes in words: what each decides, its values and its default."""
    owners: dict[str, dict[str, Recipe]] = {}
    for name, experiment in EXPERIMENTS.items():
        for known in fields(experiment.recipe)[1:]:  # the first one is the experiment itself
            owners.setdefault(known.name, {})[name] = experiment.recipe
    return {name: _option(name, recipes) for name, recipes in owners.items()}


def _option(name: str, recipes: Mapping[str, Recipe]) -> Option:
    known = {e: next(f for f in fields(r) if f.name == name) for e, r in recipes.items()}
    first = next(iter(known.values()))
    text = f"{first.metadata['text']}"
    if allowed := _each({e: in_words(f.metadata["allowed"]) for e, f in known.items()}):
        text += f": {allowed}"
    default = _each({e: str(getattr(r, name)) for e, r in recipes.items()})
    return Option(kind(first), f"{text} ({default})")


def _each(words: Mapping[str, str]) -> str:
    """Return the words that all experiments share, or those of each experiment that has some."""
    if set(words) == set(EXPERIMENTS) and len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{experiment}: {said}" for experiment, said in words.items() if said)


def named(experiment: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        InputError: for an unknown name, listing what is known.

    """
    if experiment not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        meant = nearest(experiment, EXPERIMENTS)
        raise InputError(f"experiment {experiment!r} was asked for{meant}; known: {known}")
    return EXPERIMENTS[experiment]


def changed(recipe: Recipe, **facts: Any) -> Recipe:
    """Return the recipe with some facts changed.

    Raises:
        InputError: for a fact that recipes of this experiment do not have.

    """
    known = [f.name for f in fields(recipe)]
    if unknown := [name for name in facts if name not in known]:
        raise InputError(
            f"{', '.join(unknown)} was asked for; recipes of {recipe.experiment} have: "
            f"{', '.join(known[1:])}"
        )
    return replace(recipe, **facts)


def chosen(recipe: Recipe, folder: Path | None, given: Collection[str]) -> tuple[Recipe, list[str]]:
    """Return the recipe as its experiment fits it to the data of a folder, and why, in words.

    Args:
        recipe: of a run that starts.
        folder: of the data.
        given: facts that the user gave, which stay as they are.

    """
    choose, reasons = named(recipe.experiment).choose, []
    for facts, reason in choose(recipe, folder) if choose else ():
        open_ = {name: value for name, value in facts.items() if name not in given}
        recipe = replace(recipe, **open_)
        if open_:
            said = ", ".join(f"{name} {brief(value)}" for name, value in open_.items())
            reasons.append(f"{said}: {reason}")
    return recipe, reasons


def defaults(experiment: str, **facts: Any) -> Recipe:
    """Return the experiment's recipe with some facts changed."""
    return changed(named(experiment).recipe, **facts)


def read(path: Path) -> Recipe:
    """Read a recipe from a file.

    Raises:
        InputError: if there is none, or none that this version can read.

    """
    cure = "give the folder of a run made by `stn train`"
    facts = read_json(path, {"experiment": str}, what="recipe", cure=cure)
    if (name := facts["experiment"]) not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        raise InputError(f"{path}: no recipe of {known} (it names {shown(name)}); {cure}")
    recipe = type(EXPERIMENTS[name].recipe).from_json(facts, path)
    try:
        recipe.check()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return recipe
