"""Translations."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..._types import Theta
from ..bounds import Bounds
from ..describe import affine_parts
from ..homogeneous import Homogeneous
from ..numerics.matrices import Matrix


class Translation(Homogeneous):
    """Move the grid over the source: `[I | t]`.

    θ is `(tx, ty)`, P = 2; in 3-D `(tx, ty, tz)`, P = 3; in half extents of the source.

    Convention: x' = x + tx, y' = y + ty: the picture moves the other way.

    Args:
        ndim: 2 for images, 3 for volumes.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Example:
        >>> translation = Translation(bounds=(-0.5, 0.5))
        >>> far = torch.tensor([[1e9, 0.0]])
        >>> translation.transform_points(far, torch.tensor([[[0.0, 0.0]]])).tolist()
        [[[0.5, 0.0]]]
        >>> Translation(ndim=3).grid(torch.zeros(2, 3), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.2.

    """

    def __init__(self, ndim: int = 2, *, bounds: Bounds | None = None):
        super().__init__(ndim)
        self._set_bounds(bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """The translation along each axis."""
        return tuple(f"t{a}" for a in "xyz"[: self.ndim])

    def identity(self) -> Float[Tensor, "P"]:
        """Return no translation."""
        return torch.zeros(self.ndim, device="cpu", dtype=torch.float32)

    def _matrix(self, values: Tensor) -> Matrix:
        """Return `[I | t]`."""
        eye = torch.eye(self.ndim, dtype=values.dtype, device=values.device)
        return torch.cat((eye.expand(values.shape[0], -1, -1), values[..., None]), -1)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return the translations; see `affine_parts`."""
        parts = affine_parts(self.matrix(theta))
        return {name: part for name, part in parts.items() if "translation" in name}

    def _read(self, matrix: Matrix) -> Tensor:
        return matrix[:, :, -1]
