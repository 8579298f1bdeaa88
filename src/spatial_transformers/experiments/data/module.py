"""Images in memory, served in batches and distorted on the device that trains."""

import time
from dataclasses import dataclass, fields

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from spatial_transformers import InputError

from .distortions import Distortion, Placed
from .draws import Draws

TEST_SEED = 20150605  # the test distortions are the same for every model and seed
_CALMED = 0.75  # of the jitter, in the course of training


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) in uint8 and labels (N,)."""

    images: Tensor
    labels: Tensor

    def __getitem__(self, part: slice | Tensor) -> "Images":
        """Return a part of the images."""
        return Images(self.images[part], self.labels[part])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __add__(self, more: "Images") -> "Images":
        """Return these images, then more of the same size."""
        return Images(torch.cat((self.images, more.images)), torch.cat((self.labels, more.labels)))


@dataclass(frozen=True)
class Splits:
    """What trains, what guides choices, what is scored once."""

    train: Images
    validation: Images
    test: Images

    def to(self, device: torch.device) -> "Splits":
        """Return the splits on a device."""
        parts = (getattr(self, field.name) for field in fields(self))
        return Splits(*(Images(p.images.to(device), p.labels.to(device)) for p in parts))


class DistortedImages(LightningDataModule):
    """Distorts the training images anew in each epoch, the others always alike.

    Several processes share the training images: together their batches are those of one process.
    Each scores all of the others.

    Args:
        splits: the images.
        distortion: of all of them.
        batch_size: of all processes together.
        seed: decides the order and the training distortions.
        repeats: how many fixed distortions of each test image are scored.
        jitter: of the training images in the first epoch: see `Distortion`. It falls along a line
            towards a quarter, so that the last ones see images more like those that are scored.

    Raises:
        InputError: if the processes cannot share a batch, or the images do not fill one.

    """

    def __init__(
        self,
        splits: Splits,
        distortion: Distortion,
        *,
        batch_size: int,
        seed: int,
        repeats: int = 1,
        jitter: float = 0,
    ):
        super().__init__()
        self.splits = splits
        self.distortion = distortion
        self.batch_size = batch_size
        self.seed = seed
        self.repeats = repeats
        self.jitter = jitter
        self.seconds = 0.0  # of training, spent on distortions; a GPU goes on meanwhile

    def train_dataloader(self) -> DataLoader:
        """Return this process's share of each batch, in an order of the seed and the epoch."""
        images = range(len(self.splits.train))
        trainer = self.trainer
        processes, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        if self.batch_size % processes or len(images) < self.batch_size:
            raise InputError(
                f"batches of {self.batch_size} were asked for, of {len(images)} images on "
                f"{processes} processes; give a multiple of the processes, and no more than images"
            )
        order = DistributedSampler(images, processes, rank, seed=self.seed)  # type: ignore[arg-type]
        share = self.batch_size // processes
        return DataLoader(images, share, sampler=order, drop_last=True)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader:
        """Return the validation images, each under one fixed distortion."""
        return self._fixed(len(self.splits.validation))

    def test_dataloader(self) -> DataLoader:
        """Return the test images, each under `repeats` fixed distortions."""
        return self._fixed(len(self.splits.test) * self.repeats)

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Turn the numbers of samples into distorted images and labels, all on their device."""
        sample = batch
        if self.splits.train.labels.device != sample.device:
            self.splits = self.splits.to(sample.device)
        trainer = self.trainer
        if trainer is not None and trainer.training:
            started = time.monotonic()
            draws = Draws(self.seed, trainer.current_epoch, sample)
            done = trainer.current_epoch / (trainer.max_epochs or 1)
            jitter = self.jitter * (1 - _CALMED * done)
            distorted = self._distorted(self.splits.train, sample, draws, jitter)
            self.seconds += time.monotonic() - started
            return distorted
        if trainer is not None and trainer.testing:
            return self._test(sample)
        return self._distorted(self.splits.validation, sample, Draws(TEST_SEED, 0, sample))

    def state_dict(self) -> dict[str, float]:
        """Return what a continued run needs to tell its whole story."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Take up the story."""
        self.seconds = state_dict["seconds"]

    def fixed_batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the first distortion of some test images and their labels, for pictures."""
        return self._test(torch.arange(min(count, len(self.splits.test))) * self.repeats)

    def test_places(self) -> tuple[Placed, Tensor]:
        """Return where the canvas of each distorted test image lies in the image, and its label."""
        sample = torch.arange(len(self.splits.test) * self.repeats)
        labels = self.splits.test.labels.cpu()[sample // self.repeats]
        return self.distortion.place(Draws(TEST_SEED, 0, sample)), labels

    def _test(self, sample: Tensor) -> tuple[Tensor, Tensor]:
        place = sample // self.repeats
        return self._distorted(self.splits.test, place, Draws(TEST_SEED, 0, sample))

    def _distorted(
        self, split: Images, place: Tensor, draws: Draws, jitter: float = 0
    ) -> tuple[Tensor, Tensor]:
        part = split[place]
        return self.distortion(part.images.float() / 255, draws, split.images, jitter), part.labels

    def _fixed(self, count: int) -> DataLoader:
        return DataLoader(range(count), 4 * self.batch_size)  # type: ignore[arg-type]
