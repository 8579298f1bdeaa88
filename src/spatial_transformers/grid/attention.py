"""Attention: crop, translation and isotropic scaling (section 3.2)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from .._types import Theta
from .base import Homogeneous
from .describe import affine_parts


class Attention(Homogeneous):
    """Look at a part of the source: `[s 0 tx; 0 s ty]`, one scale for all axes.

    θ is `(s, tx, ty)`, P = 3; in 3-D `(s, tx, ty, tz)`, P = 4. s is the share of the source's
    extent that the target covers; translations are in half extents of the source.

    Convention: x' = s x + tx, y' = s y + ty.

    Args:
        ndim: 2 for images, 3 for volumes.

    Example:
        >>> attention = Attention()
        >>> right_half = torch.tensor([[0.5, 0.5, 0.0]])
        >>> attention.transform_points(right_half, torch.tensor([[[-1.0, 0.0]]])).tolist()
        [[[0.0, 0.0]]]

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.2.

    """

    @property
    def entries(self) -> tuple[str, ...]:
        """The scale, then the translation."""
        return ("s", *(f"t{axis}" for axis in "xyz"[: self.ndim]))

    def identity(self) -> Float[Tensor, "P"]:
        """Return scale 1 and no translation."""
        return torch.tensor([1.0] + [0.0] * self.ndim, device="cpu", dtype=torch.float32)

    def matrix(self, theta: Theta) -> Float[Tensor, "N ndim ndim+1"]:
        """Return `[s I | t]`."""
        theta = self.check(theta)
        eye = torch.eye(self.ndim, dtype=theta.dtype, device=theta.device)
        linear = theta[:, :1, None] * eye
        return torch.cat((linear, theta[:, 1:, None]), -1)

    def from_matrix(self, matrix: Float[Tensor, "N ndim ndim+1"]) -> Theta:
        """Return the scale and translation of `[s I | t]`."""
        return torch.cat((matrix[:, 0, :1], matrix[:, :, -1]), -1)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return the scale and the translations; see `affine_parts`."""
        parts = affine_parts(self.matrix(theta))
        translations = {name: part for name, part in parts.items() if "translation" in name}
        return {"scale": self.check(theta)[:, 0], **translations}
