"""The paper's kernel k(·; Φ) (eq. 3), one axis at a time: the pixels it visits and their weights.

Only the kernel's support is visited: `offsets` from a base pixel. Weights are functions of the
distance to that pixel, written so that autograd takes the right-hand slope at a kink, as eqs. 6
and 7 and PyTorch do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Kernel:
    """A separable sampling kernel with a finite support.

    Args:
        name: the `mode` that selects it.
        base: the pixel that offsets start from, of pixel coordinates; flat, so without a slope.
        offsets: the pixels visited, relative to the base.
        weights: a weight per offset, of the distance from the base pixel.

    """

    name: str
    base: Callable[[Tensor], Tensor]
    offsets: tuple[int, ...]
    weights: Callable[[Tensor], tuple[Tensor, ...]]


# Eq. 4. Halves go to the even pixel, as in `grid_sample`; the slope is zero everywhere.
NEAREST = Kernel("nearest", torch.round, (0,), lambda distance: (distance * 0 + 1,))

# Eq. 5: max(0, 1 - |x - m|) for the two pixels around x.
BILINEAR = Kernel("bilinear", torch.floor, (0, 1), lambda distance: (1 - distance, distance))

KERNELS = {kernel.name: kernel for kernel in (NEAREST, BILINEAR)}
