"""A run is a folder: its recipe, checkpoints, curves, and at the end weights and metrics.

recipe.json         what was asked; a run continues only under the same recipe
last.ckpt           Lightning's state after the last whole epoch, loaded without unpickling code
tensorboard/        curves
model.safetensors   the trained network
metrics.json        written last: a run that has it is finished
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spatial_transformers import InputError

from .base import Experiment
from .classifier import Classifier
from .data.module import DistortedImages
from .files import read_json, whole, write_json
from .networks import Network, build, count_parameters
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
    _claim(recipe, out, resume)
    if (out / "metrics.json").is_file():
        return read_json(out / "metrics.json")
    seed_everything(recipe.seed, verbose=False)
    data = _data(experiment, recipe)
    classifier = Classifier(_network(experiment, recipe), recipe)
    checkpoint = out / "last.ckpt"
    runner = Trainer(
        max_epochs=recipe.epochs,
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        callbacks=[_checkpoints(out)],
        **(_quiet() | trainer),
    )
    continued = str(checkpoint) if checkpoint.is_file() else None
    with _without_warnings():
        runner.fit(classifier, data, ckpt_path=continued, weights_only=True)
    if runner.interrupted:
        raise KeyboardInterrupt
    with whole(out / "model.safetensors") as temporary:
        save_file(classifier.network.state_dict(), temporary)
    metrics = _score(runner, classifier, data)
    write_json(out / "metrics.json", metrics)
    return metrics


def evaluate(out: Path, *, data: str | None = None, **trainer: Any) -> dict[str, Any]:
    """Score the saved weights of a run on the test set, and return the metrics."""
    recipe, network = load(out)
    if data is not None:
        recipe = replace(recipe, data=data)
    runner = Trainer(logger=False, **(_quiet() | trainer))
    return _score(runner, Classifier(network, recipe), _data(find(recipe), recipe))


def load(out: Path) -> tuple[Recipe, Network]:
    """Return the recipe and the trained network of a run.

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
    return recipe, network.eval()


def test_batch(recipe: Recipe, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first distorted test images of a recipe's experiment, with their labels."""
    return _data(find(recipe), recipe).fixed_test_batch(count)


def _claim(recipe: Recipe, out: Path, resume: bool) -> None:
    """Write the recipe into an unclaimed folder, or check that the folder is this run's."""
    claimed = out / "recipe.json"
    if not claimed.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_json(claimed, recipe.as_json())
        return
    if not resume:
        raise InputError(f"{out}: holds a run already; continue it with --resume, or name another")
    if different := Recipe.from_json(read_json(claimed), claimed).differences(recipe):
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
    with _without_warnings():
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


def _quiet() -> dict[str, Any]:
    """Return Trainer options that leave only the progress bar on the screen."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return {"enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 10}


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence Lightning on what is meant: data in memory, and a run's folder used again."""
    with warnings.catch_warnings():
        for message in (".*does not have many workers.*", ".*exists and is not empty.*"):
            warnings.filterwarnings("ignore", message)
        yield
