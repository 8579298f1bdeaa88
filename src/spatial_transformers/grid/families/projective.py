"""Plane projective maps (section 3.2), and their like in 3-D."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..._types import Theta
from ..bounds import Bounds
from ..describe import affine_parts
from ..homogeneous import Homogeneous
from ..numerics.matrices import Matrix


class Projective(Homogeneous):
    """Homography: an affine map, seen in perspective.

    θ is the matrix row by row without its last entry, which is 1: in 2-D
    `(h11, h12, h13, h21, h22, h23, h31, h32)`, P = 8; in 3-D P = 15. Points are divided by
    w = h31 x + h32 y + 1. Points with w ≤ 0 lie behind the camera: they are NaN, which the sampler
    fills. While |h31| + |h32| < 1, all points of the target lie in front.

    Convention: x' = (h11 x + h12 y + h13) / w, y' = (h21 x + h22 y + h23) / w.

    Args:
        ndim: 2 for images, 3 for volumes.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Example:
        >>> projective = Projective()
        >>> theta = torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.0]])
        >>> points = torch.tensor([[[1.0, 0.0], [-1.0, 0.5], [-3.0, 0.0]]])
        >>> projective.transform_points(theta, points)
        tensor([[[ 0.6667,  0.0000],
                 [-2.0000,  1.0000],
                 [    nan,     nan]]])
        >>> Projective(ndim=3).grid(torch.zeros(2, 15), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.2; Hartley and
    Zisserman, Multiple View Geometry, 2nd edition, section 2.3.

    """

    perspective = True

    def __init__(self, ndim: int = 2, *, bounds: Bounds | None = None):
        super().__init__(ndim)
        self._set_bounds(bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """The matrix, row by row, but for its last entry."""
        k = self.ndim + 1
        return tuple(f"h{r + 1}{c + 1}" for r in range(k) for c in range(k))[:-1]

    def identity(self) -> Float[Tensor, "P"]:
        """Return the identity matrix without its last entry."""
        return torch.eye(self.ndim + 1, device="cpu", dtype=torch.float32).flatten()[:-1]

    def _matrix(self, values: Tensor) -> Matrix:
        """Return θ as a square matrix whose last entry is 1."""
        full = torch.cat((values, torch.ones_like(values[:, :1])), 1)
        return torch.unflatten(full, -1, (self.ndim + 1, self.ndim + 1))

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return the parts of the affine rows (see `affine_parts`), and the perspective.

        Perspective x is the change of w across half the target's width.
        """
        matrix = self.matrix(theta)
        tilts = matrix[:, -1, :-1].unbind(-1)
        perspective = {f"perspective {a}": t for a, t in zip("xyz", tilts, strict=False)}
        return affine_parts(matrix[:, :-1]) | perspective

    def _read(self, matrix: Matrix) -> Tensor:
        return matrix.flatten(1)[:, :-1]
