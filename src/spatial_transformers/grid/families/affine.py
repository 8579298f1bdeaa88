"""Affine maps (eq. 1): θ holds the entries of the matrix, or its rotation, scales and shears."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..._errors import shown
from ..._hints import require_name
from ..._types import Theta
from ..bounds import Bounds
from ..describe import affine_parts
from ..homogeneous import Homogeneous
from ..numerics.matrices import Matrix
from ..numerics.rotation import from_parts, rotation_entries, to_parts

Parts: TypeAlias = Literal["matrix", "geometric"]  # what θ holds


class Affine(Homogeneous):
    """Rotation, scales, shear and translation in one matrix (eq. 1).

    θ holds the matrix row by row, in normalised units, from target to source: in 2-D
    `(m11, m12, tx, m21, m22, ty)`, P = 6; in 3-D three rows of four, P = 12. A scale below 1 reads
    a part of the source, so the picture grows. tx = 1 moves the grid by half the source's width.

    With `parameters="geometric"` θ holds the parts of the matrix, R · shear · scales and the
    translation: `(rotation, sx, sy, kxy, tx, ty)`, P = 6, or
    `(rx, ry, rz, sx, sy, sz, kxy, kxz, kyz, tx, ty, tz)`, P = 12; angles in radians, in 3-D as the
    axis times the angle. Then `bounds` can keep each part where it makes sense.

    Convention: x' = m11 x + m12 y + tx, y' = m21 x + m22 y + ty, with y pointing down.

    Args:
        ndim: 2 for images, 3 for volumes.
        parameters: `matrix` or `geometric`.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Example:
        >>> affine = Affine()
        >>> affine.identity()
        tensor([1., 0., 0., 0., 1., 0.])
        >>> zoom = torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.5, 0.0]])
        >>> affine.transform_points(zoom, torch.tensor([[[1.0, -1.0]]])).tolist()
        [[[0.5, -0.5]]]
        >>> Affine(ndim=3).grid(torch.zeros(2, 12), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])
        >>> upright = Affine(parameters="geometric", bounds={"sx": (0.1, None), "sy": (0.1, None)})
        >>> upright.entries
        ('rotation', 'sx', 'sy', 'kxy', 'tx', 'ty')

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.2, eq. 1.

    """

    def __init__(
        self,
        ndim: int = 2,
        *,
        parameters: Parts = "matrix",
        bounds: Bounds | None = None,
    ):
        super().__init__(ndim)
        require_name(parameters, Parts, f"Affine(parameters={shown(parameters)}) was asked for")
        self.parameters_are = parameters
        self._set_bounds(bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """The matrix, row by row; or rotation, scales, shears and translation."""
        axes = "xyz"[: self.ndim]
        if self._is_matrix:
            return tuple(
                f"m{r + 1}{c + 1}" if c < self.ndim else f"t{axes[r]}"
                for r in range(self.ndim)
                for c in range(self.ndim + 1)
            )
        scales, translations = (tuple(f"{kind}{a}" for a in axes) for kind in "st")
        shears = tuple(f"k{a}{b}" for i, a in enumerate(axes) for b in axes[i + 1 :])
        return (*rotation_entries(self.ndim), *scales, *shears, *translations)

    @property
    def num_parameters(self) -> int:
        """P, the width of θ."""
        return self.ndim * (self.ndim + 1)

    def identity(self) -> Float[Tensor, "P"]:
        """Return the identity matrix and no translation."""
        if self._is_matrix:
            return torch.eye(self.ndim, self.ndim + 1, device="cpu", dtype=torch.float32).flatten()
        ones = [float(name[0] == "s") for name in self.entries]
        return torch.tensor(ones, device="cpu", dtype=torch.float32)

    def _matrix(self, values: Tensor) -> Matrix:
        """Return θ as a matrix."""
        if self._is_matrix:
            return values.reshape(values.shape[0], self.ndim, self.ndim + 1)
        return from_parts(values, self.ndim)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return rotation, scales, shears and translations; see `affine_parts`."""
        return affine_parts(self.matrix(theta))

    @property
    def _is_matrix(self) -> bool:
        return self.parameters_are == "matrix"

    def _read(self, matrix: Matrix) -> Tensor:
        return matrix.flatten(1) if self._is_matrix else to_parts(matrix)
