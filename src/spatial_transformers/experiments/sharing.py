"""Finished runs by name, and as folders of the Hugging Face Hub.

A shared run is a run's folder without what is of its machine: recipe, weights and metrics, with a
card and, if there is one, a picture. So whatever takes a run takes it.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spatial_transformers import InputError

from .._files import whole_files
from ..sharing.card import CARD, Card
from ..sharing.hub import WEIGHTS, located, pushed, require_card, require_weights
from . import metrics
from .base import Experiment, Network
from .recipe import Recipe
from .registry import named
from .run import load
from .task import Classification

#: The results that are committed, where this is the repository's source.
RESULTS = Path(__file__).parents[3] / "docs" / "results"
_RECIPE, _METRICS, _PICTURE = "recipe.json", "metrics.json", "picture.png"
_FILES = (WEIGHTS, _METRICS, _RECIPE)  # the recipe appears last: with it, the folder is whole


def from_pretrained(name: str | os.PathLike[str], **options: Any) -> Network:
    """Return the trained network of a run, in evaluation mode, with its `recipe` and `metrics`.

    Args:
        name: of the run's folder; of a committed cell, as `distorted-mnist/R/st-cnn/affine`, by
            its place in docs/results, with the seed or for the first one without; or of a
            repository of the Hub.
        **options: for the Hub: `revision`, `token`, `cache_dir`, `force_download` and
            `local_files_only`.

    Raises:
        InputError: if there is no such run; for a repository without a card, or a run without
            safetensors; and for a recipe of a later version, and weights or metrics of another one.

    """
    folder = folder_of(name, **options)
    require_weights(folder, name)
    recipe, network = load(folder)
    network.recipe, network.metrics = recipe, metrics.read(folder / _METRICS, recipe)
    return network


def folder_of(name: str | os.PathLike[str], **options: Any) -> Path:
    """Return the folder of a run by its name, downloaded if need be; see `from_pretrained`."""
    cell = os.fspath(name)
    if not os.path.isdir(cell):
        for folder in (RESULTS / cell, RESULTS / cell / "0"):
            if (folder / _RECIPE).is_file():
                return _with_weights(folder, cell)
        if cell.count("/") > 1:  # more than a repository's owner and name
            raise InputError(
                f"{cell}: no folder here, and no cell of the repository's docs/results; cells with "
                f"weights there: {', '.join(_cells()) or 'none, as this is an installed package'}"
            )
    folder, downloaded = located(name, (CARD, *_FILES, _PICTURE), **options)
    if downloaded:
        require_card(folder, name)
    return folder


def save(out: Path, folder: Path, *, license: str | None = None) -> None:
    """Write a finished run as a folder for the Hub; a card that is there stays as it is.

    Args:
        out: the run's folder, whose `picture.png`, if there is one, is the card's.
        folder: is made if there is none.
        license: of the model, by its name on the Hub.

    Raises:
        InputError: if the run is not finished, or damaged.

    """
    _write(out, folder, str(folder), license)


def push(out: Path, repo_id: str, *, license: str | None = None, **options: Any) -> str:
    """Upload a finished run to a repository of the Hub, and return the commit's address.

    Args:
        out: the run's folder.
        repo_id: the repository.
        license: of the model.
        **options: of huggingface_hub's `ModelHubMixin.push_to_hub`.

    Raises:
        InputError: if the run is not finished, or damaged, and if the Hub does not take it.

    """
    _card(out, repo_id, license)  # before a repository is made
    return pushed(lambda folder, name: _write(out, folder, name, license), repo_id, **options)


def _with_weights(folder: Path, name: str) -> Path:
    if not (folder / WEIGHTS).is_file():
        raise InputError(
            f"{name}: was committed without its weights; train it by `stn reproduce`, or take one "
            f"of {', '.join(_cells())}"
        )
    return folder


def _cells() -> list[str]:
    """Return the names of committed cells that have their weights."""
    return sorted(str(path.parent.relative_to(RESULTS)) for path in RESULTS.rglob(WEIGHTS))


def _write(out: Path, folder: Path, name: str, license: str | None) -> None:
    card = _card(out, name, license)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_files(folder / _RECIPE) as temporary:
        for file in _FILES:
            shutil.copyfile(out / file, temporary / file)
        card.write(temporary, folder)


def _card(out: Path, name: str, license: str | None) -> Card:
    recipe, network = load(out)
    experiment, found = named(recipe.experiment), metrics.read(out / _METRICS, recipe)
    shape = experiment.shape(recipe)
    picture = out / _PICTURE
    return Card(
        title=f"{recipe.model} of {recipe.experiment}",
        says=(
            f"A network of the experiment {recipe.experiment}, trained by spatial-transformers. "
            "Its folder, as `hf download` fetches it, is a run for `stn eval`, `apply` and `page`."
        ),
        code=(
            "import torch\n"
            "from spatial_transformers.experiments.sharing import from_pretrained\n\n"
            f"network = from_pretrained({json.dumps(name)})\n"
            f"output, theta = network(torch.rand{(1, *shape)})"
        ),
        made=repr(network if network.transformer is None else network.transformer),
        license=license,
        numbers=dict(_numbers(experiment, recipe, found)),
        picture=picture if picture.is_file() else None,
        pipeline="image-classification" if _classifies(experiment, recipe) else None,
    )


def _numbers(
    experiment: Experiment, recipe: Recipe, found: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for metric in experiment.task(recipe).metrics:
        yield metric.with_unit(f"test {metric.name}"), f"{found[f'test_{metric.key}']:.2f}"
    for name, value in found["independent"].items():
        headline = experiment.headline
        yield headline.with_unit(f"{headline.name} of inputs of {name}"), f"{value:.2f}"
    yield "test images", f"{found['test_images']:,}"
    yield "parameters", f"{found['parameters']:,}"


def _classifies(experiment: Experiment, recipe: Recipe) -> bool:
    flat = len(experiment.shape(recipe)) == 3
    return flat and isinstance(experiment.task(recipe), Classification)
