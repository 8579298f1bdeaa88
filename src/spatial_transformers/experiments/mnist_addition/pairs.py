"""Pairs of digits: two images in two channels, each placed on its own, and their sum."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..data.distortion import Distortion
from ..data.draws import Draws
from ..data.samples import InMemory, Placed, Samples

PARTS = 2


@dataclass(frozen=True)
class Pairs(Samples):
    """Every digit with others: sample n is digit n mod M and the one that `partners` names.

    Args:
        digits: M images (M, 1, H, W) in uint8 with their labels.
        partners: (N,) numbers of digits.

    """

    digits: InMemory
    partners: Tensor

    @classmethod
    def of(cls, digits: InMemory, times: int, seed: int) -> "Pairs":
        """Return every digit, first in `times` pairs and second in as many, always the same."""
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(len(digits), generator=generator) for _ in range(times)]
        return cls(digits, torch.cat(orders))

    @cached_property
    def targets(self) -> Tensor:  # type: ignore[override]
        """The sums (N,)."""
        labels = self.digits.targets
        return labels.repeat(len(self.partners) // len(labels)) + labels[self.partners]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.partners)

    def __add__(self, more: "Pairs") -> "Pairs":
        """Return pairs of all digits of both, as many of each."""
        digits = self.digits + more.digits
        return Pairs.of(digits, len(self) // len(self.digits), 0)

    def to(self, device: torch.device) -> "Pairs":
        """Return the pairs on a device."""
        return Pairs(self.digits.to(device), self.partners.to(device))

    def load(self, numbers: Tensor) -> Tensor:
        """Return the numbers."""
        return numbers

    def take(self, loaded: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (N, 2, H, W) and sums (N,)."""
        both = torch.stack((loaded % len(self.digits), self.partners[loaded]), 1)
        images, labels = self.digits.take(both.flatten())
        return images.view(-1, PARTS, *images.shape[2:]), labels.view(-1, PARTS).sum(1)


@dataclass(frozen=True)
class Apart:
    """A distortion of every channel on its own."""

    distortion: Distortion

    def __call__(self, images: Tensor, draws: Draws, others: Tensor, jitter: float = 0) -> Tensor:
        """Return images (N, 2, H, W) in [0, 1] on canvases (N, 2, size, size)."""
        placed = self.distortion(images.flatten(0, 1)[:, None], _each(draws), others, jitter)
        return placed.view(-1, PARTS, *placed.shape[2:])

    def place(self, draws: Draws) -> Placed:
        """Return where each canvas lies in its image: θ (N, 2, P)."""
        transformation, theta = self.distortion.place(_each(draws))
        return transformation, theta.view(-1, PARTS, theta.shape[1])


def _each(draws: Draws) -> Draws:
    """Return draws of their own for every channel of the samples."""
    channel = torch.arange(PARTS, device=draws.sample.device)
    return Draws(draws.seed, draws.epoch, (PARTS * draws.sample[:, None] + channel).flatten())
