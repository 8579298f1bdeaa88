"""Checkpoints that are written whole, and loaded as expected without unpickling code.

Lightning itself writes to the system's temporary folder and copies across file systems. A kill or a
full disk then leaves a part of a checkpoint. torch ignores the checksums of the file's archive.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.optim import Optimizer

from spatial_transformers import InputError

from .._errors import brief
from .._files import require_regular, whole
from .._reading import fault
from .._tensors import difference
from .learner import Learner

CURE = "delete it to start again"
_STEPS = "epoch_loop.automatic_optimization.optim_progress"


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files, by way of a temporary name in the same folder.

    Args:
        learner: what a checkpoint must be of.

    """

    def __init__(self, learner: Learner):
        self.learner = learner

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, whole or not at all."""
        content = BytesIO()  # torch.save to a file does not report a full disk
        torch.save(checkpoint, content)
        with whole(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read tensors and plain values only.

        Raises:
            InputError: if the file is damaged, or holds anything but a checkpoint of the learner.

        """
        require_regular(Path(path))
        try:
            with ZipFile(path) as archive:
                if name := archive.testzip():
                    raise ValueError(f"{name} has another checksum")
            found = torch.load(path, map_location=map_location, weights_only=True)
        except PermissionError:
            raise
        except Exception as error:  # archives and pickles can be wrong in any way
            raise InputError(f"{path}: damaged checkpoint ({_line(error)}); {CURE}") from error
        if reason := _differs(found, self.learner):
            raise InputError(f"{path}: no checkpoint of this run ({reason}); {CURE}")
        return found


def _differs(found: Any, learner: Learner) -> str:
    """Return in words how a checkpoint is none of a learner that is about to train, or nothing."""
    made = learner.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"].state_dict()
    groups = _kinds(optimizer.state_dict()["param_groups"])
    expected = {
        "epoch": int,
        "global_step": int,
        "pytorch-lightning_version": str,
        "state_dict": dict,
        "loops": {"fit_loop": _kinds(learner.trainer.fit_loop.state_dict())},
        "callbacks": {str: {str: object}},
        "optimizer_states": [{"state": {int: {str: Tensor}}, "param_groups": groups}],
        "lr_schedulers": [_kinds(schedule)],
        "ServedData": {"seconds": float},
        "story": {
            "validation": {metric.key: [float] for metric in learner.task.metrics},
            "seconds": float,
            "poses": {int: Tensor},
        },
    }
    return (
        fault(found, expected)
        or difference(found["state_dict"], learner.state_dict())
        or _poses_differ(found["story"]["poses"], learner)
        or _optimizer_differs(found["optimizer_states"], optimizer)
        or _progress_differs(found, schedule["total_steps"])
    )


def _poses_differ(poses: dict[int, Tensor], learner: Learner) -> str:
    due = learner.shown_poses()
    if due is None:
        return "it has poses" if poses else ""
    reason = difference(poses, dict.fromkeys(poses, due))
    return f"of the poses, {reason}" if reason else ""


def _optimizer_differs(states: Sequence[dict[str, Any]], optimizer: Optimizer) -> str:
    groups = optimizer.param_groups
    parameters = [p for group in groups for p in group["params"] if p.requires_grad]
    sizes = _sizes(optimizer.state_dict())
    if [_sizes(state) for state in states] != [sizes] or len(states[0]["state"]) != len(parameters):
        return f"it has not the optimizer's state of {len(parameters)} parameters"
    for state, parameter in zip(states[0]["state"].values(), parameters, strict=True):
        due = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
        if reason := difference(state, due):
            return f"of the optimizer's state, {reason}"
    return ""


def _sizes(state: dict[str, Any]) -> list[int]:
    return [len(group["params"]) for group in state["param_groups"]]


def _progress_differs(found: Mapping[str, Any], steps: int) -> str:
    """Compare what is said twice: how far the run is."""
    loops = found["loops"]["fit_loop"]
    done = loops["epoch_progress"]["current"]["completed"], loops[_STEPS]["optimizer"]["step"]
    once = found["epoch"], found["global_step"], steps
    twice = done[0], done[1]["total"]["completed"], found["lr_schedulers"][0]["total_steps"]
    if once != twice:
        return f"epoch, step and steps in all are {once} here and {twice} there"
    return ""


def _kinds(value: Any) -> Any:
    """Return what `fault` expects of a value that is made like this one."""
    if isinstance(value, dict):
        return {key: _kinds(part) for key, part in value.items()}
    return [_kinds(value[0])] if isinstance(value, list) and value else type(value)


def _line(error: Exception) -> str:
    return brief(str(error).partition("\n")[0])
