"""Attention: crop, translation and scaling (section 3.2)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..._types import Theta
from ..bounds import Bounds
from ..describe import affine_parts
from ..homogeneous import Homogeneous
from ..numerics.matrices import Matrix


class Attention(Homogeneous):
    """Look at a part of the source: `[s 0 tx; 0 s ty]`, one scale for all axes or one for each.

    θ is `(s, tx, ty)`, P = 3; in 3-D `(s, tx, ty, tz)`, P = 4. With `per_axis` it is
    `(sx, sy, tx, ty)`, P = 4; in 3-D `(sx, sy, sz, tx, ty, tz)`, P = 6. s is the share of the
    source's extent that the target covers; translations are in half extents of the source.

    Convention: x' = s x + tx, y' = s y + ty.

    Args:
        ndim: 2 for images, 3 for volumes.
        per_axis: whether each axis has its own scale.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Example:
        >>> attention = Attention()
        >>> right_half = torch.tensor([[0.5, 0.5, 0.0]])
        >>> attention.transform_points(right_half, torch.tensor([[[-1.0, 0.0]]])).tolist()
        [[[0.0, 0.0]]]
        >>> Attention(ndim=3).grid(torch.zeros(2, 4), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])
        >>> Attention(per_axis=True).entries
        ('sx', 'sy', 'tx', 'ty')

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.2.

    """

    def __init__(self, ndim: int = 2, *, per_axis: bool = False, bounds: Bounds | None = None):
        super().__init__(ndim)
        self.per_axis = per_axis
        self._set_bounds(bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """The scales, then the translation."""
        axes = "xyz"[: self.ndim]
        scales = tuple(f"s{a}" for a in axes) if self.per_axis else ("s",)
        return (*scales, *(f"t{a}" for a in axes))

    def identity(self) -> Float[Tensor, "P"]:
        """Return scale 1 and no translation."""
        ones = [float(name[0] == "s") for name in self.entries]
        return torch.tensor(ones, device="cpu", dtype=torch.float32)

    def _matrix(self, values: Tensor) -> Matrix:
        """Return `[s I | t]`."""
        eye = torch.eye(self.ndim, dtype=values.dtype, device=values.device)
        linear = values[:, : -self.ndim, None] * eye
        return torch.cat((linear, values[:, -self.ndim :, None]), -1)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return the scales and the translations; see `affine_parts`."""
        parts = affine_parts(self.matrix(theta))
        translations = {name: part for name, part in parts.items() if "translation" in name}
        names = [f"scale {a}" for a in "xyz"[: self.ndim]] if self.per_axis else ["scale"]
        return dict(zip(names, self.values(theta).unbind(-1), strict=False)) | translations

    def _read(self, matrix: Matrix) -> Tensor:
        scales = matrix[:, :, :-1].diagonal(dim1=1, dim2=2)
        return torch.cat((scales if self.per_axis else scales[:, :1], matrix[:, :, -1]), -1)
