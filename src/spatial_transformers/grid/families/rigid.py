"""Rigid maps: rotation and translation."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..._types import Theta
from ..bounds import Bounds
from ..describe import affine_parts
from ..homogeneous import Homogeneous
from ..numerics.matrices import Matrix
from ..numerics.rotation import rotation_angles, rotation_entries, rotation_matrix


class Rigid(Homogeneous):
    """Turn and move the grid: `[R | t]`.

    θ is `(rotation, tx, ty)`, P = 3: radians, clockwise as y points down, and half extents of the
    source. In 3-D it is `(rx, ry, rz, tx, ty, tz)`, P = 6: the axis of the rotation times its angle
    in radians. Derivatives are finite where the angle is zero.

    Convention: x' = cos r x - sin r y + tx, y' = sin r x + cos r y + ty. It is rigid in normalised
    coordinates: in an image that is not square, a turn also stretches its pixels.

    Args:
        ndim: 2 for images, 3 for volumes.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Example:
        >>> from math import pi
        >>> rigid = Rigid(bounds={"rotation": (-pi / 2, pi / 2)})
        >>> {name: round(part.item()) for name, part in Rigid().describe(
        ...     torch.tensor([[pi / 6, 0.2, 0.0]])).items()}
        {'rotation (deg)': 30, 'translation x (%)': 10, 'translation y (%)': 0}
        >>> Rigid(ndim=3).grid(torch.zeros(2, 6), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.2; Rodrigues'
    formula in 3-D.

    """

    def __init__(self, ndim: int = 2, *, bounds: Bounds | None = None):
        super().__init__(ndim)
        self._set_bounds(bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """The rotation, then the translation."""
        return (*rotation_entries(self.ndim), *(f"t{a}" for a in "xyz"[: self.ndim]))

    def identity(self) -> Float[Tensor, "P"]:
        """Return no rotation and no translation."""
        return torch.zeros(len(self.entries), device="cpu", dtype=torch.float32)

    def _matrix(self, values: Tensor) -> Matrix:
        """Return `[R | t]`."""
        angles, translation = values[:, : -self.ndim], values[:, -self.ndim :]
        return torch.cat((rotation_matrix(angles), translation[..., None]), -1)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return rotation and translations; see `affine_parts`."""
        parts = affine_parts(self.matrix(theta))
        kept = ("rotation", "translation")
        return {name: part for name, part in parts.items() if name.startswith(kept)}

    def _read(self, matrix: Matrix) -> Tensor:
        return torch.cat((rotation_angles(matrix[:, :, :-1]), matrix[:, :, -1]), -1)
