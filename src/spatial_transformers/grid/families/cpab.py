"""CPAB: flows of continuous piecewise-affine velocity fields, diffeomorphic, in 1-D to 3-D.

A continuous field that is affine on every simplex of a tessellation is the linear interpolation of
its values at the vertices. So θ holds the values at the vertices, where the paper (section 4) takes
a null space of continuity constraints: both span the same fields. The tessellation is Kuhn's: a
cell of a regular lattice splits into ndim! simplices by the order of a point's fractional
coordinates f. The tessellation of libcpab differs in 2-D (four triangles around the centre of each
cell) and 3-D.

The flow is integrated for every point by itself with the explicit midpoint rule. Where a path
crosses from one simplex into another, any explicit rule makes an error of second order in the
step's length. So at equal cost the midpoint rule is as accurate as a rule of fourth order.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, product

import torch
from jaxtyping import Float
from torch import Tensor

from ..._errors import InputError
from ..._types import Size, Theta
from ..describe import displacement_parts
from ..flow import Flow
from ..numerics.compiled import FLOWS, compiled_for

_MOST_STEPS = 10_000
_MOST_EXACT = 2**24  # whole numbers that float32 tells apart


class CPAB(Flow):
    """T_θ is the flow over a unit of time of a continuous piecewise-affine velocity, without folds.

    θ holds the velocities at the vertices of a regular lattice of cells on [-1, 1], in half extents
    per unit of time: 1 is half the source's width. All x components come first, then y, then z;
    within a component the vertices are in the order of an image's pixels. `vx[1,2]` is the velocity
    along x at the vertex of row 1 and column 2, counted from 0 at -1. The inverse is the flow of
    -θ.

    With `zero_boundary`, as in libcpab, nothing crosses the border: the component normal to a face
    is 0 there and is no entry of θ, while points may slide along the face. The domain maps onto
    itself, so the map is invertible on all of it, and the ends of a signal stay. Without
    `zero_boundary`, every component of every vertex is an entry. Outside the domain, the velocity
    is that of its nearest point.

    In 1-D it aligns time series: signals are (N, C, W), grids (N, W, 1), and maps are monotone.

    Convention: target to source, (x, y[, z]) with y pointing down.

    Args:
        cells: per axis, in the order of sizes: (W,), (H, W) or (D, H, W); or one number for all.
        ndim: 1, 2 or 3, for cells given by one number (2 unless given).
        zero_boundary: whether the velocity normal to the border is 0 on it.
        steps: the number of steps of the integration. With 8, paths are right to 0.01 pixel at
            128 × 128, for 4 × 4 cells and velocities with a standard deviation of 2 pixels.

    Example:
        >>> warping = CPAB(3, ndim=1)
        >>> warping.entries
        ('vx[1]', 'vx[2]')
        >>> ends = torch.tensor([[[-1.0], [1.0]]])
        >>> warping.transform_points(torch.tensor([[0.5, 0.2]]), ends).flatten().tolist()
        [-1.0, 1.0]
        >>> cpab = CPAB((4, 4))
        >>> theta = 0.03 * torch.randn(1, cpab.num_parameters)
        >>> grid = cpab.grid(theta, (128, 128))
        >>> back = cpab.inverse_points(theta, grid.flatten(1, 2))
        >>> regular = cpab.grid(0 * theta, (128, 128)).flatten(1, 2)
        >>> bool((back - regular).abs().max() < 3e-4)
        True

    Source: Freifeld et al., Transformations Based on Continuous Piecewise-Affine Velocity Fields,
    PAMI 2017; in a spatial transformer: Detlefsen et al., Deep Diffeomorphic Transformer Networks,
    CVPR 2018.

    """

    dimensions = (1, 2, 3)

    def __init__(
        self,
        cells: Size = 4,
        *,
        ndim: int | None = None,
        zero_boundary: bool = True,
        steps: int = 8,
    ):
        per_axis = isinstance(cells, Sequence)
        super().__init__((len(cells) if per_axis else 2) if ndim is None else ndim)
        self.cells = tuple(cells) if per_axis else (cells,) * self.ndim
        if len(self.cells) != self.ndim or any(type(n) is not int or n < 1 for n in self.cells):
            order = {1: "(W,)", 2: "(H, W)", 3: "(D, H, W)"}[self.ndim]
            raise InputError(
                f"CPAB({cells!r}, ndim={self.ndim}) was asked for; give the cells per axis, "
                f"{order}, at least 1 each"
            )
        if type(steps) is not int or not 1 <= steps <= _MOST_STEPS:
            raise InputError(f"CPAB(steps={steps!r}): give the number of steps, 1 to {_MOST_STEPS}")
        self.zero_boundary, self.steps = zero_boundary, steps
        vertices = [self._free_vertices(a) for a in range(self.ndim)]
        self._lattices = [[len(axis) for axis in axes] for axes in vertices]  # per component
        self._orders = _orders(self.ndim)
        if self.num_parameters == 0:
            raise InputError(
                f"{self} has no vertex that may move; give more cells, or zero_boundary=False"
            )

    @property
    def entries(self) -> tuple[str, ...]:
        """The component and the vertex of every entry, as `vx[1,2]`: row 1, column 2."""
        return tuple(
            f"v{'xyz'[a]}[{','.join(map(str, vertex))}]"
            for a in range(self.ndim)
            for vertex in product(*self._free_vertices(a))
        )

    @property
    def num_parameters(self) -> int:
        """P, the number of velocities that are free."""
        return sum(math.prod(lattice) for lattice in self._lattices)

    def identity(self) -> Float[Tensor, "P"]:
        """Return zeros: no vertex moves."""
        return torch.zeros(self.num_parameters, device="cpu", dtype=torch.float32)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return how fast vertices move, as a share of the source's extent per unit of time."""
        return displacement_parts(self._velocities(self.values(theta)).movedim(1, -1), "velocity")

    def _displacement(self, values: Tensor, coordinates: Sequence[Tensor]) -> Tensor:
        """Integrate in units of cells, and in steps of time."""
        velocities = self._velocities(values)
        units = velocities.new_tensor(self.cells[::-1])[:, None] / 2  # per half extent
        points = torch.stack(torch.broadcast_tensors(*coordinates), 1)
        start = (points.flatten(2) + 1) * units  # (N, ndim, K)
        pieces = self._pieces(velocities.flatten(2) * (units / self.steps))
        compiled = compiled_for(FLOWS, pieces, start)
        if compiled is None:
            moved = self._moved(pieces, start)
        else:
            moved = compiled(pieces, start, self.cells[::-1], self.steps, self._moved)
        return torch.unflatten(moved / units, 2, points.shape[2:]).movedim(1, -1)

    def _moved(self, pieces: Tensor, start: Tensor) -> Tensor:
        """Return how far points (N, ndim, K), in units of cells, move in all steps."""
        ends = start.new_tensor(self.cells[::-1])[:, None]
        start = torch.broadcast_tensors(start, pieces[:, :1, :1])[0]
        pieces = pieces.expand(start.shape[0], -1, -1)
        moved = torch.zeros_like(start)
        for _ in range(self.steps):
            halfway = moved + self._at(pieces, start + moved, ends) / 2
            moved = moved + self._at(pieces, start + halfway, ends)
        return moved

    def _free_vertices(self, a: int) -> list[range]:
        """Return the indices, per axis of sizes, of the vertices that move along coordinate `a`."""
        axes = [range(n + 1) for n in self.cells]
        if self.zero_boundary:
            axes[-1 - a] = range(1, self.cells[-1 - a])
        return axes

    def _velocities(self, values: Tensor) -> Float[Tensor, "N ndim *vertices"]:
        """Return θ with the zeros of the border."""
        parts = values.split([math.prod(lattice) for lattice in self._lattices], 1)
        components = []
        for a, (part, lattice) in enumerate(zip(parts, self._lattices, strict=True)):
            if 0 in lattice:  # an axis of one cell: no vertex moves, and ONNX has no empty shapes
                component = part.new_zeros(part.shape[0], *(n + 1 for n in self.cells))
            else:
                ends = [0, 0] * a + [
                    int(self.zero_boundary)
                ] * 2  # x, the last axis, is pad's first
                component = torch.nn.functional.pad(torch.unflatten(part, 1, lattice), ends)
            components.append(component)
        return torch.stack(components, 1)

    def _pieces(self, velocities: Tensor) -> Tensor:
        """Return v on every simplex from velocities (N, ndim, vertices): (N, ndim + ndim², S).

        A piece is the velocity at the cell's first vertex, then the slopes along x, y, z. The S
        simplices are in the order in which `_at` numbers them.
        """
        lattice = torch.unflatten(velocities, 2, [n + 1 for n in self.cells])
        simplices = []
        for order in self._orders:
            corner = [0] * self.ndim
            path = [self._corner(lattice, corner)]
            slopes = {}
            for a in order:  # from vertex to vertex of the simplex
                corner[a] = 1
                path.append(self._corner(lattice, corner))
                slopes[a] = path[-1] - path[-2]
            simplices.append(torch.stack((path[0], *(slopes[a] for a in range(self.ndim))), 1))
        return torch.stack(simplices, -1).flatten(3).flatten(1, 2)

    def _corner(self, lattice: Tensor, corner: Sequence[int]) -> Tensor:
        """Return the velocities at one corner, 0 or 1 along x, y, z, of every cell."""
        sizes = zip(reversed(corner), self.cells, strict=True)
        return lattice[(..., *(slice(first, first + n) for first, n in sizes))]

    def _at(self, pieces: Tensor, points: Tensor, ends: Tensor) -> Tensor:
        """Return v at points (N, ndim, K) in units of cells; axes run from 0 to `ends`."""
        inside = points.clamp(torch.zeros_like(ends), ends)
        cell = inside.detach().floor().minimum(ends - 1)
        f = inside - cell
        found = pieces.gather(2, self._simplex(cell, f)[:, None].expand(-1, pieces.shape[1], -1))
        first, *slopes = found.split(self.ndim, 1)
        for a, slope in enumerate(slopes):
            first = torch.addcmul(first, f[:, a : a + 1], slope)
        return first

    def _simplex(self, cell: Tensor, f: Tensor) -> Tensor:
        """Return the number of each point's simplex (N, K), of its cell and its place in it.

        It is computed in floating point, which is quicker than in whole numbers, and exact.
        """
        if len(self._orders) * math.prod(self.cells) > _MOST_EXACT:
            cell = cell.double()
        index = cell[:, -1]
        for a in reversed(range(self.ndim - 1)):
            index = index * self.cells[-1 - a] + cell[:, a]
        pairs = list(combinations(range(self.ndim), 2))
        index = index * 2 ** len(pairs)
        for i, (a, b) in enumerate(pairs):
            index = torch.add(index, f[:, a] >= f[:, b], alpha=2**i)
        return index.nan_to_num(0).long()


def _orders(ndim: int) -> list[list[int]]:
    """Return the order of the axes, largest f first, for every outcome of the comparisons in `_at`.

    Each comparison is one bit of the outcome. Outcomes that contradict themselves do not happen, so
    any order will do for them.
    """
    pairs = list(combinations(range(ndim), 2))
    orders = []
    for outcome in range(2 ** len(pairs)):
        winners = [a if outcome >> i & 1 else b for i, (a, b) in enumerate(pairs)]
        orders.append(sorted(range(ndim), key=winners.count, reverse=True))
    return orders
