"""Thin plate splines: the smoothest map that moves given control points (sections 3.2 and 4.1).

The map interpolates scattered points in closed form. Unlike in a free-form deformation, the points
may lie anywhere. Unlike in a piecewise affine map, every point moves everything, smoothly.
"""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..._context import without_autocast
from ..._errors import InputError, shown
from ..._hints import require_name
from ..._types import Theta
from ..bounds import Bounds
from ..deformation import displaced
from ..describe import displacement_parts
from ..linear import Linear
from ..numerics.blocks import times_basis
from ..numerics.constants import Constants
from ..numerics.control_points import (
    Moves,
    as_counts,
    as_points,
    check_points,
    mesh_counts,
    regular_points,
)
from ..regular import Frame, over_extents


class ThinPlateSpline(Linear):
    """T_θ(c_k) = c_k + d_k at the control points c_k, and as little bending as possible between.

    θ holds the displacements `(dx1, dy1, dx2, dy2, …)`, P = 2K, or `(dx1, dy1, dz1, dx2, …)`,
    P = 3K, in normalised units: how far from the target point c_k its source lies. With
    `parameters="positions"` it holds the sources themselves, `(x1, y1, x2, y2, …)`, so that a
    network can point at the outline of a line of text.

    T_θ = M_θ B, with the rows of B: x, y[, z], 1 and φ(|x - c_k|) per point; φ(r) = ½ r² log(r / 2)
    in 2-D, which gives the same map as the r² log r of textbooks, and -r in 3-D. M_θ is a fixed
    matrix times θ; that matrix is computed once, in float64, when the module is made. Affine
    displacements are reproduced exactly, everywhere. Far from the points the map is close to
    affine; it may fold where neighbours cross.

    Checkpoints hold the points, but not the fixed matrix: loading as many other points computes it
    anew. The family is not closed under inverse and composition. `inverse_points` searches by
    Newton's method; it finds a point if the map does not fold on the way to it.

    Args:
        points: the target points: an int for a regular grid of as many per axis, or a number per
            axis, (rows, columns) or (D, H, W), on [-1, 1] including its ends; or your own, a tensor
            (K, ndim), at least ndim + 1 of them and not all on one line (in 3-D: plane), such as
            `text_rows(margin=0.05)`.
        ndim: 2 for images, 3 for volumes; None: that of the points, or 2 if they are an int.
        parameters: `displacements` or `positions`.
        regularisation: λ ≥ 0. Above 0 the map bends less, and in return misses the points. λ is
            added to r² log r (in 3-D: -r) of a point with itself, as `smoothing` in SciPy's
            `RBFInterpolator`.
        bounds: lowest and highest value of all entries, or of some by name; None: no bound.

    Raises:
        InputError: for points that are too few, coincide or lie on one line, naming them.

    Example:
        >>> spline = ThinPlateSpline(torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1], [0, 0]]))
        >>> theta = torch.zeros(1, spline.num_parameters)
        >>> theta[0, -2] = 0.5  # the source of the middle point lies further to the right
        >>> points = torch.tensor([[[-1.0, -1.0], [0.0, 0.0]]])
        >>> (1e4 * spline.transform_points(theta, points)).round().div(1e4).tolist()
        [[[-1.0, -1.0], [0.5, 0.0]]]
        >>> ThinPlateSpline(3, ndim=3).grid(torch.zeros(2, 81), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Bookstein, Principal Warps: Thin-Plate Splines and the Decomposition of Deformations,
    IEEE TPAMI 11(6), 1989; Wahba, Spline Models for Observational Data, 1990, for λ and 3-D.

    """

    #: The control points in the target, (K, ndim).
    points: Tensor

    def __init__(
        self,
        points: int | Sequence[int] | Float[Tensor, "K ndim"] | Any = 4,
        *,
        ndim: int | None = None,
        parameters: Moves = "displacements",
        regularisation: float = 0.0,
        bounds: Bounds | None = None,
    ):
        counts = isinstance(points, int) or _are_counts(points)
        found = points if counts else as_points(points, "ThinPlateSpline")
        super().__init__(_dimensions(found) if ndim is None else ndim)
        require_name(
            parameters, Moves, f"ThinPlateSpline(parameters={shown(parameters)}) was asked for"
        )
        if not isinstance(regularisation, Real) or not 0 <= regularisation < float("inf"):
            raise InputError(
                f"ThinPlateSpline(regularisation={regularisation!r}): give a number from 0 up"
            )
        self.parameters_are = parameters
        self.regularisation = float(regularisation)
        self._bounds = bounds
        if not isinstance(found, Tensor):
            found = regular_points(found, self.ndim)
        self._set_points(check_points(found, self.ndim, self.ndim + 1, "ThinPlateSpline"))

    @property
    def entries(self) -> tuple[str, ...]:
        """An entry per point and axis, x first."""
        kind = "" if self._are_positions else "d"
        axes = "xyz"[: self.ndim]
        return tuple(f"{kind}{a}{k + 1}" for k in range(len(self.points)) for a in axes)

    @property
    def num_parameters(self) -> int:
        """P, the width of θ."""
        return self.points.numel()

    def identity(self) -> Float[Tensor, "P"]:
        """Return no displacement, or the points themselves."""
        if self._are_positions:
            return self._points_as_set.float().flatten()
        return torch.zeros(self.num_parameters, device="cpu", dtype=torch.float32)

    def _matrix(self, values: Tensor) -> Float[Tensor, "N ndim rows"]:
        """Return M_θ, target to source: (N, ndim, ndim + 1 + K)."""
        weights = self._weights(values)
        return weights + torch.eye(*weights.shape[1:], dtype=weights.dtype, device=weights.device)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return how far points lie from their sources; see `displacement_parts`."""
        return displacement_parts(self._moves(self.values(theta)))

    def _argument(self, name: str) -> Any:
        return as_counts(self._points_as_set) if name == "points" else super()._argument(name)

    @property
    def _are_positions(self) -> bool:
        return self.parameters_are == "positions"

    def _evaluate(
        self, values: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        """Evaluate as a displacement: M_θ as a whole would lose the exact identity to rounding."""
        displacement = self._displacement(values, over_extents(positions, extents))
        return displaced(displacement, positions, extents, source)

    def _functions(self, coordinates: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return φ of the distance to every point."""
        squares = _squares(self._constants["points"].to(coordinates[0]), coordinates)
        return _kernel(squares, None, None).unbind(1)

    def _displacement(self, values: Tensor, coordinates: Sequence[Tensor]) -> Tensor:
        """Return (M_θ - [I | 0]) B, exactly 0 where no point moves."""
        weights = self._weights(values)
        shared = all(x.shape[0] == 1 and not x.requires_grad for x in coordinates)
        if shared:
            rows = times_basis(weights.flatten(0, 1), self._rows, coordinates)
            displacement = torch.unflatten(rows, 0, weights.shape[:2])
        else:  # every image has its own points, or derivatives to the points are asked for
            basis = self._rows(coordinates)  # (1 or N, rows, ...)
            displacement = torch.unflatten(weights @ basis.flatten(2), 2, basis.shape[2:])
        return displacement.movedim(1, -1)

    def _moves(self, values: Tensor) -> Tensor:
        """Return the displacement of every point (N, K, ndim)."""
        moves = torch.unflatten(values, 1, self.points.shape)
        return moves - self._constants["points"].to(moves) if self._are_positions else moves

    def _weights(self, values: Tensor) -> Tensor:
        """Return M_θ - [I | 0], the weights of the rows of B in the displacement."""
        moves, solution = self._moves(values), self._constants["solution"]
        with without_autocast(values.device):  # in double: weights are large, and cancel
            weights = solution.to(values.device) @ moves.to(solution.dtype)
        return weights.mT.to(moves.dtype)  # (N, ndim, rows)

    def _rows(self, coordinates: Sequence[Tensor], room: Tensor | None = None) -> Tensor:
        """Return B (n, rows, *lattice) at coordinates that are, or broadcast to, (n, *lattice)."""
        return _rows(self._constants["points"].to(coordinates[0]), coordinates, room)

    def _set_points(self, points: Tensor) -> None:
        """Take control points, and compute what depends on them alone."""
        self._points_as_set = points  # neither cast nor moved nor lost on the meta device
        self._mesh_counts = mesh_counts(points)  # numbers, for compilers
        self.register_buffer("points", points.clone())
        with torch.device("cpu"):
            solution = _solution(points, self.regularisation)
        self._constants = Constants(points=points, solution=solution)
        self._set_bounds(self._bounds)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ThinPlateSpline":
        self.points = self.points.float()  # some devices refuse what is double
        super()._apply(fn, recurse)
        with torch.inference_mode(False):
            self.points = self._constants["points"].clone()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if not self.points.is_meta:
            device, asked = self.points.device, f"loading a state of {self}"
            loaded, self.points = self.points, self._constants["points"].clone()  # kept if refused
            self._set_points(check_points(loaded, self.ndim, self.ndim + 1, asked))
            self.to(device)


def _are_counts(points: Any) -> bool:
    return isinstance(points, Sequence) and all(isinstance(n, int) for n in points)


def _dimensions(points: int | Sequence[int] | Tensor) -> int:
    """Return the number of dimensions of points, or of their counts per axis; 2 for an int."""
    if isinstance(points, Tensor):
        return points.shape[1]
    return 2 if isinstance(points, int) else len(points)


def _rows(points: Tensor, coordinates: Sequence[Tensor], room: Tensor | None = None) -> Tensor:
    """Return the homogeneous coordinates (x, y[, z], 1), then φ of the distance to every point.

    If `room` (2, rows, *lattice) is given, for n = 1, they are computed in it, and nothing of that
    size is allocated.
    """
    squares = _squares(points, coordinates)
    full = torch.broadcast_tensors(*coordinates)
    affine = torch.stack((*full, torch.ones_like(full[0])), 1)
    if room is None:
        return torch.cat((affine, _kernel(squares, None, None)), 1)
    rows, scratch = room[:1], room[1:]
    first = affine.shape[1]
    rows[:, :first] = affine
    _kernel(squares, rows[:, first:], scratch[:, first:])
    return rows


def _squares(points: Tensor, coordinates: Sequence[Tensor]) -> list[Tensor]:
    """Return the square of the distance to every point along each axis, (n, K, ...)."""
    squares = []
    for centre, x in zip(points.unbind(1), coordinates, strict=True):
        offset = x[:, None] - centre.reshape(-1, *[1] * (x.ndim - 1))  # (n, K, ...), an axis long
        squares.append(offset * offset)
    return squares


def _kernel(squares: Sequence[Tensor], out: Tensor | None, scratch: Tensor | None) -> Tensor:
    """Return φ, given the square of the distance along every axis.

    In 2-D φ(r) = q log q with q = (r / 2)², which is ½ r² log(r / 2). ½ r² log r would differ by a
    multiple of r², which the affine rows make up for. In the unit r / 2, |φ| stays below 1.4 on the
    target, and less is lost to rounding. In 3-D φ(r) = -r. Both keep their second derivatives
    finite at r = 0.
    """
    nothing = torch.finfo(squares[0].dtype).tiny ** (2 / 3)  # 5e-26 in float32
    if len(squares) == 2:
        q = torch.add(squares[0] / 4 + nothing, squares[1] / 4, out=scratch)
        return torch.mul(torch.log(q, out=out), q, out=out)
    squared = torch.add(squares[0] + squares[1], squares[2], out=scratch)
    distance = torch.sqrt(torch.clamp_min(squared, nothing, out=out), out=out)
    return torch.neg(distance, out=out)


def _solution(points: Tensor, regularisation: float) -> Tensor:
    """Return the matrix (ndim + 1 + K, K) from displacements of the points to the weights of B.

    It is the first K columns of the inverse of [[Φ + λI, P], [Pᵀ, 0]], with the rows in the order
    of B; Φ holds φ between the points, and P their homogeneous coordinates.
    """
    own = regularisation / 2 if points.shape[1] == 2 else regularisation  # φ is half of r² log r
    rows = _rows(points, points.mT[:, None].unbind())[0]  # (ndim + 1 + K, K): at the points
    affine, kernel = rows.split((rows.shape[0] - len(points), len(points)))
    corner = affine.new_zeros(len(affine), len(affine))
    system = torch.cat(
        (
            torch.cat((affine.mT, kernel + own * torch.eye(len(points)).to(kernel)), 1),
            torch.cat((corner, affine), 1),
        )
    )
    known = torch.eye(len(system), len(points)).to(system)
    return torch.linalg.solve(system, known)
