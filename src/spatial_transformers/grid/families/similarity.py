"""Similarities: one scale, rotation and translation."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..._types import Theta
from ..bounds import Bounds
from ..describe import affine_parts
from ..homogeneous import Homogeneous
from ..numerics.matrices import Matrix, adjugate
from ..numerics.rotation import rotation_angles, rotation_entries, rotation_matrix


class Similarity(Homogeneous):
    """Scale, turn and move the grid: `[s R | t]`.

    θ is `(s, rotation, tx, ty)`, P = 4; in 3-D `(s, rx, ry, rz, tx, ty, tz)`, P = 7. s is the share
    of the source's extent that the target covers, s > 0; a negative s turns by another half turn in
    2-D and mirrors in 3-D. Rotation and translation are those of `Rigid`.

    Convention: x' = s (cos r x - sin r y) + tx, y' = s (sin r x + cos r y) + ty, in normalised
    coordinates, as for `Rigid`.

    Args:
        ndim: 2 for images, 3 for volumes.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Example:
        >>> from math import pi
        >>> similarity = Similarity(bounds={"s": (0.1, None), "rotation": (-pi / 2, pi / 2)})
        >>> similarity.transform_points(
        ...     torch.tensor([[1.0, 0.0, 0.0, 0.5]]), torch.tensor([[[1.0, 0.0]]])).tolist()
        [[[1.0, 0.5]]]
        >>> Similarity(ndim=3).grid(torch.zeros(2, 7), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.2.

    """

    def __init__(self, ndim: int = 2, *, bounds: Bounds | None = None):
        super().__init__(ndim)
        self._set_bounds(bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """The scale, the rotation, then the translation."""
        return ("s", *rotation_entries(self.ndim), *(f"t{a}" for a in "xyz"[: self.ndim]))

    def identity(self) -> Float[Tensor, "P"]:
        """Return scale 1, no rotation and no translation."""
        rest = len(self.entries) - 1
        return torch.tensor([1.0] + [0.0] * rest, device="cpu", dtype=torch.float32)

    def _matrix(self, values: Tensor) -> Matrix:
        """Return `[s R | t]`."""
        scale, angles = values[:, :1, None], values[:, 1 : -self.ndim]
        linear = scale * rotation_matrix(angles)
        return torch.cat((linear, self._shift(values)), -1)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return scale, rotation and translations; see `affine_parts`."""
        values = self.values(theta)
        turned = torch.cat((rotation_matrix(values[:, 1 : -self.ndim]), self._shift(values)), -1)
        kept = ("rotation", "translation")
        parts = affine_parts(turned).items()
        return {"scale": values[:, 0]} | {n: part for n, part in parts if n.startswith(kept)}

    def _shift(self, values: Tensor) -> Tensor:
        return values[:, -self.ndim :, None]

    def _read(self, matrix: Matrix) -> Tensor:
        linear = matrix[:, :, :-1]
        scale = linear[:, :, :1].norm(dim=1)
        if self.ndim == 3:  # a mirrored map has a negative scale; in 2-D a half turn says the same
            scale = scale * torch.where(adjugate(linear)[1] < 0, -1.0, 1.0)[:, None]
        angles = rotation_angles(linear / scale[..., None])
        return torch.cat((scale, angles, matrix[:, :, -1]), -1)
