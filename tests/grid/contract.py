"""Every transformation, listed once: what is listed here runs the whole contract battery."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_transformers import Affine, Attention, Transformation

SIZE = (5, 7, 4)  # a target; [:ndim] of it
SOURCE = (6, 3, 9)  # a source of another size
POINTS = 11


class Family(NamedTuple):
    """A transformation, what it can do, and the θ at which its inverse is well conditioned."""

    name: str
    make: Callable[[], Transformation]
    spread: float = 0.2  # θ is drawn this far about the identity
    closed: Sequence[str] = ("inverse", "compose")  # what gives a θ of the same family
    singular: bool = False  # θ = 0 has no inverse
    neutral: bool = True  # the identity maps points to themselves
    accuracy: float = 1e-5  # of inverse_points
    inner: float = 1.3  # points are drawn within ± this

    def theta(self, n: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw θ (n, P)."""
        identity = self.make().identity().to(dtype)
        noise = torch.rand(n, len(identity), dtype=dtype) * 2 - 1
        return identity + self.spread * noise

    def points(self, n: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw points (n, K, ndim), a few of them outside [-1, 1]."""
        return torch.rand(n, POINTS, self.make().ndim, dtype=dtype) * (2 * self.inner) - self.inner


FAMILIES = (
    Family("affine-2d", Affine, singular=True),
    Family("affine-3d", partial(Affine, ndim=3), singular=True),
    Family("attention-2d", Attention, singular=True),
    Family("attention-3d", partial(Attention, ndim=3), singular=True),
)
