"""Piecewise affine maps (section 3.2): points move one by one, triangles between them affinely.

Unlike in a thin plate spline, a point moves its own triangles only, and straight lines stay
straight within a triangle; in return the slope jumps at edges.
"""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..._context import without_autocast
from ..._errors import InputError, shown
from ..._hints import require_name
from ..._types import Points, Theta
from ..bounds import Bounds
from ..deformation import Deformation
from ..describe import displacement_parts
from ..numerics.control_points import Moves, as_counts, check_points, regular_points
from ..numerics.triangulation import Triangulation, find_triangles
from ..regular import Frame

_INDICES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_FOUND = 1e-4  # largest error of a point that `inverse_points` gives, in half extents

Outside: TypeAlias = Literal["nearest", "nan"]  # the triangle of a point outside all of them


class PiecewiseAffine(Deformation):
    """The target cut into triangles, each with the affine map that its three points give it.

    θ says where the *source* of each target point lies: `(dx1, dy1, dx2, dy2, …)`, P = 2V, the
    displacement from the point, in normalised units; with `parameters="positions"`
    `(x1, y1, x2, y2, …)`, the source positions themselves. Neighbouring triangles agree on their
    shared edge, so the map is continuous where there are triangles; its slope jumps at edges.

    A point outside all triangles follows the affine map of the nearest one; of several at the same
    distance, the first that has an edge on the outline there. The map may jump from one triangle to
    the next. With `outside="nan"` the point is NaN instead, which the sampler fills.

    The inverse is piecewise affine on the triangles of the sources, so no θ describes it.
    `inverse_points` inverts the affine maps in closed form. It gives a target point that is mapped
    to the given one, to 1e-4, or NaN where there is none. Where the map folds, and outside the
    triangles, there may be several: it gives the one deepest in its triangle. Memory is O(T·K) per
    image for T triangles and K points.

    Args:
        points: the target points: an int for a regular grid of as many points per axis, or a pair
            (rows, columns), on [-1, 1] including its ends; or your own, a tensor (V, 2).
        triangles: the indices (T, 3) of each triangle's points, in either orientation. Without them
            a cell of a regular grid is split in two, and your own points get their Delaunay
            triangles, which needs scipy.
        parameters: `displacements` or `positions`.
        outside: `nearest` or `nan`.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Raises:
        InputError: for points that coincide or belong to no triangle, and for triangles that have
            no area, overlap, meet in a part of an edge or have indices out of range, naming them.

    Example:
        >>> piecewise = PiecewiseAffine(2)
        >>> theta = torch.zeros(1, piecewise.num_parameters)
        >>> theta[0, 0] = 0.5  # the source of the top left point lies further to the right
        >>> points = torch.tensor([[[-1.0, -1.0], [-0.5, -0.5], [0.5, 0.5]]])
        >>> piecewise.transform_points(theta, points).tolist()
        [[[-0.5, -1.0], [-0.25, -0.5], [0.5, 0.5]]]
        >>> PiecewiseAffine((2, 3)).grid(torch.zeros(3, 12), (4, 6)).shape
        torch.Size([3, 4, 6, 2])

    Source: Goshtasby, Piecewise linear mapping functions for image registration, Pattern
    Recognition 19(6), 1986.

    """

    dimensions = (2,)

    def __init__(
        self,
        points: int | Sequence[int] | Sequence[Sequence[float]] | Float[Tensor, "V 2"] = 4,
        *,
        triangles: Int[Tensor, "T 3"] | Sequence[Sequence[int]] | None = None,
        parameters: Moves = "displacements",
        outside: Outside = "nearest",
        bounds: Bounds | None = None,
    ):
        super().__init__(2)
        require_name(
            parameters, Moves, f"PiecewiseAffine(parameters={shown(parameters)}) was asked for"
        )
        require_name(outside, Outside, f"PiecewiseAffine(outside={shown(outside)}) was asked for")
        self.parameters_are = parameters
        self.outside = outside
        self.mesh = _mesh(points, triangles)
        self._bounds = bounds
        self._set_bounds(bounds)
        self.register_load_state_dict_post_hook(PiecewiseAffine._centre_bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """Two entries per point, x first."""
        kind = "d" if self.parameters_are == "displacements" else ""
        return tuple(f"{kind}{a}{v + 1}" for v in range(len(self.points)) for a in "xy")

    @property
    def num_parameters(self) -> int:
        """P, the width of θ."""
        return 2 * len(self.points)

    def identity(self) -> Float[Tensor, "P"]:
        """Return no displacement, or the points themselves."""
        if self.parameters_are == "positions":
            return self.mesh.original_points.float().flatten()
        return torch.zeros(self.num_parameters, device="cpu", dtype=torch.float32)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return how far the points move; see `displacement_parts`."""
        return displacement_parts(self._moves(self.values(theta)))

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points back to target coordinates, in closed form; NaN where none is found."""
        theta, points = self._checked(theta, points)
        values = self._values(theta)
        with without_autocast(theta.device):
            moved = self.points.to(theta) + self._moves(values)
            triangle, found = self._preimage(values, moved, points)
            mapped, _ = self._back(moved, points, triangle)
            return mapped.where(found[..., None], torch.nan)

    def _centre_bounds(self, incompatible: Any) -> None:
        """Set the bounds anew, about the points of the loaded checkpoint."""
        self._set_bounds(self._bounds)
        self.to(self.points.device)

    def _evaluate(
        self, values: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        mapped = super()._evaluate(values, positions, extents, source)
        if self.outside == "nearest":
            return mapped
        return mapped.where(~mapped.isnan(), torch.nan)  # NaN without a gradient

    def _displacement(self, values: Tensor, coordinates: Sequence[Tensor]) -> Tensor:
        """Return Σ λ_i d_i, with λ the barycentric coordinates of a point in its triangle."""
        x, y = coordinates
        triangle, inside = self.mesh.locate(x, y, nearest=self.outside == "nearest")
        corners = self.mesh.triangles[triangle]  # (1 or N, ..., 3)
        moves, weights = self._moves(values), self.mesh.weights(triangle, x, y)
        parts = [
            weight[..., None] * _take(moves, corner)
            for weight, corner in zip(weights, corners.unbind(-1), strict=True)
        ]
        displacement = parts[0] + parts[1] + parts[2]  # (N, ..., 2)
        if self.outside == "nearest":
            return displacement
        return displacement.where(inside[..., None], torch.nan)

    def _argument(self, name: str) -> Any:
        if name not in ("points", "triangles"):
            return super()._argument(name)
        points, triangles = self.mesh.original_points, self.mesh.constants.original("triangles")
        counts = as_counts(points)
        if name == "points":
            return counts
        if isinstance(counts, Tensor):
            return triangles
        halves = find_triangles(points, counts, "PiecewiseAffine")
        return None if torch.equal(halves, triangles) else triangles

    @property
    def points(self) -> Float[Tensor, "V 2"]:
        """The target points, in float64."""
        return self.mesh.points

    def _moves(self, values: Tensor) -> Tensor:
        """Return the displacement of every point (N, V, 2)."""
        moves = torch.unflatten(values, 1, (-1, 2))
        return moves - self.points.to(moves) if self.parameters_are == "positions" else moves

    def _preimage(self, values: Tensor, moved: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the triangle (N, K) whose inverse affine map is right, and whether there is one.

        Every triangle proposes a target point. A proposal is right if the map itself sends it to
        the given point, so that points inside and outside follow the rule of the map.
        """
        with torch.no_grad():
            triangles = torch.arange(len(self.mesh.triangles), device=values.device)
            asked = points[:, None].expand(-1, len(triangles), -1, -1)  # (N, T, K, 2)
            proposed, weights = self._back(moved, asked, triangles[None, :, None])
            mapped = torch.unflatten(
                self._map(values, proposed.flatten(1, 2)), 1, proposed.shape[1:3]
            )
            holds = (mapped - points[:, None]).abs().amax(-1) <= _FOUND
            depth = torch.stack(weights).amin(0).where(holds, -torch.inf)
            return depth.argmax(1), holds.any(1)

    def _back(
        self, moved: Tensor, points: Tensor, triangle: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Map source points (N, ..., 2) back by the inverse affine map of a triangle for each.

        Return target points, and their barycentric coordinates in the moved triangle: (1, 0, 0)
        where the moved triangle has no area.
        """
        corners = self.mesh.triangles[triangle].unbind(-1)
        a, b, c = (_take(moved, corner) for corner in corners)
        u, v, w = b - a, c - a, points - a
        area = _cross(u, v)
        regular = area != 0
        area = area.where(regular, 1)
        second = (_cross(w, v) / area).where(regular, 0)
        third = (_cross(u, w) / area).where(regular, 0)
        first = 1 - second - third
        targets = [self.points.to(moved)[corner] for corner in corners]
        weights = (first, second, third)
        products = [x[..., None] * t for x, t in zip(weights, targets, strict=True)]
        return products[0] + products[1] + products[2], weights


def _mesh(points: Any, triangles: Any) -> Triangulation:
    asked = "PiecewiseAffine"
    counts = None
    if isinstance(points, Integral):
        points = (points, points)
    if isinstance(points, Sequence) and all(isinstance(n, Integral) for n in points):
        layout, counts = regular_points(points, 2), points
    else:
        layout = check_points(points, 2, 3, asked)
    if triangles is None:
        return Triangulation(layout, find_triangles(layout, counts, asked), asked)
    try:
        indices = torch.as_tensor(triangles, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{asked} was given triangles {triangles!r}; give (T, 3) indices"
        ) from error
    if (
        indices.ndim != 2
        or indices.shape[1] != 3
        or indices.dtype not in _INDICES
        or not len(indices)
    ):
        raise InputError(
            f"{asked} was given triangles of shape {tuple(indices.shape)} and {indices.dtype}; "
            "give (T, 3) integer indices of the points, T at least 1"
        )
    return Triangulation(layout, indices, asked)


def _take(vectors: Tensor, index: Tensor) -> Tensor:
    """Pick vectors (N, V, 2) by indices (1 or N, ...), per image: (N, ..., 2)."""
    if index.shape[0] == 1:
        return vectors[:, index[0]]
    image = torch.arange(vectors.shape[0], device=index.device)
    return vectors[image.reshape(-1, *[1] * (index.ndim - 1)), index]


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
