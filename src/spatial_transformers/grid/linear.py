"""The paper's general class (end of section 3.2): T_θ = M_θ B, a matrix times functions.

The first rows of B are the homogeneous coordinates x, y[, z] and 1. A family may have further rows
below them, which are functions of the target. A family's own file says only how θ fills the matrix,
and what its further functions are. All of them are evaluated here, or by a fused backend.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import InputError
from .._types import Size, Theta
from .regular import Frame, as_target, centred_axes, half_extents, over_extents
from .transformation import Transformation

NEAREST = 1e-6  # the smallest w in front of the camera: below, gradients in float32 overflow


class Linear(Transformation):
    """T_θ = M_θ B: source coordinates are weighted sums of fixed functions of the target.

    Derive from it for a family of your own. Say how θ fills the matrix (`_matrix`), and give the
    functions below the homogeneous coordinates in `_functions`, if there are any. A family whose B
    has none derives from `Homogeneous`, which adds the inverse, composition and `from_matrix`.

    Both sides are in normalised units, [-1, 1] over the extent. M maps target to source: row 0
    gives x of the source, row 1 gives y. Column c belongs to row c of B: x, y[, z], 1, b1, …, bK.
    B may hold anything but θ. The compiled backends of `warp` run every such family by its matrix,
    and never store the grid.

    Args:
        ndim: 2 for images, 3 for volumes.

    Example:
        A parabola bends the rows of the image; θ is how far it moves the left and right edges.

        >>> from spatial_transformers import Linear
        >>> class Bend(Linear):
        ...     entries = ("bend",)
        ...     def identity(self):
        ...         return torch.zeros(1)
        ...     def describe(self, theta):
        ...         return {"bend (half heights)": self.values(theta)[:, 0]}
        ...     def _matrix(self, values):
        ...         bend = values[:, 0, None, None]  # (N, 1, 1)
        ...         last = torch.cat((torch.zeros_like(bend), bend), 1)  # (N, 2, 1)
        ...         return torch.cat((torch.eye(2, 3).to(last).expand(len(bend), 2, 3), last), 2)
        ...     def _functions(self, coordinates):
        ...         return (coordinates[0] ** 2,)
        >>> points = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
        >>> Bend().transform_points(torch.tensor([[0.5]]), points).tolist()
        [[[0.0, 0.0], [1.0, 0.5]]]
        >>> Bend().basis((3, 4)).shape  # x, y, 1 and the parabola, at every pixel
        torch.Size([4, 3, 4])
        >>> Bend().grid(torch.zeros(2, 1), (5, 6)).shape
        torch.Size([2, 5, 6, 2])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, end of section 3.2.

    """

    #: Whether the matrix has a last row, w, by which coordinates are divided.
    perspective: bool = False

    def matrix(self, theta: Theta) -> Float[Tensor, "N out rows"]:
        """Return M_θ, target to source: (N, ndim, ndim + 1 + K), a row more with `perspective`."""
        return self._matrix(self.values(theta))

    @abstractmethod
    def _matrix(self, values: Tensor) -> Float[Tensor, "N out rows"]:
        """Return M_θ for `values(theta)`, (N, P)."""

    def basis(
        self,
        size: Size,
        *,
        align_corners: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "rows *target"]:
        """Return B for a target of `size`: (ndim + 1 + K, *size), in normalised units.

        `device` is that of the module's own tensors unless given.
        """
        size = as_target(size, self.ndim)
        if device is None:
            device = next((t.device for t in chain(self.parameters(), self.buffers())), None)
        axes = centred_axes(size, dtype=dtype, device=device)
        coordinates = over_extents(axes, half_extents(size, align_corners))  # (1, *size) each
        one = torch.ones_like(coordinates[0])
        rows = (*coordinates, one, *self._functions(coordinates))
        return torch.cat([row.expand(1, *size) for row in rows])

    def _functions(self, coordinates: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the rows of B below the homogeneous coordinates, K tensors; none by default.

        `coordinates` has one tensor of normalised target coordinates per axis, x first,
        broadcastable with each other and with (N, ...): on a lattice, each extends along its own
        axis only. Every row is to be broadcastable to the same shape.
        """
        del coordinates
        return ()

    def _evaluate(
        self, values: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        matrix, functions = self._matrix(values), ()
        further = matrix.shape[2] - self.ndim - 1
        if further:
            functions = self._functions(over_extents(positions, extents))
        if len(functions) != further:
            raise InputError(
                f"{self} was asked for a grid, but its matrix has {matrix.shape[2]} columns and B "
                f"has {self.ndim + 1 + len(functions)} rows; give as many of both"
            )
        return apply_matrix(matrix, positions, extents, source, functions)


def apply_matrix(
    matrix: Tensor,
    positions: Sequence[Tensor],
    extents: Sequence[float],
    source: Frame,
    functions: Sequence[Tensor] = (),
) -> Tensor:
    """Evaluate row r as `(m_x x + (m_y y + (m_z z + t))) + centre`, rounding every operation.

    Units are folded into the matrix first. On a lattice of the source's own size the factor of the
    units is exactly 1 and positions are exact, so the identity lands on exact integers. If there is
    one more row, w, coordinates are divided by it before the centre is added; points with w ≤ 0,
    behind the camera, are NaN. Weighted `functions` of the target, whose columns follow that of t,
    are added last.
    """
    ndim = len(positions)
    per_image = (-1, *[1] * (positions[0].ndim - 1))

    def row(r: int, scale: float) -> Tensor:
        total = (matrix[:, r, ndim] * scale).reshape(per_image)
        for c in reversed(range(ndim)):  # x last: the only addition of full size
            weight = matrix[:, r, c] * (scale / extents[c])
            total = weight.reshape(per_image) * positions[c] + total
        for k, function in enumerate(functions):
            total = total + (matrix[:, r, ndim + 1 + k] * scale).reshape(per_image) * function
        return total

    rows = [row(r, scale) for r, scale in enumerate(source.scale)]
    if matrix.shape[1] > ndim:
        w = row(ndim, 1.0)
        rows = [_divided(x, w, (w > NEAREST) & w.isfinite() & x.isfinite()) for x in rows]
    return torch.stack([x + c for x, c in zip(rows, source.centre, strict=True)], -1)


def _divided(x: Tensor, w: Tensor, valid: Tensor) -> Tensor:
    """Return x / w, and NaN without a gradient where not `valid`."""
    return (x.where(valid, 0) / w.where(valid, 1)).where(valid, torch.nan)
