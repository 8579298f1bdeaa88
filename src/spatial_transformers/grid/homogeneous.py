"""The maps that are matrices on homogeneous coordinates: T_θ = M_θ B, B = (x, y[, z], 1) (eq. 1).

A family's own file says only how θ fills the matrix and how it is read back. With `perspective`
the matrix has one more row, w, by which the coordinates are divided.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .._context import context, refuse_samples
from .._types import InputError, Points, Size, Theta, require_same_batch
from .numerics.matrices import Matrix, invert, product, square
from .regular import Frame, normalised_frame, regular_grid
from .transformation import Transformation

NEAREST = 1e-6  # the smallest w in front of the camera: below, gradients in float32 overflow
_ALIKE = 1e-3  # largest difference of a matrix from the family's closest, relative to its entries


class Homogeneous(Transformation):
    """T_θ = M_θ B with B = (x, y[, z], 1): the families of eq. 1."""

    #: Whether the matrix has a last row, w, by which coordinates are divided.
    perspective: bool = False

    @abstractmethod
    def matrix(self, theta: Theta) -> Matrix:
        """Return M_θ, target to source: (N, ndim, ndim + 1), and a row more with `perspective`."""

    @abstractmethod
    def _read(self, matrix: Matrix) -> Tensor:
        """Return the values of the entries of θ in a matrix of the rows that `matrix` has."""

    def from_matrix(self, matrix: Matrix) -> Theta:
        """Return the θ (N, P) of normalised matrices of this family.

        Args:
            matrix: (N, ndim, ndim + 1), or square: with a last row (0, …, 0, 1) or, of a family
                with perspective, any last entry above 1e-6.

        Raises:
            InputError: naming the samples that the family, with its bounds, does not contain (not
                checked while tracing).

        """
        theta = self._theta(self._read(self._own_rows(matrix)))
        if context() == "eager":
            found, wanted = square(self.matrix(theta.detach())), square(matrix.detach())
            wanted = wanted / wanted[:, -1:, -1:]
            largest = wanted.abs().amax((1, 2))
            off = ~((found - wanted).abs().amax((1, 2)) <= _ALIKE * largest)
            refuse_samples(
                off & wanted.isfinite().all((1, 2)),
                f"the theta of given or computed maps was asked of {self}, but {{}} is not of this "
                "family; choose one that holds it",
            )
        return theta

    def basis(
        self,
        size: Size,
        *,
        align_corners: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "rows *target"]:
        """Return B for a target of `size`: its homogeneous coordinates (ndim + 1, *size)."""
        grid = regular_grid(
            size, ndim=self.ndim, align_corners=align_corners, dtype=dtype, device=device
        )
        return torch.cat((grid, torch.ones_like(grid[..., :1])), -1).movedim(-1, 0)

    def inverse(self, theta: Theta) -> Theta:
        """Return the θ of the inverse map; see `Transformation.inverse`."""
        return self.from_matrix(invert(self.matrix(theta), f"the inverse of {self}"))

    def compose(self, outer: Theta, inner: Theta) -> Theta:
        """Return the θ of T_outer ∘ T_inner; see `Transformation.compose`."""
        require_same_batch(outer, inner, f"composition of {self}")
        return self.from_matrix(product(square(self.matrix(outer)), square(self.matrix(inner))))

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points back to target coordinates, in closed form; NaN by singular maps."""
        theta, points = self._checked(theta, points)
        frame = normalised_frame(self.ndim)
        inverse = invert(self.matrix(theta), None)
        return apply_matrix(inverse, points.unbind(-1), frame.scale, frame)

    def _own_rows(self, matrix: Tensor) -> Tensor:
        """Give a matrix the rows of the family, with a last entry of 1 if it is square."""
        full = square(matrix)
        if full.shape[1] != self.ndim + 1:
            raise InputError(
                f"{self} was given matrices of shape {tuple(matrix.shape)}; give (N, {self.ndim}, "
                f"{self.ndim + 1}) or (N, {self.ndim + 1}, {self.ndim + 1})"
            )
        if matrix is not full and not self.perspective:
            return matrix
        last = full[:, -1, -1]
        front = last > NEAREST
        refuse_samples(
            ~front & ~last.isnan(),
            f"the theta of given or computed maps was asked of {self}, but in {{}} the last entry "
            "of the matrix, w at the origin, is not above 1e-6; no theta puts the origin behind "
            "the camera",
        )
        scaled = full / last.where(front, torch.nan)[:, None, None]
        return scaled if self.perspective else scaled[:, :-1]

    def _evaluate(
        self, theta: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        return apply_matrix(self.matrix(theta), positions, extents, source)


def apply_matrix(
    matrix: Tensor,
    positions: Sequence[Tensor],
    extents: Sequence[float],
    source: Frame,
    functions: Sequence[Tensor] = (),
) -> Tensor:
    """Evaluate row r as `(m_x x + (m_y y + (m_z z + t))) + centre`, without contraction.

    Units are folded into the matrix first. On a lattice of the source's own size that factor is
    exactly 1 and positions are exact, so the identity lands on exact integers. A row more than
    coordinates, w, divides before the centre is added; points with w ≤ 0, behind the camera, are
    NaN. Weighted `functions` of the target, whose columns follow that of t, are added last.
    """
    ndim = len(positions)
    per_image = (-1, *[1] * (positions[0].ndim - 1))

    def row(r: int, scale: float) -> Tensor:
        total = (matrix[:, r, ndim] * scale).reshape(per_image)
        for c in reversed(range(ndim)):  # x last: the one addition of the full size
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
    """Return x / w, and NaN without a gradient where that is not valid."""
    return (x.where(valid, 0) / w.where(valid, 1)).where(valid, torch.nan)
