"""The maps that are matrices on homogeneous coordinates: T_θ = M_θ B, B = (x, y[, z], 1) (eq. 1).

A family's own file says only how θ fills the matrix and how it is read back. With `perspective`
the matrix has one more row, w, by which the coordinates are divided.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from .._context import context, refuse_samples
from .._errors import InputError
from .._types import Points, Theta, require_same_batch, require_tensor
from .linear import NEAREST, Linear, apply_matrix
from .numerics.matrices import Matrix, invert, product, square
from .regular import normalised_frame

_ALIKE = 1e-3  # largest difference of a matrix from the family's closest, relative to its entries


class Homogeneous(Linear):
    """T_θ = M_θ B with B = (x, y[, z], 1): the families of eq. 1.

    Derive from it for a family of your own. Say how θ fills the matrix (`_matrix`) and how it is
    read back from one (`_read`); see `Linear`.

    Args:
        ndim: 2 for images, 3 for volumes.

    """

    @abstractmethod
    def _read(self, matrix: Matrix) -> Tensor:
        """Return the values of θ's entries from a matrix with as many rows as `matrix` returns."""

    def from_matrix(self, matrix: Matrix) -> Theta:
        """Return the θ (N, P) of normalised matrices of this family.

        Args:
            matrix: (N, ndim, ndim + 1), or square with the last row (0, …, 0, 1). In a family with
                perspective the last row may be any whose last entry is above 1e-6.

        Raises:
            InputError: naming the samples that the family, with its bounds, does not contain (not
                checked while tracing).

        """
        require_tensor(matrix, self, "matrices")
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

    def inverse(self, theta: Theta) -> Theta:
        """Return the θ of the inverse map; see `Transformation.inverse`."""
        return self.from_matrix(invert(self.matrix(theta), f"the inverse of {self}"))

    def compose(self, outer: Theta, inner: Theta) -> Theta:
        """Return the θ of T_outer ∘ T_inner; see `Transformation.compose`."""
        first, second = square(self.matrix(outer)), square(self.matrix(inner))
        require_same_batch(first, second, "composition of ", self)
        return self.from_matrix(product(first, second))

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points back to target coordinates, in closed form; singular maps give NaN."""
        theta, points = self._checked(theta, points)
        frame = normalised_frame(self.ndim)
        inverse = invert(self._matrix(self._values(theta)), None)
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
