"""A run is a folder: its recipe, checkpoints, curves, and at the end weights and metrics.

recipe.json         what was asked; a run continues only under the same recipe
last.ckpt           Lightning's state after the last whole epoch, loaded without unpickling code
tensorboard/        curves
model.safetensors   the trained network
metrics.json        written last: a run that has it is finished
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from spatial_transformers import InputError

from .base import Experiment
from .checkpoint import WholeCheckpoints
from .classifier import Classifier
from .data.module import DistortedImages
from .files import read_json, whole, write_json
from .networks import Network, build, count_parameters
from .picture import draw
from .recipe import Recipe
from .registry import find


def train(recipe: Recipe, out: Path, *, resume: bool = False, **trainer: Any) -> dict[str, Any]:
    """Train and score one network in the folder `out`, and return its metrics.

    Args:
        recipe: what to train.
        out: the run's folder.
        resume: continue a run that was interrupted; a finished one returns its metrics.
        **trainer: further options of Lightning's Trainer, such as `accelerator` or `precision`.

    Raises:
        InputError: if the folder holds another run, or this one and `resume` was not asked.

    """
    experiment = find(recipe)
    _refuse_another(recipe, out, resume)
    if (out / "metrics.json").is_file():
        return read_json(out / "metrics.json")
    data = _data(experiment, recipe)
    seed_everything(recipe.seed, verbose=False)
    classifier = Classifier(_network(experiment, recipe), recipe)
    checkpoint = out / "last.ckpt"
    runner = _trainer(
        max_epochs=recipe.epochs,
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        callbacks=[_checkpoints(out)],
        plugins=[WholeCheckpoints()],
        **trainer,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "recipe.json", recipe.as_json())
    continued = str(checkpoint) if checkpoint.is_file() else None
    with _surroundings(experiment):
        runner.fit(classifier, data, ckpt_path=continued)
    if runner.interrupted:
        raise KeyboardInterrupt
    with whole(out / "model.safetensors") as temporary:
        temporary.write_bytes(save(classifier.network.state_dict()))
    metrics = _score(runner, classifier, data)
    write_json(out / "metrics.json", metrics)
    return metrics


def started(out: Path) -> Recipe | None:
    """Return the recipe that a run was started with, if there is such a run."""
    claimed = out / "recipe.json"
    return Recipe.from_json(read_json(claimed), claimed) if claimed.is_file() else None


def evaluate(out: Path, *, data: str | None = None, **trainer: Any) -> dict[str, Any]:
    """Score the saved weights of a run on the test set, and return the metrics."""
    recipe, network = load(out, data=data)
    runner = _trainer(logger=False, **trainer)
    return _score(runner, Classifier(network, recipe), _data(find(recipe), recipe))


def load(out: Path, *, data: str | None = None) -> tuple[Recipe, Network]:
    """Return the recipe and the trained network of a run, whose data may have moved to `data`.

    Raises:
        InputError: if the run is not finished, damaged, or its weights are of another network.

    """
    recipe = Recipe.from_json(read_json(out / "recipe.json"), out / "recipe.json")
    weights = out / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"{weights}: no such file; finish the run with `stn train --resume`")
    network = _network(find(recipe), recipe)
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"{weights}: not the weights of the {recipe.model} that {out / 'recipe.json'} "
            f"describes ({first}); train again"
        ) from error
    return recipe if data is None else replace(recipe, data=data), network.eval()


def show(out: Path, path: Path, *, count: int = 8, data: str | None = None) -> None:
    """Draw what the spatial transformer of a finished run does to its first test images."""
    if not 1 <= count <= 32:
        raise InputError(f"{count} images were asked for; give 1 to 32")
    recipe, network = load(out, data=data)
    images, labels = _data(find(recipe), recipe).fixed_test_batch(count)
    draw(network, images, labels, path)


def in_words(metrics: Mapping[str, Any]) -> str:
    """Return the metrics that come first to mind, on one line."""
    error, count = metrics["test_error"], metrics["test_images"]
    return f"test error {error:.2f} % of {count:,} images, {metrics['parameters']:,} parameters"


def _refuse_another(recipe: Recipe, out: Path, resume: bool) -> None:
    before = started(out)
    if before is None:
        return
    if not resume:
        raise InputError(f"{out}: holds a run already; continue it with --resume, or name another")
    if different := before.differences(recipe):
        raise InputError(f"{out}: holds a run of another recipe ({different}); name another folder")


def _data(experiment: Experiment, recipe: Recipe) -> DistortedImages:
    splits = experiment.load(Path(recipe.data) if recipe.data else None)
    labels = torch.cat([part.labels for part in (splits.train, splits.validation, splits.test)])
    if labels.numel() and int(labels.max()) >= experiment.classes:
        raise InputError(
            f"{recipe.data}: a label of {int(labels.max())} was found; {recipe.experiment} has the "
            f"classes 0 to {experiment.classes - 1}"
        )
    return DistortedImages(
        splits,
        experiment.distortions[recipe.distortion],
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        repeats=experiment.repeats,
    )


def _network(experiment: Experiment, recipe: Recipe) -> Network:
    return build(
        recipe.model,
        recipe.transformation,
        size=experiment.size,
        classes=experiment.classes,
        budget=experiment.budget,
    )


def _score(runner: Trainer, classifier: Classifier, data: DistortedImages) -> dict[str, Any]:
    with _surroundings(find(classifier.recipe)):
        runner.test(classifier, data, verbose=False)
    return {
        "test_error": runner.callback_metrics["test_error"].item(),
        "test_images": len(data.splits.test) * data.repeats,
        "parameters": count_parameters(classifier.network),
        "theta": classifier.theta_summary,
    }


def _checkpoints(out: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        out, "last", save_top_k=1, every_n_epochs=1, enable_version_counter=False
    )


class _Progress(TQDMProgressBar):
    """Lightning's bar without its version number, which a run's folder does not have."""

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}


def _trainer(**options: Any) -> Trainer:
    """Return a Trainer that leaves only the progress bar on the screen."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet = {"enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 10}
    callbacks = options.pop("callbacks", [])
    if options.get("enable_progress_bar", True):
        callbacks = [*callbacks, _Progress(refresh_rate=20)]
    try:
        return Trainer(callbacks=callbacks, **(quiet | options))
    except MisconfigurationException as error:
        raise InputError(f"Lightning cannot run with these options: {error}") from error


@contextmanager
def _surroundings(experiment: Experiment) -> Iterator[None]:
    """Limit threads; silence Lightning on what is meant here, and on its own use of torch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, experiment.threads or threads))
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers",  # the data are in memory
            ".*smaller than the logging interval",  # in tiny data sets
            ".*exists and is not empty",  # the run's folder, when it continues
            ".*isinstance\\(treespec, LeafSpec\\)",  # Lightning 2.6 on torch 2.13
        ):
            warnings.filterwarnings("ignore", message)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
