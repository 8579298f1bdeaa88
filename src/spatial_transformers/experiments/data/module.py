"""Images in memory, served in batches and distorted on the device that trains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

Distort = Callable[[Tensor, Tensor, int, int], Tensor]  # images, samples, seed, epoch

TEST_SEED = 20150605  # the test distortions are the same for every model and seed


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


@dataclass(frozen=True)
class Splits:
    """What trains, what guides choices, what is scored once."""

    train: Images
    validation: Images
    test: Images


class _Indexed(Dataset):
    """Gives whole batches: raw images, labels, and the numbers that name the samples."""

    def __init__(self, data: Images, repeats: int = 1):
        self.data = data
        self.repeats = repeats

    def __len__(self) -> int:
        return len(self.data) * self.repeats

    def __getitems__(self, samples: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        sample = torch.as_tensor(samples)
        part = self.data[sample // self.repeats]
        return part.images, part.labels, sample


class DistortedImages(LightningDataModule):
    """Distorts the training images anew in each epoch, the others always alike.

    Args:
        splits: the images.
        distort: takes images in [0, 1], sample numbers, seed and epoch.
        batch_size: of training and evaluation.
        seed: decides the order and the training distortions.
        repeats: how many fixed distortions of each test image are scored.

    """

    def __init__(
        self, splits: Splits, distort: Distort, *, batch_size: int, seed: int, repeats: int = 1
    ):
        super().__init__()
        self.splits = splits
        self.distort = distort
        self.batch_size = batch_size
        self.seed = seed
        self.repeats = repeats

    def train_dataloader(self) -> DataLoader:
        """Return batches in an order of the seed and the epoch."""
        data = _Indexed(self.splits.train)
        order = DistributedSampler(data, num_replicas=1, rank=0, seed=self.seed)
        return DataLoader(data, self.batch_size, sampler=order, collate_fn=_as_is)

    def val_dataloader(self) -> DataLoader:
        """Return the validation images, each under one fixed distortion."""
        return self._fixed(self.splits.validation, 1)

    def test_dataloader(self) -> DataLoader:
        """Return the test images, each under `repeats` fixed distortions."""
        return self._fixed(self.splits.test, self.repeats)

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, Tensor, Tensor], dataloader_idx: int
    ) -> tuple[Tensor, Tensor]:
        """Distort a batch on the device."""
        images, labels, sample = batch
        trainer = self.trainer
        if trainer is not None and trainer.training:
            seed, epoch = self.seed, trainer.current_epoch
        else:
            seed, epoch = TEST_SEED, 0
        return self.distort(images.float() / 255, sample, seed, epoch), labels

    def fixed_test_batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the first distortion of some test images, for pictures."""
        sample = torch.arange(min(count, len(self.splits.test))) * self.repeats
        part = self.splits.test[sample // self.repeats]
        return self.distort(part.images.float() / 255, sample, TEST_SEED, 0), part.labels

    def _fixed(self, images: Images, repeats: int) -> DataLoader:
        data = _Indexed(images, repeats)
        return DataLoader(data, 4 * self.batch_size, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
