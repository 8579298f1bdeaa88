"""An experiment's data, served in batches and prepared on the device that trains."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from spatial_transformers import InputError

from .draws import Draws
from .samples import Data, Placed, Samples

TEST_SEED = 20150605  # the test draws are the same for every model and seed
_CALMED = 0.75  # the share of augmentation that is lost in the course of training

Batch = tuple[Tensor, Tensor]


class ServedData(LightningDataModule):
    """Prepares the training samples anew in each epoch, and all others always in the same way.

    Several processes share the training samples: together their batches are those of one process.
    Each process scores all validation and test samples. Augmentation weakens linearly, down to a
    quarter, so that the last training samples are more like those that are scored.

    Args:
        data: the samples, and how they are prepared.
        batch_size: of all processes together.
        seed: decides the order, and what is drawn in training.

    Raises:
        InputError: if the processes cannot share a batch, or the samples do not fill one.

    """

    def __init__(self, data: Data, *, batch_size: int, seed: int):
        super().__init__()
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.seconds = 0.0  # of training, spent on preparation; a GPU goes on meanwhile

    def require_full_batches(self, processes: int) -> None:
        """Refuse what the class says."""
        if self.batch_size % processes or len(self.data.train) < self.batch_size:
            raise InputError(
                f"batches of {self.batch_size} were asked for, of {len(self.data.train)} images on "
                f"{processes} processes; give a multiple of the processes, and no more than images"
            )

    def train_dataloader(self) -> DataLoader:
        """Return this process's share of each batch, in an order of the seed and the epoch."""
        samples, trainer = self.data.train, self.trainer
        processes, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        self.require_full_batches(processes)
        numbered = _Numbered(samples)
        order = DistributedSampler(numbered, processes, rank, seed=self.seed)
        share = self.batch_size // processes
        return self._loader(numbered, share, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """Return the validation samples, each under one fixed draw."""
        return self._loader(_Numbered(self.data.validation), 4 * self.batch_size)

    def test_dataloader(self) -> DataLoader:
        """Return the test samples, each under `repeats` fixed draws."""
        return self._loader(_Numbered(self.data.test, self.data.repeats), 4 * self.batch_size)

    def on_after_batch_transfer(self, batch: tuple[Tensor, Any], dataloader_idx: int) -> Batch:
        """Prepare a batch on its device: inputs and targets."""
        numbers, loaded = batch
        if isinstance(loaded, InputError):
            raise loaded
        if self.data.train.targets.device != numbers.device:
            self.data = self.data.to(numbers.device)
        trainer = self.trainer
        if trainer is not None and trainer.training:
            started = time.monotonic()
            draws = Draws(self.seed, trainer.current_epoch, numbers)
            strength = 1 - _CALMED * (trainer.current_epoch / (trainer.max_epochs or 1))
            prepared = self._prepared(self.data.train, loaded, draws, strength)
            self.seconds += time.monotonic() - started
            return prepared
        part = self.data.test if trainer is not None and trainer.testing else self.data.validation
        return self._prepared(part, loaded, Draws(TEST_SEED, 0, numbers))

    def state_dict(self) -> dict[str, float]:
        """Return the seconds so far, which a continued run goes on counting."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on counting from the seconds of a checkpoint."""
        self.seconds = state_dict["seconds"]

    def fixed_batch(self, count: int) -> Batch:
        """Return some test samples under their first draw, for pictures."""
        return self.tested(torch.arange(min(count, len(self.data.test))) * self.data.repeats)

    def test_batches(self) -> Iterator[Batch]:
        """Give all test samples, each under `repeats` fixed draws."""
        numbers = torch.arange(len(self.data.test) * self.data.repeats)
        yield from map(self.tested, numbers.split(4 * self.batch_size))

    def tested(self, numbers: Tensor) -> Batch:
        """Return inputs and targets of the test that have these numbers."""
        loaded = self.data.test.load(numbers // self.data.repeats)
        return self._prepared(self.data.test, loaded, Draws(TEST_SEED, 0, numbers))

    def test_places(self) -> tuple[Placed | None, Tensor]:
        """Return where each test input lies in what is stored, if it was moved, and its target."""
        numbers = torch.arange(len(self.data.test) * self.data.repeats)
        targets = self.data.test.targets.cpu()[numbers // self.data.repeats]
        place = self.data.place
        return place and place(Draws(TEST_SEED, 0, numbers)), targets

    def _prepared(
        self, samples: Samples, loaded: Any, draws: Draws, strength: float = 0.0
    ) -> Batch:
        inputs, targets = samples.take(loaded)
        return self.data.prepare(inputs, draws, samples, strength), targets

    def _loader(self, numbered: "_Numbered", batch_size: int, **options: Any) -> DataLoader:
        return DataLoader(
            numbered,
            batch_size,
            collate_fn=_as_it_is,
            num_workers=self.data.workers,
            **options,
        )


def _as_it_is(batch: Any) -> Any:
    return batch


class _Numbered(Dataset):
    """Whole batches of samples: the numbers by which draws know them, and what is loaded."""

    def __init__(self, samples: Samples, repeats: int = 1):
        self.samples = samples
        self.repeats = repeats

    def __len__(self) -> int:
        return len(self.samples) * self.repeats

    def __getitems__(self, numbers: list[int]) -> tuple[Tensor, Any]:
        number = torch.tensor(numbers)
        try:
            return number, self.samples.load(number // self.repeats)
        except InputError as error:  # raised by a data loader's process, it would bring a traceback
            return number, error
