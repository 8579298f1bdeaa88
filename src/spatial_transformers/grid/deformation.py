"""The maps that add a displacement to every point, T_θ(x) = x + u_θ(x)."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from .regular import Frame, over_extents
from .transformation import Transformation


class Deformation(Transformation):
    """T_θ(x) = x + u_θ(x), with u = 0 everywhere at the identity."""

    @abstractmethod
    def _displacement(self, values: Tensor, coordinates: Sequence[Tensor]) -> Tensor:
        """Return u_θ (N, ..., ndim) at normalised target coordinates, for `values(theta)`.

        `coordinates` has one tensor per axis, x first, broadcastable with each other and with
        (N, ...): on a lattice, each extends along its own axis only.
        """

    def _evaluate(
        self, values: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        displacement = self._displacement(values, over_extents(positions, extents))
        return displaced(displacement, positions, extents, source)


def displaced(
    displacement: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
) -> Tensor:
    """Add a displacement u (N, ..., ndim), in normalised units, to target points.

    A point is `(u · scale + x) + centre`, with x in the units of `source`. In pixels, u = 0 gives
    exact integers.
    """
    axes = [
        (displacement[..., a] * scale + positions[a] * (scale / extents[a])) + centre
        for a, (scale, centre) in enumerate(zip(*source, strict=True))
    ]
    return torch.stack(axes, -1)
