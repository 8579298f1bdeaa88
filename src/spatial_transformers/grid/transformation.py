"""The contract of the grid generator (section 3.2): θ → T_θ(G).

A `Transformation` maps *target* (output) to *source* (input) coordinates. A family derives from
`Homogeneous` if it is a matrix on homogeneous coordinates (eq. 1), from `Linear` if it is a matrix
on further functions too, from `Deformation` if it adds a displacement to every point, and from
`Transformation` itself otherwise.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._config import Configured
from .._context import at_least_float32, refuse_samples, without_autocast
from .._errors import InputError, brief
from .._types import Grid, Points, Size, Theta, require_same_batch, require_tensor
from .bounds import Bounds, Squash
from .numerics.matrices import adjugate
from .regular import (
    Frame,
    as_size,
    as_target,
    centred_axes,
    half_extents,
    normalised_frame,
    pixel_frame,
    regular_grid,
)

_SEARCH_STEPS = 8  # of Newton's method in `inverse_points`
_POLISHING_STEPS = 2  # the last steps, which carry first and second derivatives
_NAMED = 10_000  # the most entries that messages name some of
_FOUND = 1e-3  # largest error of a point that `inverse_points` gives, in half extents


class Transformation(Configured, ABC):
    """A parameterised, differentiable map T_θ from target to source coordinates.

    Coordinates are normalised to [-1, 1], (x, y) or (x, y, z). θ is a flat (N, P) tensor and is
    taken in float32 or better, also under autocast.

    Args:
        ndim: 2 for images, 3 for volumes.

    """

    ndim: int
    #: The numbers of dimensions that the family exists in.
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, ndim: int = 2):
        super().__init__()
        if type(ndim) is not int or ndim not in self.dimensions:
            known = " or ".join(map(str, self.dimensions))
            raise InputError(f"{type(self).__name__}(ndim={ndim!r}): ndim is {known}")
        self.ndim = ndim
        self._squash: Squash | None = None
        self._bounds: Bounds | None = None  # as they were given

    @property
    @abstractmethod
    def entries(self) -> Sequence[str]:
        """The name of every entry of θ, in order."""

    @abstractmethod
    def identity(self) -> Float[Tensor, "P"]:
        """Return the θ that maps every point to itself, in float32 on the CPU."""

    @abstractmethod
    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return what a person reads in θ: a value per image under names that give the unit."""

    @abstractmethod
    def _evaluate(
        self, values: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        """Map the target points `positions[a] / extents[a]` and give the result in `source` units.

        `values` are those of `values(theta)`: θ is checked and bounded there, and nowhere below.
        `positions` has one tensor per axis, x first, broadcastable with each other and with
        (N, ...).
        """

    def inverse(self, theta: Theta) -> Theta:
        """Return the θ of the inverse map.

        Raises:
            InputError: if a map of the batch has no inverse in the family (not checked while
                tracing), or the family is not closed under inversion.

        """
        raise InputError(
            f"the inverse of {self} was asked for, but no theta of the family describes it; "
            "inverse_points maps points back"
        )

    def compose(self, outer: Theta, inner: Theta) -> Theta:
        """Return the θ of T_outer ∘ T_inner, which maps points by `inner` first.

        Raises:
            InputError: if a result lies outside the family (not checked while tracing), or the
                family is not closed under composition.

        """
        raise InputError(
            f"the composition of two maps of {self} was asked for, but no theta of the family "
            "describes it; Compose(outer, inner) chains them with one resampling"
        )

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points (N, K, ndim) back to target coordinates.

        A family without a closed form searches by Newton's method from the point itself. Commonly
        the result is right to rounding, at worst to 1e-3 of half an extent. A point that is not
        found, for instance because no target point maps there, is NaN.
        """
        theta, points = self._checked(theta, points)
        values = self._values(theta)
        with without_autocast(theta.device):
            found = points
            with torch.no_grad():
                for _ in range(_SEARCH_STEPS):
                    found = self._newton_step(values, found, points)
            for _ in range(_POLISHING_STEPS):
                found = self._newton_step(values, found, points)
            error = (self._map(values, found) - points).detach().abs().amax(-1, keepdim=True)
            return found.where(error <= _FOUND, torch.nan)

    @property
    def num_parameters(self) -> int:
        """P, the width of θ."""
        return len(self.entries)

    def forward(self, theta: Theta, size: Size, *, align_corners: bool = False) -> Grid:
        """Return T_θ(G), as `grid` does."""
        return self.grid(theta, size, align_corners=align_corners)

    def grid(self, theta: Theta, size: Size, *, align_corners: bool = False) -> Grid:
        """Return T_θ(G) for a target of `size`: normalised source coordinates (N, *size, ndim)."""
        size = as_target(size, self.ndim)
        return self._on_lattice(
            self.values(theta), size, align_corners, normalised_frame(self.ndim)
        )

    def pixels(
        self, theta: Theta, size: Size, source_size: Size, *, align_corners: bool = False
    ) -> Grid:
        """Return T_θ(G) as pixel indices of a source image: (N, *size, ndim).

        Computed without a detour over [-1, 1], so that the identity gives exact integers.
        """
        size, source_size = as_target(size, self.ndim), as_size(source_size, self.ndim)
        return self._on_lattice(
            self.values(theta), size, align_corners, pixel_frame(source_size, align_corners)
        )

    def spacing(
        self, theta: Theta, size: Size, source_size: Size, *, align_corners: bool = False
    ) -> Float[Tensor, "N *target ndim ndim"]:
        """Return how many source pixels one target pixel covers: (N, *size, ndim, ndim).

        There is a column per target axis: how far apart the two edges of the pixel, half a pixel to
        either side of its centre, are mapped. So a target of one pixel has a spacing, too.
        """
        size, source_size = as_target(size, self.ndim), as_size(source_size, self.ndim)
        return self._spacing(
            self.values(theta), size, align_corners, pixel_frame(source_size, align_corners)
        )

    def transform_points(self, theta: Theta, points: Points) -> Points:
        """Map target points (N, K, ndim) to source coordinates, as the grid is mapped."""
        theta, points = self._checked(theta, points)
        with without_autocast(theta.device):
            return self._map(self._values(theta), points)

    def jacobian_determinant(
        self, theta: Theta, size: Size, *, align_corners: bool = False
    ) -> Float[Tensor, "N *target"]:
        """Return det ∂T_θ/∂G at every pixel of a target of `size`: (N, *size).

        It is the area (volume) of source that a unit of target reads, in normalised units: 1 at the
        identity, negative where the map folds, NaN where a point has no image. It is computed by
        forward-mode differentiation, so it is exact, and differentiable in θ.
        """
        size = as_target(size, self.ndim)
        values = self.values(theta)
        with without_autocast(values.device):
            grid = regular_grid(
                size,
                ndim=self.ndim,
                align_corners=align_corners,
                dtype=values.dtype,
                device=values.device,
            )
            points = grid.flatten(0, -2).expand(values.shape[0], -1, -1)
            mapped, jacobian = self._with_jacobian(values, points)
            _, determinant = adjugate(jacobian)
            return torch.unflatten(determinant.where(mapped.isfinite().all(-1), torch.nan), 1, size)

    def values(self, theta: Theta) -> Theta:
        """Return the entries as the map uses them: θ itself, or θ brought within its bounds."""
        return self._values(self.check(theta))

    def without_bounds(self) -> "Transformation":
        """Return the family without its bounds: its θ are what `values` of this one returns.

        It has this one's tensors, not copies; without bounds it is this one.
        """
        if self._squash is None:
            return self
        view = self._replaced(_squash=None)
        view._bounds = None  # which families of points set anew, about those of a state
        return view

    def check(self, theta: Tensor) -> Tensor:
        """Return θ in float32 or better.

        Raises:
            InputError: if θ is not a floating (N, P) tensor.

        """
        require_tensor(theta, self, "theta")
        if theta.ndim != 2 or theta.shape[1] != self.num_parameters:
            raise InputError(
                f"{self} was given theta of shape {tuple(theta.shape)}; give (N, "
                f"{self.num_parameters}){self._named_entries()}"
            )
        if not theta.is_floating_point():
            raise InputError(f"{self} was given {theta.dtype} theta; give a floating dtype")
        return at_least_float32(theta)

    def __str__(self) -> str:
        return brief(self)  # as messages name it, also where a repr holds many points

    def _argument(self, name: str) -> Any:
        if name == "bounds":
            return None if self._squash is None else self._squash.bounds
        return super()._argument("parameters_are" if name == "parameters" else name)

    def _set_bounds(self, bounds: Bounds | None) -> None:
        """Bound the entries; a family that has bounds calls it last in its constructor."""
        if bounds is not None:
            self._squash = Squash(bounds, self.entries, self.identity(), str(self))

    def _replaced(self, **modules: nn.Module | None) -> "Transformation":
        """Return this transformation with other sub-modules, and its own tensors."""
        view = copy.copy(self)
        kept = {n: m for n, m in self._modules.items() if n not in modules}
        object.__setattr__(view, "_modules", kept)
        for name, module in modules.items():
            setattr(view, name, module)
        return view

    def _values(self, theta: Tensor) -> Tensor:
        """Return the entries as the map uses them, of a θ that is checked."""
        return theta if self._squash is None else self._squash(theta)

    def _theta(self, values: Tensor) -> Tensor:
        """Return the θ of given values of the entries; refuse values out of bounds."""
        if self._squash is None:
            return values
        theta = self._squash.inverse(values)
        refuse_samples(
            (values.isfinite() & ~theta.isfinite()).any(1),
            f"the theta of given or computed maps was asked of {self}, but {{}} is out of its "
            "bounds; widen them, or leave it out",
        )
        return theta

    def _named_entries(self, most: int = 64) -> str:
        if self.num_parameters > _NAMED:  # whose names take long to make
            return ""
        names = self.entries
        if len(names) > most:
            names = (*names[: most // 2], "…", names[-1])
        return f", the entries being {' '.join(names)}"

    def _checked(self, theta: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Check θ and points, and give both the same batch and dtype."""
        theta = self.check(theta)
        require_tensor(points, self, "points")
        if points.ndim != 3 or points.shape[-1] != self.ndim:
            raise InputError(
                f"{self} was given points of shape {tuple(points.shape)}; give (N, K, {self.ndim})"
            )
        require_same_batch(theta, points, "mapping of points by ", self)
        if not points.is_floating_point():
            raise InputError(f"{self} was given {points.dtype} points; give a floating dtype")
        precise = torch.promote_types(theta.dtype, points.dtype)
        theta, points = theta.to(precise), points.to(precise)
        if points.shape[0] == 1 and theta.shape[0] != 1:
            points = points.expand(theta.shape[0], -1, -1)
        return theta, points

    def _map(self, values: Tensor, points: Tensor) -> Tensor:
        """Map normalised (N, K, ndim) to normalised coordinates."""
        frame = normalised_frame(self.ndim)
        return self._evaluate(values, points.unbind(-1), frame.scale, frame)

    def _with_jacobian(self, values: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return T_θ (N, K, ndim), and ∂T_θ/∂point (N, K, ndim, ndim) with a column per axis."""
        points = points.contiguous()  # a tangent of expanded points would write on itself
        found = []
        for direction in torch.eye(self.ndim, dtype=points.dtype, device=points.device):
            along = direction.expand_as(points).contiguous()
            found.append(torch.func.jvp(lambda p: self._map(values, p), (points,), (along,)))
        return found[0][0], torch.stack([column for _, column in found], -1)

    def _newton_step(self, values: Tensor, found: Tensor, wanted: Tensor) -> Tensor:
        """Move `found` towards where the map gives `wanted`, by half an extent per axis at most.

        Slopes are central differences, in one evaluation: forward mode would not trace dynamic
        shapes.
        """
        step = torch.finfo(found.dtype).eps ** (1 / 3)
        offsets = step * torch.eye(self.ndim, dtype=found.dtype, device=found.device)
        shifts = torch.cat((torch.zeros_like(offsets[:1]), offsets, -offsets))
        around = (found[:, None] + shifts[:, None]).flatten(1, 2)  # (N, (1 + 2 ndim) K, ndim)
        here, *shifted = torch.unflatten(
            self._map(values, around), 1, (len(shifts), found.shape[1])
        ).unbind(1)
        ahead, behind = shifted[: self.ndim], shifted[self.ndim :]
        slopes = [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
        inverse, determinant = adjugate(torch.stack(slopes, -1))
        missing = wanted - here
        regular = determinant != 0
        newton = (inverse * missing[..., None, :]).sum(-1)
        newton = newton / determinant.where(regular, 1)[..., None]
        return found + newton.where(regular[..., None], missing).clamp(-0.5, 0.5)

    def _on_lattice(
        self, values: Tensor, size: tuple[int, ...], align_corners: bool, source: Frame
    ) -> Tensor:
        """Return T_θ(G) in `source` units: (N, *size, ndim)."""
        with without_autocast(values.device):
            positions = centred_axes(size, dtype=values.dtype, device=values.device)
            return self._evaluate(values, positions, half_extents(size, align_corners), source)

    def _spacing(
        self, values: Tensor, size: tuple[int, ...], align_corners: bool, source: Frame
    ) -> Tensor:
        """Return how far apart the edges of every pixel of the lattice are mapped."""
        extents, columns = half_extents(size, align_corners), []
        with without_autocast(values.device):
            for axis in range(self.ndim - 1, -1, -1):
                edges = [n + int(a == axis) for a, n in enumerate(size)]
                positions = centred_axes(edges, dtype=values.dtype, device=values.device)
                mapped = self._evaluate(values, positions, extents, source)
                columns.append(mapped.diff(dim=axis + 1))
        return torch.stack(columns, -1)
