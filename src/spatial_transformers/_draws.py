"""Random numbers keyed by what they are for, not by when they are drawn.

The mixing is SplitMix64's (Steele, Lea, Flood 2014).
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # as signed numbers, which wrap around alike
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


def unit(key: Iterable[int], sample: Int64[Tensor, "N"], count: int) -> Float64[Tensor, "N count"]:
    """Return `count` numbers of U[0, 1) per sample, which depend on the key and the sample alone.

    Example:
        >>> unit((0, 7), torch.tensor([3, 1, 3]), 1)[:, 0]
        tensor([0.1511, 0.5936, 0.1511], dtype=torch.float64)

    """
    keys = torch.zeros(1, dtype=torch.int64, device=sample.device)
    number = torch.arange(count, device=sample.device)
    for part in key:
        keys = _mix(keys + _GOLDEN + part)
    keys = _mix(keys + _GOLDEN + number)  # (count)
    keys = _mix(keys + _GOLDEN + sample[:, None])  # (N, count)
    return _shift(keys, 11).double() / 2.0**53


def as_normal(numbers: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """Return numbers of N(0, 1), given numbers of U[0, 1)."""
    return torch.special.ndtri(numbers.clamp(min=2.0**-54))  # 0 would give -∞


def _shift(z: Tensor, bits: int) -> Tensor:
    """Shift as unsigned numbers are."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _FIRST
    z = (z ^ _shift(z, 27)) * _SECOND
    return z ^ _shift(z, 31)
