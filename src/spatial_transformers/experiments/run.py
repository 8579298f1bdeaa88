"""A run is a folder: its recipe, checkpoints, curves, and at the end weights and metrics.

recipe.json         what was asked; a run continues only under the same recipe
data.json           where the data lie on this machine, what they held, and what of it is not read
last.ckpt           Lightning's state after the last whole epoch, loaded without unpickling code
tensorboard/        curves
model.safetensors   the trained network
poses.safetensors   θ of a few images, as it developed in training
metrics.json        written last: a run that has it is finished
"""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from spatial_transformers import InputError, Recurrent, SpatialTransformer

from .. import _tensors as tensors
from .._errors import brief
from .._files import write_json
from .._machine import facts
from . import metrics, origin, picture, supply
from .base import Experiment, Network
from .checkpoint import CURE, WholeCheckpoints
from .data.samples import Data
from .data.served import ServedData
from .learner import Learner
from .networks import count_parameters
from .pose import alignment, correlations, overlaps
from .recipe import Recipe
from .registry import named, read
from .trainer import checkpoints, surroundings, trainer

PACKAGES = "lightning", "safetensors"
SHOWN = 8  # images whose alignment is followed during training


def train(
    recipe: Recipe,
    out: Path,
    *,
    data: Path | None = None,
    resume: bool = False,
    beside: Path | None = None,
    reading: Callable[[Recipe, Path | None], Data] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train and score one network in the folder `out`, and return its metrics.

    Where several processes train together, each calls this alike, and the first one writes.

    Args:
        recipe: what to train.
        out: the run's folder.
        data: the folder of the data set, unless it is embedded or the run knows it already.
        resume: continue a run that was interrupted; a finished one returns its metrics.
        beside: the folder of a run that must have learnt from the same data.
        reading: reads the data in place of `supply.read`; see `supply.read_once`.
        **options: further ones of Lightning's Trainer, such as `accelerator` or `devices`.

    Raises:
        InputError: if the folder holds another run, or this one and `resume` was not asked, or
            the data have changed since.

    """
    experiment = _checked(recipe)
    if not resume:
        refuse_started(out)
    if is_first_process():
        refuse_another(recipe, out)
    if (out / "metrics.json").exists():
        return metrics.read(out / "metrics.json", recipe)
    known = origin.read(out) or (beside and origin.read(beside)) or None
    served, source = supply.for_training(recipe, known, data, reading or supply.read)
    seed_everything(recipe.seed, verbose=False)
    shown = served.fixed_batch(SHOWN)[0]
    learner = Learner(experiment.network(recipe), experiment.task(recipe), recipe, shown)
    runner = trainer(
        max_epochs=recipe.epochs,
        logger=TensorBoardLogger(out, name="", version="tensorboard"),
        callbacks=[checkpoints(out)],
        plugins=[WholeCheckpoints(learner)],
        use_distributed_sampler=False,
        precision=recipe.precision,
        **options,
    )
    served.require_full_batches(runner.world_size)
    if runner.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "recipe.json", recipe.as_json())
        origin.write(out, source)
    with surroundings(experiment.threads):
        made = facts(runner.strategy.root_device, *PACKAGES)  # now: the commit may change later
        _fit(runner, learner, served, out / "last.ckpt")
    if runner.is_global_zero:
        tensors.write(out / "model.safetensors", learner.network.state_dict())
    found = {
        **_score(runner, learner, served, source.folder),
        "validation": learner.validation,
        "made": {
            **made,
            "processes": runner.world_size,
            "seconds": round(learner.seconds, 3),
            "preparing": round(served.seconds, 3),
        },
    }
    if runner.is_global_zero:
        if learner.poses:
            steps, theta = torch.tensor([*learner.poses]), torch.stack([*learner.poses.values()])
            tensors.write(out / "poses.safetensors", {"step": steps, "theta": theta})
        write_json(out / "metrics.json", found)
    runner.strategy.barrier()
    return found


def _fit(runner: Trainer, learner: Learner, served: ServedData, checkpoint: Path) -> None:
    """Train, from the checkpoint on if there is one."""
    continued = str(checkpoint) if checkpoint.exists() else None
    try:
        runner.fit(learner, served, ckpt_path=continued)
    except OSError as error:  # the writer of curves names no file
        error.filename = error.filename or str(checkpoint.parent)
        raise
    except InputError:
        raise
    except Exception as error:
        if continued is None or learner.began:
            raise
        raise InputError(
            f"{checkpoint}: no checkpoint of this run ({brief(str(error))}); {CURE}"
        ) from error


def started(out: Path) -> Recipe | None:
    """Return the recipe that a run was started with, if there is such a run."""
    claimed = out / "recipe.json"
    return read(claimed) if claimed.exists() else None


def is_first_process() -> bool:
    """Return whether this process is the one that writes, of those that train one network."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]


def refuse_started(out: Path) -> None:
    """Refuse a folder that holds a run.

    Raises:
        InputError: saying how to go on.

    """
    if is_first_process() and started(out):  # others begin when the first has written the recipe
        raise InputError(f"{out}: holds a run already; continue it with --resume, or name another")


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
    served = supply.data_of(recipe, out, data)
    return _score(runner, learner, served, supply.located(origin.read(out), data))


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
    found = tensors.read(weights)
    if different := tensors.difference(found, network.state_dict()):
        raise InputError(
            f"{weights}: not the weights of the {recipe.model} that {out / 'recipe.json'} "
            f"describes ({different}); train again"
        )
    network.load_state_dict(found)
    return recipe, network.eval()


def transformer_of(out: Path, recipe: Recipe, network: Network) -> SpatialTransformer | Recurrent:
    """Return the transformer of a run's network.

    Raises:
        InputError: if it has none.

    """
    if network.transformer is None:
        raise InputError(
            f"{out}: a run of the model {recipe.model}, which has no transformer; give a run of an "
            "st- model"
        )
    return network.transformer


def show(out: Path, path: Path, *, count: int = 8, data: Path | None = None) -> None:
    """Draw what the spatial transformer of a finished run does to its first test images."""
    if not 1 <= count <= 32:
        raise InputError(f"{count} images were asked for; give 1 to 32")
    recipe, network = load(out)
    inputs, target = supply.data_of(recipe, out, data).fixed_batch(count)
    picture.draw(network, named(recipe.experiment).task(recipe), inputs, target, path)


def film(out: Path, path: Path, *, data: Path | None = None) -> None:
    """Draw how the alignment of a few images developed while a finished run was trained."""
    recipe, network = load(out)
    inputs = supply.data_of(recipe, out, data).fixed_batch(SHOWN)[0]
    found = poses(out / "poses.safetensors", network, inputs)
    picture.film(network, inputs, found["step"], found["theta"], path)


@torch.no_grad()
def poses(path: Path, network: Network, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the steps (F,) after which θ of some images was kept, and that θ (F, N, …).

    Raises:
        InputError: if the file is missing or damaged, or of another network.

    """
    found, theta = tensors.read(path), network(inputs)[1]
    kept = max(1, found["step"].numel()) if "step" in found else 1
    each = (len(inputs), 0) if theta is None else theta.shape
    due = {"step": torch.empty(kept, dtype=torch.long), "theta": torch.empty(kept, *each)}
    if different := tensors.difference(found, due):
        raise InputError(f"{path}: not the poses of this run ({different}); train again")
    return found


def _checked(recipe: Recipe) -> Experiment:
    """Return the experiment of a recipe that can be run."""
    experiment = named(recipe.experiment)
    recipe.check()
    return experiment


def _score(
    runner: Trainer, learner: Learner, served: ServedData, folder: Path | None
) -> dict[str, Any]:
    """Return the metrics of a network's test, and its headline on independent inputs."""
    recipe, experiment = learner.recipe, named(learner.recipe.experiment)
    others = experiment.independent(recipe, folder) if experiment.independent else {}
    independent = {}
    with surroundings(experiment.threads):
        loggers, runner.loggers = runner.loggers, []  # curves have the test error once
        for name, samples in others.items():
            data = Data(train=samples[:0], validation=samples[:0], test=samples)
            runner.test(learner, supply.served(data, recipe), verbose=False)
            independent[name] = learner.test[experiment.headline.key]
        runner.loggers = loggers
        runner.test(learner, served, verbose=False)
    transformer, aligned, followed = learner.network.transformer, {}, {}
    placed, targets = served.test_places()
    if transformer is not None and placed is not None:
        found = deepcopy(transformer.transformation).cpu(), learner.theta
        if placed[1].ndim == 3:  # several things in every sample
            followed = {
                "correlations": correlations(placed, found),
                "overlaps": overlaps(placed, found),
            }
        else:
            aligned = alignment(placed, found, learner.task.groups(targets))
    return {
        "recipe": recipe.as_json(),
        **{f"test_{key}": value for key, value in learner.test.items()},
        "independent": independent,
        "test_images": len(targets),
        "parameters": count_parameters(learner.network),
        "theta": learner.theta_summary(),
        "alignment": aligned,
        **followed,
    }
