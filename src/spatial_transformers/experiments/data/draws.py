"""What is drawn for samples in an epoch: numbers keyed by what they are for.

A draw depends on (seed, epoch, sample, purpose) alone, so that batches, resumed runs and several
processes see the same data.
"""

import zlib
from dataclasses import dataclass, replace

from torch import Tensor

from ..._draws import as_normal, unit


@dataclass(frozen=True)
class Draws:
    """What is drawn for some samples in an epoch, in float64 on the samples' device.

    Args:
        seed: of the data.
        epoch: a new epoch draws anew for the same sample.
        sample: (N,) numbers that name the samples.
        spread: narrows every range about its middle, and every deviation, by this factor.

    Example:
        >>> import torch
        >>> draws = Draws(seed=0, epoch=0, sample=torch.tensor([3, 1, 3]))
        >>> draws.uniform("angle", -90, 90)[:, 0]
        tensor([38.6203, 57.1680, 38.6203], dtype=torch.float64)

    """

    seed: int
    epoch: int
    sample: Tensor
    spread: float = 1.0

    def uniform(self, purpose: str, low: float, high: float, count: int = 1) -> Tensor:
        """Return `count` numbers of U[low, high) per sample: (N, count)."""
        if self.spread != 1:
            middle, half = (low + high) / 2, self.spread * (high - low) / 2
            low, high = middle - half, middle + half
        return low + (high - low) * self._unit(purpose, count)

    def _unit(self, purpose: str, count: int) -> Tensor:
        """Return `count` numbers of U[0, 1) per sample."""
        return unit((self.seed, self.epoch, zlib.crc32(purpose.encode())), self.sample, count)

    def normal(self, purpose: str, std: float, count: int = 1) -> Tensor:
        """Return `count` numbers of N(0, std²) per sample: (N, count)."""
        return self.spread * std * as_normal(self._unit(purpose, count))

    def integers(self, purpose: str, low: int, high: int, count: int = 1) -> Tensor:
        """Return `count` of the integers low, …, high - 1 per sample: (N, count)."""
        return self.uniform(purpose, low, high, count).floor().long()

    def of(self, part: Tensor) -> "Draws":
        """Return the draws of a part of the samples, by their places or a mask."""
        return replace(self, sample=self.sample[part])
