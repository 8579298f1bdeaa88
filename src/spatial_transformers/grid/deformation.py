"""The maps that add a displacement to every point, T_θ(x) = x + u_θ(x), and flows among them."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from .._types import Points, Theta
from .base import Transformation
from .regular import Frame, over_extents


class Deformation(Transformation):
    """T_θ(x) = x + u_θ(x), with u = 0 everywhere at the identity."""

    @abstractmethod
    def _displacement(self, theta: Tensor, coordinates: Sequence[Tensor]) -> Tensor:
        """Return u_θ (N, ..., ndim) at normalised target coordinates.

        `coordinates` has one tensor per axis, x first, broadcastable with each other and with
        (N, ...): on a lattice, each extends along its own axis only.
        """

    def _evaluate(
        self, theta: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        """Evaluate `(u · scale + x) + centre`, which for u = 0 lands on exact integers."""
        displacement = self._displacement(theta, over_extents(positions, extents))
        axes = [
            (displacement[..., a] * scale + positions[a] * (scale / extents[a])) + centre
            for a, (scale, centre) in enumerate(zip(*source, strict=True))
        ]
        return torch.stack(axes, -1)


class Flow(Deformation):
    """The flow of a velocity v_θ, linear in θ, over a unit of time: that of -θ leads back."""

    def inverse(self, theta: Theta) -> Theta:
        """Return the θ of the inverse map, -θ."""
        return -self.check(theta)

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points back to target coordinates: along -v, to the integration's accuracy."""
        return self.transform_points(self.inverse(theta), points)
