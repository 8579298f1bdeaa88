"""Lightning's Trainer as runs need it: quiet, with whole checkpoints, on few threads."""

import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CDLL
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar

from spatial_transformers import InputError

from .progress import MINUTE

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_LARGEST_KEPT = 1 << 30  # bytes


def checkpoints(out: Path) -> ModelCheckpoint:
    """Return the callback that writes `last.ckpt` in the folder `out` after each epoch."""
    return ModelCheckpoint(
        out, "last", save_top_k=1, every_n_epochs=1, enable_version_counter=False
    )


class _Progress(TQDMProgressBar):
    """Lightning's bar without its version number, which a run's folder does not have."""

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}


class _Lines(ProgressBar):
    """A line on standard error after each epoch, and each minute of a longer one.

    A file that the bar goes to would keep every state of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said = time.monotonic()
        self._off = False

    def disable(self) -> None:
        """Say nothing, as all processes but the first one."""
        self._off = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say how far the epoch is, if a minute has passed."""
        if time.monotonic() > self._said + MINUTE:
            self._say(f", step {batch_idx + 1} of {self.total_train_batches}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Say what was reached."""
        self._say()

    def _say(self, where: str = "") -> None:
        self._said = time.monotonic()
        if self._off:
            return
        found = self.trainer.progress_bar_metrics
        numbers = (f"{name} {number:.4g}" for name, number in found.items())
        epoch = f"epoch {self.trainer.current_epoch + 1} of {self.trainer.max_epochs}"
        print(f"{epoch}{where}: {', '.join(numbers)}", file=sys.stderr, flush=True)


def trainer(**options: Any) -> Trainer:
    """Return a Trainer that leaves only the progress bar on the screen."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet = {"enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 10}
    callbacks = options.pop("callbacks", [])
    if options.get("enable_progress_bar", True):
        terminal = sys.stdout.isatty()  # there Lightning's bar goes
        callbacks = [*callbacks, _Progress(refresh_rate=20) if terminal else _Lines()]
    try:
        return Trainer(callbacks=callbacks, **(quiet | options))
    except MisconfigurationException as error:
        raise InputError(f"Lightning cannot run with these options: {error}") from error


def _keep_freed_memory() -> None:
    """Let glibc keep memory that a training step frees: taking it again costs half of the time.

    Other C libraries are left as they are.
    """
    mallopt = getattr(CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(option, _LARGEST_KEPT)


@contextmanager
def surroundings(limit: int | None) -> Iterator[None]:
    """Limit threads; silence Lightning about what is intended here, and about its use of torch."""
    _keep_freed_memory()
    threads, said = torch.get_num_threads(), threading.excepthook
    torch.set_num_threads(min(threads, limit or threads))
    # the writer of curves raises its error where it is used, too
    threading.excepthook = lambda of: None if issubclass(of.exc_type, OSError) else said(of)
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers",  # the data are in memory
            ".*smaller than the logging interval",  # in tiny data sets
            ".*exists and is not empty",  # the run's folder, when it continues
            "The dirpath has changed",  # the run's folder was moved before it continues
            ".*isinstance\\(treespec, LeafSpec\\)",  # Lightning 2.6 on torch 2.13
        ):
            warnings.filterwarnings("ignore", message)
        try:
            yield
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # Lightning's answer to Ctrl-C
                raise KeyboardInterrupt from error
            raise
        finally:
            torch.set_num_threads(threads)
            threading.excepthook = said
