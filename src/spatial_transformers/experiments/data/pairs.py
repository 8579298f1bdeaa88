"""Pairs: two images in two channels, each placed on its own, and a label of both."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .distortion import Distortion
from .draws import Draws
from .samples import InMemory, Placed, Samples

PARTS = 2


@dataclass(frozen=True)
class Pairs(Samples):
    """Sample n is image n mod M of `first`, and the image of `second` that `partners` names.

    Args:
        first: M images (M, 1, H, W) in uint8 with their labels.
        second: others, or the same ones.
        partners: (N,) numbers of second images, N a multiple of M.
        together: turns the labels of both (N,) into the target.

    """

    first: InMemory
    second: InMemory
    partners: Tensor
    together: Callable[[Tensor, Tensor], Tensor]

    @classmethod
    def of(
        cls,
        first: InMemory,
        second: InMemory,
        together: Callable[[Tensor, Tensor], Tensor],
        *,
        times: int,
        seed: int,
    ) -> "Pairs":
        """Return every first image in `times` pairs, with second ones used equally often.

        They are always the same pairs.
        """
        generator = torch.Generator().manual_seed(seed)
        orders = []
        for _ in range(times):
            rounds = range(0, len(first), len(second))
            order = [torch.randperm(len(second), generator=generator) for _ in rounds]
            orders.append(torch.cat(order)[: len(first)])
        return cls(first, second, torch.cat(orders), together)

    @cached_property
    def targets(self) -> Tensor:  # type: ignore[override]
        """The label (N,) of both."""
        labels = self.first.targets
        rounds = len(self.partners) // len(labels)
        return self.together(labels.repeat(rounds), self.second.targets[self.partners])

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.partners)

    def __add__(self, more: "Pairs") -> "Pairs":
        """Return pairs of all images of both, each in as many."""
        pools = self.first + more.first, self.second + more.second
        times = len(self) // len(self.first)
        return Pairs.of(*pools, self.together, times=times, seed=0)

    def to(self, device: torch.device) -> "Pairs":
        """Return the pairs on a device."""
        pools = self.first.to(device), self.second.to(device)
        return Pairs(*pools, self.partners.to(device), self.together)

    def load(self, numbers: Tensor) -> Tensor:
        """Return the numbers."""
        return numbers

    def take(self, loaded: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (N, 2, H, W) and the labels of both (N,)."""
        first, labels = self.first.take(loaded % len(self.first))
        second, others = self.second.take(self.partners[loaded])
        return torch.cat((first, second), 1), self.together(labels, others)


@dataclass(frozen=True)
class Apart:
    """A distortion of every channel on its own."""

    distortion: Distortion

    def __call__(
        self, images: Tensor, draws: Draws, others: Tensor, *, jitter: float = 0
    ) -> Tensor:
        """Return images (N, 2, H, W) in [0, 1] on canvases (N, 2, size, size)."""
        each = images.flatten(0, 1)[:, None]
        placed = self.distortion(each, _each(draws), others, jitter=jitter)
        return placed.view(-1, PARTS, *placed.shape[2:])

    def place(self, draws: Draws) -> Placed:
        """Return where each canvas lies in its image: θ (N, 2, P)."""
        transformation, theta = self.distortion.place(_each(draws))
        return transformation, theta.view(-1, PARTS, theta.shape[1])


def _each(draws: Draws) -> Draws:
    """Return draws of their own for every channel of the samples."""
    channel = torch.arange(PARTS, device=draws.sample.device)
    return replace(draws, sample=(PARTS * draws.sample[:, None] + channel).flatten())
