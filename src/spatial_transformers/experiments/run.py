"""A run is a folder: its recipe, checkpoints, curves, and at the end weights and metrics.

recipe.json         what was asked; a run continues only under the same recipe
data.json           where the data lie on this machine
last.ckpt           Lightning's state after the last whole epoch, loaded without unpickling code
tensorboard/        curves
model.safetensors   the trained network
poses.safetensors   θ of a few images, as it developed in training
metrics.json        written last: a run that has it is finished
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from spatial_transformers import InputError

from .._files import read_json, whole, write_json
from .._machine import facts
from . import picture
from .base import Experiment, Network
from .checkpoint import WholeCheckpoints
from .data.served import ServedData
from .learner import Learner
from .networks import count_parameters
from .pose import alignment
from .recipe import Recipe
from .registry import named, read
from .trainer import checkpoints, surroundings, trainer

PACKAGES = "lightning", "safetensors"
_SHOWN = 8  # images whose alignment is followed during training


def train(
    recipe: Recipe, out: Path, *, data: Path | None = None, resume: bool = False, **options: Any
) -> dict[str, Any]:
    """Train and score one network in the folder `out`, and return its metrics.

    Where several processes train together, each calls this alike, and the first one writes.

    Args:
        recipe: what to train.
        out: the run's folder.
        data: the folder of the data set, unless it is embedded or the run knows it already.
        resume: continue a run that was interrupted; a finished one returns its metrics.
        **options: further ones of Lightning's Trainer, such as `accelerator` or `devices`.

    Raises:
        InputError: if the folder holds another run, or this one and `resume` was not asked.

    """
    experiment = _checked(recipe)
    if is_first_process():  # the others begin when the first one has written the recipe
        if started(out) and not resume:
            raise InputError(
                f"{out}: holds a run already; continue it with --resume, or name another"
            )
        refuse_another(recipe, out)
    if (out / "metrics.json").is_file():
        return read_json(out / "metrics.json")
    data = _at(out, data)
    served = _data(recipe, data)
    seed_everything(recipe.seed, verbose=False)
    shown = served.fixed_batch(_SHOWN)[0]
    learner = Learner(experiment.network(recipe), experiment.task(recipe), recipe, shown)
    checkpoint = out / "last.ckpt"
    runner = trainer(
        max_epochs=recipe.epochs,
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        callbacks=[checkpoints(out)],
        plugins=[WholeCheckpoints()],
        use_distributed_sampler=False,
        precision=recipe.precision,
        **options,
    )
    if runner.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "recipe.json", recipe.as_json())
        write_json(out / "data.json", {"folder": data and str(data.absolute())})
    continued = str(checkpoint) if checkpoint.is_file() else None
    with surroundings(experiment.threads):
        made = facts(runner.strategy.root_device, *PACKAGES)  # now: the commit may change later
        runner.fit(learner, served, ckpt_path=continued)
    if runner.interrupted:
        raise KeyboardInterrupt
    metrics = {
        **_score(runner, learner, served),
        "validation": learner.validation,
        "made": {
            **made,
            "processes": runner.world_size,
            "seconds": round(learner.seconds, 3),
            "preparing": round(served.seconds, 3),
        },
    }
    if runner.is_global_zero:
        with whole(out / "model.safetensors") as temporary:
            weights = learner.network.state_dict().items()
            temporary.write_bytes(save({name: value.contiguous() for name, value in weights}))
        if learner.poses:
            poses = torch.tensor([*learner.poses]), torch.stack([*learner.poses.values()])
            with whole(out / "poses.safetensors") as temporary:
                temporary.write_bytes(save({"step": poses[0], "theta": poses[1]}))
        write_json(out / "metrics.json", metrics)
    runner.strategy.barrier()
    return metrics


def started(out: Path) -> Recipe | None:
    """Return the recipe that a run was started with, if there is such a run."""
    claimed = out / "recipe.json"
    return read(claimed) if claimed.is_file() else None


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


def evaluate(out: Path, *, data: Path | None = None, **options: Any) -> dict[str, Any]:
    """Score the saved weights of a run on the test set, and return the score."""
    recipe, network = load(out)
    runner = trainer(logger=False, precision=recipe.precision, **options)
    learner = Learner(network, named(recipe.experiment).task(recipe), recipe)
    return _score(runner, learner, _data(recipe, _at(out, data)))


def load(out: Path) -> tuple[Recipe, Network]:
    """Return the recipe and the trained network of a run.

    Raises:
        InputError: if the run is not finished, damaged, or its weights are of another network.

    """
    recipe = read(out / "recipe.json")
    weights = out / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"{weights}: no such file; finish the run with `stn train --resume`")
    network = _checked(recipe).network(recipe)
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
    inputs, target = _data(recipe, _at(out, data)).fixed_batch(count)
    picture.draw(network, named(recipe.experiment).task(recipe), inputs, target, path)


def film(out: Path, path: Path, *, data: Path | None = None) -> None:
    """Draw how the alignment of a few images developed while a finished run was trained."""
    recipe, network = load(out)
    poses = load_file(out / "poses.safetensors")
    inputs, _ = _data(recipe, _at(out, data)).fixed_batch(_SHOWN)
    picture.film(network, inputs, poses["step"], poses["theta"], path)


def in_words(metrics: Mapping[str, Any]) -> str:
    """Return the headline metric, and the counts of images and parameters, on one line."""
    metric = named(metrics["recipe"]["experiment"]).headline
    value, count = metrics[f"test_{metric.key}"], metrics["test_images"]
    return (
        f"test {metric.name} {metric.in_words(value)} of {count:,} images, "
        f"{metrics['parameters']:,} parameters"
    )


def _at(out: Path, data: Path | None) -> Path | None:
    """Return where a run's data lie: as given, or where they lay when it was trained."""
    known = out / "data.json"
    if data is not None or not known.is_file():
        return data
    folder = read_json(known).get("folder")
    return folder and Path(folder)


def _checked(recipe: Recipe) -> Experiment:
    """Return the experiment of a recipe that can be run."""
    experiment = named(recipe.experiment)
    recipe.check()
    return experiment


def _data(recipe: Recipe, folder: Path | None) -> ServedData:
    experiment = named(recipe.experiment)
    data, task = experiment.data(recipe, folder), experiment.task(recipe)
    for samples in (data.train, data.validation, data.test):
        task.check(samples.targets, folder, recipe.experiment)
    if not recipe.hold_out:
        data = replace(data, train=data.train + data.validation)
    return ServedData(data, batch_size=recipe.batch_size, seed=recipe.seed)


def _score(runner: Trainer, learner: Learner, served: ServedData) -> dict[str, Any]:
    with surroundings(named(learner.recipe.experiment).threads):
        runner.test(learner, served, verbose=False)
    transformer, aligned = learner.network.transformer, {}
    placed, targets = served.test_places()
    if transformer is not None and placed is not None:
        found = deepcopy(transformer.transformation).cpu(), learner.theta
        aligned = alignment(placed, found, learner.task.groups(targets))
    return {
        "recipe": learner.recipe.as_json(),
        **{f"test_{key}": value for key, value in learner.test.items()},
        "test_images": len(targets),
        "parameters": count_parameters(learner.network),
        "theta": learner.theta_summary(),
        "alignment": aligned,
    }
