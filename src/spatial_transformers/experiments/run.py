"""A run is a folder: its recipe, checkpoints, curves, and at the end weights and metrics.

recipe.json         what was asked; a run continues only under the same recipe
data.json           where the data lie on this machine
last.ckpt           Lightning's state after the last whole epoch, loaded without unpickling code
tensorboard/        curves
model.safetensors   the trained network
poses.safetensors   θ of a few images, as it developed in training
metrics.json        written last: a run that has it is finished
"""

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from ctypes import CDLL
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from spatial_transformers import InputError

from .._files import read_json, whole, write_json
from .._machine import facts
from . import picture
from .base import Experiment
from .checkpoint import WholeCheckpoints
from .classifier import Classifier
from .data.module import DistortedImages
from .networks import Network, build, count_parameters, plain
from .pose import alignment
from .recipe import Recipe
from .registry import find

PACKAGES = "lightning", "safetensors"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_LARGEST_KEPT = 1 << 30  # bytes
_SHOWN = 8  # images whose alignment is followed during training


def train(
    recipe: Recipe, out: Path, *, data: Path | None = None, resume: bool = False, **trainer: Any
) -> dict[str, Any]:
    """Train and score one network in the folder `out`, and return its metrics.

    Of several processes each calls this alike, and the first one writes.

    Args:
        recipe: what to train.
        out: the run's folder.
        data: the folder of the data set, unless it is embedded or the run knows it already.
        resume: continue a run that was interrupted; a finished one returns its metrics.
        **trainer: further options of Lightning's Trainer, such as `accelerator` or `devices`.

    Raises:
        InputError: if the folder holds another run, or this one and `resume` was not asked.

    """
    experiment = find(recipe)
    if is_first_process():  # others start when the first one has
        if started(out) and not resume:
            raise InputError(
                f"{out}: holds a run already; continue it with --resume, or name another"
            )
        refuse_another(recipe, out)
    if (out / "metrics.json").is_file():
        return read_json(out / "metrics.json")
    data = _at(out, data)
    images = _data(experiment, recipe, data)
    seed_everything(recipe.seed, verbose=False)
    shown = images.fixed_batch(_SHOWN)[0]
    classifier = Classifier(_network(experiment, recipe), recipe, shown)
    checkpoint = out / "last.ckpt"
    runner = _trainer(
        max_epochs=recipe.epochs,
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        callbacks=[_checkpoints(out)],
        plugins=[WholeCheckpoints()],
        use_distributed_sampler=False,
        precision=recipe.precision,
        **trainer,
    )
    if runner.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "recipe.json", recipe.as_json())
        write_json(out / "data.json", {"folder": data and str(data.absolute())})
    continued = str(checkpoint) if checkpoint.is_file() else None
    with _surroundings(experiment):
        made = facts(runner.strategy.root_device, *PACKAGES)  # before a commit comes in between
        runner.fit(classifier, images, ckpt_path=continued)
    if runner.interrupted:
        raise KeyboardInterrupt
    metrics = {
        "recipe": recipe.as_json(),
        **_score(runner, classifier, images),
        "validation_errors": classifier.errors,
        "made": {
            **made,
            "processes": runner.world_size,
            "seconds": round(classifier.seconds, 3),
            "distorting": round(images.seconds, 3),
        },
    }
    if runner.is_global_zero:
        with whole(out / "model.safetensors") as temporary:
            weights = classifier.network.state_dict().items()
            temporary.write_bytes(save({name: value.contiguous() for name, value in weights}))
        if classifier.poses:
            poses = torch.tensor([*classifier.poses]), torch.stack([*classifier.poses.values()])
            with whole(out / "poses.safetensors") as temporary:
                temporary.write_bytes(save({"step": poses[0], "theta": poses[1]}))
        write_json(out / "metrics.json", metrics)
    runner.strategy.barrier()
    return metrics


def started(out: Path) -> Recipe | None:
    """Return the recipe that a run was started with, if there is such a run."""
    claimed = out / "recipe.json"
    return Recipe.from_json(read_json(claimed), claimed) if claimed.is_file() else None


def is_first_process() -> bool:
    """Return whether this process is the one that writes, of those that train one network."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]


def refuse_another(recipe: Recipe, out: Path) -> None:
    """Refuse a folder that holds a run of another recipe.

    Raises:
        InputError: naming the difference.

    """
    before = started(out)
    if before and (different := before.differences(recipe)):
        raise InputError(f"{out}: holds a run of another recipe ({different}); name another folder")


def evaluate(out: Path, *, data: Path | None = None, **trainer: Any) -> dict[str, Any]:
    """Score the saved weights of a run on the test set, and return the score."""
    recipe, network = load(out)
    runner = _trainer(logger=False, precision=recipe.precision, **trainer)
    return _score(runner, Classifier(network, recipe), _data(find(recipe), recipe, _at(out, data)))


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


def show(out: Path, path: Path, *, count: int = 8, data: Path | None = None) -> None:
    """Draw what the spatial transformer of a finished run does to its first test images."""
    if not 1 <= count <= 32:
        raise InputError(f"{count} images were asked for; give 1 to 32")
    recipe, network = load(out)
    images = _data(find(recipe), recipe, _at(out, data))
    picture.draw(network, *images.fixed_batch(count), path)


def film(out: Path, path: Path, *, data: Path | None = None) -> None:
    """Draw how the alignment of a few images developed while a finished run was trained."""
    recipe, network = load(out)
    poses = load_file(out / "poses.safetensors")
    images, _ = _data(find(recipe), recipe, _at(out, data)).fixed_batch(_SHOWN)
    picture.film(network, images, poses["step"], poses["theta"], path)


def in_words(metrics: Mapping[str, Any]) -> str:
    """Return the metrics that come first to mind, on one line."""
    error, count = metrics["test_error"], metrics["test_images"]
    return f"test error {error:.2f} % of {count:,} images, {metrics['parameters']:,} parameters"


def _at(out: Path, data: Path | None) -> Path | None:
    """Return where a run's data lie: as given, or where they lay when it was trained."""
    known = out / "data.json"
    if data is not None or not known.is_file():
        return data
    folder = read_json(known).get("folder")
    return folder and Path(folder)


def _data(experiment: Experiment, recipe: Recipe, data: Path | None) -> DistortedImages:
    splits = experiment.load(data)
    labels = torch.cat([part.labels for part in (splits.train, splits.validation, splits.test)])
    if labels.numel() and int(labels.max()) >= experiment.classes:
        raise InputError(
            f"{data}: a label of {int(labels.max())} was found; {recipe.experiment} has the "
            f"classes 0 to {experiment.classes - 1}"
        )
    if not recipe.hold_out:
        splits = replace(splits, train=splits.train + splits.validation)
    return DistortedImages(
        splits,
        experiment.distortions[recipe.distortion],
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        repeats=experiment.repeats,
        jitter=recipe.jitter,
    )


def _network(experiment: Experiment, recipe: Recipe) -> Network:
    kind, size = plain(recipe.model), experiment.distortions[recipe.distortion].size
    return build(
        recipe.model,
        recipe.transformation,
        size=size,
        view=experiment.view[kind][size],
        classes=experiment.classes,
        budget=experiment.budget[kind][size],
    )


def _score(runner: Trainer, classifier: Classifier, data: DistortedImages) -> dict[str, Any]:
    with _surroundings(find(classifier.recipe)):
        runner.test(classifier, data, verbose=False)
    transformer, aligned = classifier.network.transformer, {}
    if transformer is not None:
        found = deepcopy(transformer.transformation).cpu(), classifier.theta
        given, labels = data.test_places()
        aligned = alignment(given, found, labels)
    return {
        "test_error": classifier.test_error,
        "test_images": len(data.splits.test) * data.repeats,
        "parameters": count_parameters(classifier.network),
        "theta": classifier.theta_summary(),
        "alignment": aligned,
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


def _keep_freed_memory() -> None:
    """Let glibc keep what a step of training frees: to give it back and take it again costs half.

    Other C libraries are left as they are.
    """
    mallopt = getattr(CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(option, _LARGEST_KEPT)


@contextmanager
def _surroundings(experiment: Experiment) -> Iterator[None]:
    """Limit threads; silence Lightning on what is meant here, and on its own use of torch."""
    _keep_freed_memory()
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
