"""Affine maps, the paper's eq. 1: every entry of the matrix is predicted."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from .._types import Theta
from .base import Homogeneous
from .describe import affine_parts


class Affine(Homogeneous):
    """Rotation, scales, shear and translation in one matrix (eq. 1).

    θ holds the matrix row by row, in normalised units, from target to source: in 2-D
    `(m11, m12, tx, m21, m22, ty)`, P = 6; in 3-D three rows of four, P = 12. A scale below 1 reads
    a part of the source, so the picture grows. tx = 1 moves the grid by half the source's width.

    Convention: x' = m11 x + m12 y + tx, y' = m21 x + m22 y + ty, with y pointing down.

    Args:
        ndim: 2 for images, 3 for volumes.

    Example:
        >>> affine = Affine()
        >>> affine.identity()
        tensor([1., 0., 0., 0., 1., 0.])
        >>> zoom = torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.5, 0.0]])
        >>> affine.transform_points(zoom, torch.tensor([[[1.0, -1.0]]])).tolist()
        [[[0.5, -0.5]]]

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.2, eq. 1.

    """

    @property
    def entries(self) -> tuple[str, ...]:
        """The matrix, row by row."""
        return tuple(
            f"m{r + 1}{c + 1}" if c < self.ndim else f"t{'xyz'[r]}"
            for r in range(self.ndim)
            for c in range(self.ndim + 1)
        )

    def identity(self) -> Float[Tensor, "P"]:
        """Return the identity matrix and no translation."""
        return torch.eye(self.ndim, self.ndim + 1, device="cpu", dtype=torch.float32).flatten()

    def matrix(self, theta: Theta) -> Float[Tensor, "N ndim ndim+1"]:
        """Return θ as a matrix."""
        return self.check(theta).unflatten(-1, (self.ndim, self.ndim + 1))

    def from_matrix(self, matrix: Float[Tensor, "N ndim ndim+1"]) -> Theta:
        """Return the matrix as θ."""
        return matrix.flatten(1)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return rotation, scales, shears and translations; see `affine_parts`."""
        return affine_parts(self.matrix(theta))
