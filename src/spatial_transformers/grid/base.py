"""The contract of the grid generator (section 3.2): θ → T_θ(G).

A `Transformation` maps *target* (output) to *source* (input) coordinates. `Homogeneous` is every
family whose T_θ is a matrix on homogeneous coordinates (eq. 1); a family's own file says only how
θ fills that matrix and how it is read back.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._context import at_least_float32, context, without_autocast
from .._types import Grid, InputError, Points, Size, Theta, require_same_batch
from .regular import (
    Frame,
    as_size,
    centred_axes,
    half_extents,
    normalised_frame,
    pixel_frame,
    regular_grid,
)


class Transformation(nn.Module, ABC):
    """A parameterised, differentiable map T_θ from target to source coordinates.

    Coordinates are normalised to [-1, 1], (x, y) or (x, y, z). θ is a flat (N, P) tensor and is
    taken in float32 or better, also under autocast.

    Args:
        ndim: 2 for images, 3 for volumes.

    """

    ndim: int

    def __init__(self, ndim: int = 2):
        super().__init__()
        if ndim not in (2, 3):
            raise InputError(f"{type(self).__name__}(ndim={ndim!r}): ndim is 2 or 3")
        self.ndim = ndim

    @property
    @abstractmethod
    def entries(self) -> tuple[str, ...]:
        """The name of every entry of θ, in order."""

    @abstractmethod
    def identity(self) -> Float[Tensor, "P"]:
        """Return the θ that maps every point to itself, in float32 on the CPU."""

    @abstractmethod
    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return what a person reads in θ: a value per image under names that give the unit."""

    @abstractmethod
    def inverse(self, theta: Theta) -> Theta:
        """Return the θ of the inverse map.

        Raises:
            InputError: if a map of the batch has no inverse (not checked while tracing), or the
                family is not closed under inversion.

        """

    @abstractmethod
    def compose(self, outer: Theta, inner: Theta) -> Theta:
        """Return the θ of T_outer ∘ T_inner, which maps points by `inner` first."""

    @abstractmethod
    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points (N, K, ndim) back to target coordinates."""

    @abstractmethod
    def _evaluate(
        self, theta: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        """Map the target points `positions[a] / extents[a]` and give the result in `source` units.

        `positions` has one tensor per axis, x first, broadcastable with each other and with
        (N, ...).
        """

    @property
    def num_parameters(self) -> int:
        """P, the width of θ."""
        return len(self.entries)

    def grid(self, theta: Theta, size: Size, *, align_corners: bool = False) -> Grid:
        """Return T_θ(G) for a target of `size`: normalised source coordinates (N, *size, ndim)."""
        size = as_size(size, self.ndim)
        return self._on_lattice(theta, size, align_corners, normalised_frame(self.ndim))

    def pixels(
        self, theta: Theta, size: Size, source_size: Size, *, align_corners: bool = False
    ) -> Grid:
        """Return T_θ(G) as pixel indices of a source image: (N, *size, ndim).

        Computed without a detour over [-1, 1], so that the identity gives exact integers.
        """
        size, source_size = as_size(size, self.ndim), as_size(source_size, self.ndim)
        return self._on_lattice(theta, size, align_corners, pixel_frame(source_size, align_corners))

    def transform_points(self, theta: Theta, points: Points) -> Points:
        """Map target points (N, K, ndim) to source coordinates, as the grid is mapped."""
        theta = self.check(theta)
        if points.ndim != 3 or points.shape[-1] != self.ndim:
            raise InputError(
                f"{self} was given points of shape {tuple(points.shape)}; give (N, K, {self.ndim})"
            )
        require_same_batch(theta, points, f"mapping of points by {self}")
        with without_autocast(theta.device):
            positions = at_least_float32(points).unbind(-1)
            frame = normalised_frame(self.ndim)
            return self._evaluate(theta, positions, frame.scale, frame)

    def check(self, theta: Tensor) -> Tensor:
        """Return θ in float32 or better.

        Raises:
            InputError: if θ is not a floating (N, P) tensor.

        """
        if theta.ndim != 2 or theta.shape[1] != self.num_parameters:
            raise InputError(
                f"{self} was given theta of shape {tuple(theta.shape)}; give (N, "
                f"{self.num_parameters}), the entries being {' '.join(self.entries)}"
            )
        if not theta.is_floating_point():
            raise InputError(f"{self} was given {theta.dtype} theta; give a floating dtype")
        return at_least_float32(theta)

    def extra_repr(self) -> str:
        """Show the number of dimensions."""
        return f"ndim={self.ndim}"

    def _on_lattice(
        self, theta: Tensor, size: tuple[int, ...], align_corners: bool, source: Frame
    ) -> Tensor:
        theta = self.check(theta)
        with without_autocast(theta.device):
            positions = centred_axes(size, dtype=theta.dtype, device=theta.device)
            return self._evaluate(theta, positions, half_extents(size, align_corners), source)


class Homogeneous(Transformation):
    """T_θ = M_θ B with B = (x, y[, z], 1): the families of eq. 1."""

    @abstractmethod
    def matrix(self, theta: Theta) -> Float[Tensor, "N ndim ndim+1"]:
        """Return M_θ, which maps homogeneous target to source coordinates."""

    @abstractmethod
    def from_matrix(self, matrix: Float[Tensor, "N ndim ndim+1"]) -> Theta:
        """Return the θ of a matrix of this family."""

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
        matrix = self.matrix(theta)
        linear, translation = matrix[:, :, :-1], matrix[:, :, -1]
        adjugate, determinant = _adjugate(linear)
        if context() == "eager":
            self._refuse_singular(determinant)
        inverse = adjugate / determinant[:, None, None]
        moved = -(inverse * translation[:, None, :]).sum(-1, keepdim=True)
        return self.from_matrix(torch.cat((inverse, moved), -1))

    def compose(self, outer: Theta, inner: Theta) -> Theta:
        """Return the θ of T_outer ∘ T_inner; see `Transformation.compose`."""
        require_same_batch(outer, inner, f"composition of {self}")
        a, b = self.matrix(outer), self.matrix(inner)
        linear = a[:, :, :-1]
        product = (linear[:, :, :, None] * b[:, None, :, :]).sum(2)  # no matmul: autocast, TF32
        translation = product[:, :, -1:] + a[:, :, -1:]
        return self.from_matrix(torch.cat((product[:, :, :-1], translation), -1))

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points back to target coordinates, in closed form."""
        return self.transform_points(self.inverse(theta), points)

    def _evaluate(
        self, theta: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        """Evaluate row r as `(m_x x + (m_y y + (m_z z + t))) + centre`, without contraction.

        Units are folded into the matrix first. On a lattice of the source's own size that factor is
        exactly 1 and positions are exact, so the identity lands on exact integers.
        """
        matrix = self.matrix(theta)  # (N, ndim, ndim + 1)
        per_image = (-1, *[1] * (positions[0].ndim - 1))
        rows = []
        for r, (scale, centre) in enumerate(zip(*source, strict=True)):
            row = (matrix[:, r, -1] * scale).reshape(per_image)
            for c in reversed(range(self.ndim)):  # x last: the one addition of the full size
                weight = matrix[:, r, c] * (scale / extents[c])
                row = weight.reshape(per_image) * positions[c] + row
            rows.append(row + centre)
        return torch.stack(rows, -1)  # (N, ..., ndim)

    def _refuse_singular(self, determinant: Tensor) -> None:
        singular = (determinant == 0) | ~determinant.isfinite()
        if singular.any():
            samples = singular.nonzero().flatten().tolist()
            raise InputError(
                f"the inverse of {self} was asked, but the map of sample "
                f"{', '.join(map(str, samples[:8]))} of the batch has determinant 0 or not finite; "
                "leave it out, or keep scales away from 0"
            )


def _adjugate(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return adjugate and determinant of 2×2 or 3×3 matrices, in operations that export."""
    if matrix.shape[-1] == 2:
        (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
        rows = torch.stack((d, -b, -c, a), -1).unflatten(-1, (2, 2))
        return rows, a * d - b * c
    x, y, z = matrix.unbind(-2)
    columns = [torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)]
    return torch.stack(columns, -1), (x * columns[0]).sum(-1)
