"""Random numbers keyed by what they are for, not by when they are drawn.

A draw depends on (seed, epoch, sample, purpose) alone, so that batches, resumed runs and several
processes see the same data. The mixing is SplitMix64's (Steele, Lea, Flood 2014).
"""

import numpy as np
import torch
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(low: float, high: float, *, seed: int, epoch: int, sample: Tensor, draw: int) -> Tensor:
    """Return one number of U[low, high) per sample, in float64 on the CPU.

    Example:
        >>> uniform(0, 1, seed=0, epoch=0, sample=torch.tensor([3, 1, 3]), draw=0)
        tensor([0.9281, 0.4123, 0.9281], dtype=torch.float64)

    """
    keys = np.zeros(sample.shape, np.uint64)
    for part in (seed, epoch, draw, sample.cpu().numpy()):
        keys = _mix(keys + _GOLDEN + np.asarray(part).astype(np.uint64))
    unit = (keys >> np.uint64(11)).astype(np.float64) / 2.0**53
    return low + (high - low) * torch.from_numpy(unit)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
