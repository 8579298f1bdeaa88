"""Random numbers keyed by what they are for, not by when they are drawn.

A draw depends on (seed, epoch, sample, purpose) alone, so that batches, resumed runs and several
processes see the same data. The mixing is SplitMix64's (Steele, Lea, Flood 2014).
"""

import zlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # as signed numbers, which wrap around alike
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


@dataclass(frozen=True)
class Draws:
    """What is drawn for some samples in an epoch, in float64 on the samples' device.

    Args:
        seed: of the data.
        epoch: a new epoch draws anew for the same sample.
        sample: (N,) numbers that name the samples.
        spread: narrows every range about its middle, and every deviation, by this factor.

    Example:
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
        device = self.sample.device
        keys = torch.zeros(1, dtype=torch.int64, device=device)
        number = torch.arange(count, device=device)
        for part in (self.seed, self.epoch, zlib.crc32(purpose.encode())):
            keys = _mix(keys + _GOLDEN + part)
        keys = _mix(keys + _GOLDEN + number)  # (count)
        keys = _mix(keys + _GOLDEN + self.sample[:, None])  # (N, count)
        return _shift(keys, 11).double() / 2.0**53

    def normal(self, purpose: str, std: float, count: int = 1) -> Tensor:
        """Return `count` numbers of N(0, std²) per sample: (N, count)."""
        unit = self._unit(purpose, count).clamp(min=2.0**-54)  # 0 would give -∞
        return self.spread * std * torch.special.ndtri(unit)

    def integers(self, purpose: str, low: int, high: int, count: int = 1) -> Tensor:
        """Return `count` of the integers low, …, high - 1 per sample: (N, count)."""
        return self.uniform(purpose, low, high, count).floor().long()

    def of(self, part: Tensor) -> "Draws":
        """Return the draws of a part of the samples, by their places or a mask."""
        return replace(self, sample=self.sample[part])


def _shift(z: Tensor, bits: int) -> Tensor:
    """Shift as unsigned numbers are."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _FIRST
    z = (z ^ _shift(z, 27)) * _SECOND
    return z ^ _shift(z, 31)
