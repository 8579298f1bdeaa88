"""Tensor-product B-splines of degree 1 or 3 on a lattice of nodes: what all lattice maps share.

A spline of degree d weighs the d + 1 nodes around a position by polynomials of its fraction f of a
cell (Unser, Splines: a perfect fit for signal and image processing, 1999, eqs. 1 and 3). Degree 1
passes through its coefficients and has kinks at the nodes; degree 3 is twice continuously
differentiable everywhere. Beyond its ends a spline keeps the value of the nearest point.

Tensors have the axes of sizes, (H, W) or (D, H, W); everything per axis is x first.
"""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from .compiled import SPLINES, Spline, compiled_for

Degree: TypeAlias = Literal[1, 3]

_MOST_NODES = 128  # of an axis that is summed by a product with all its nodes at once


class Axis(NamedTuple):
    """The nodes along one axis, and where coordinates in [-1, 1] lie among them.

    Coordinate c lies at `c * scale + centre`, counted in cells from the first one. A cell of degree
    3 spans from the second to the third of its four nodes.
    """

    nodes: int
    degree: Degree
    scale: float
    centre: float

    @property
    def cells(self) -> int:
        """The number of cells."""
        return self.nodes - self.degree

    def positions(self) -> Tensor:
        """Return the coordinates of the nodes, in float64 on the CPU."""
        first = (self.degree - 1) // 2  # nodes before the first cell
        index = torch.arange(self.nodes, dtype=torch.float64, device="cpu")
        return (index - first - self.centre) / self.scale

    @property
    def span(self) -> tuple[float, float]:
        """The positions, in cells, that are read: those of the nodes that lie in [-1, 1]."""
        lowest, highest = self.centre - self.scale, self.centre + self.scale
        return max(0.0, lowest), min(highest, float(self.cells))

    def positions_of(self, coordinates: Tensor) -> Tensor:
        """Return where coordinates lie, in cells from the first one.

        Beyond the nodes and beyond [-1, 1] it is the nearest point. Right at such an end the slope
        is the mean of both sides, which is what central differences give.
        """
        position = coordinates * self.scale + self.centre
        lowest, highest = self.span
        position = torch.maximum(position, position.new_full((), lowest))
        return torch.minimum(position, position.new_full((), highest))

    def taps(self, position: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the first node that every position reads, and the weights of its nodes."""
        cell = position.detach().floor().clamp(max=self.cells - 1).nan_to_num(0)
        return cell.long(), weights(position - cell, self.degree)


def uniform(cells: int, degree: Degree) -> Axis:
    """Return the axis whose cells divide [-1, 1] evenly: a node at each border."""
    return Axis(cells + degree, degree, cells / 2, cells / 2)


def centred(nodes: int) -> Axis:
    """Return the axis of degree 1 with its nodes at the centres of `nodes` pixels."""
    return Axis(nodes, 1, nodes / 2, (nodes - 1) / 2)


def weights(f: Tensor, degree: Degree) -> tuple[Tensor, ...]:
    """Return the weights of the degree + 1 nodes around a fraction of a cell."""
    g = 1 - f
    if degree == 1:
        return g, f
    return (
        g * g * g * (1 / 6),
        (f * f * (f - 2)) * 0.5 + 2 / 3,
        (g * g * (g - 2)) * 0.5 + 2 / 3,
        f * f * f * (1 / 6),
    )


def evaluate(coefficients: Tensor, axes: Sequence[Axis], coordinates: Sequence[Tensor]) -> Tensor:
    """Return the spline (N, C, ...) of coefficients (N, C, *nodes) at coordinates, one per axis.

    Coordinates broadcast with each other and with (N, ...). Where each extends along its own axis
    only, the axes are summed one after another, which is many times cheaper. A coordinate that is
    NaN may give any number: points that it belongs to are NaN themselves.
    """
    if _separable(coordinates):
        return _on_lattice(coefficients, axes, [x.flatten() for x in coordinates])
    positions = [axis.positions_of(x) for axis, x in zip(axes, coordinates, strict=True)]
    positions = torch.broadcast_tensors(*positions)
    compiled = compiled_for(SPLINES, coefficients, *positions)
    if compiled is None:
        return _at_points(coefficients, axes, positions)
    return _by(compiled, coefficients, axes, positions)


def interpolation(cells: int) -> Tensor:
    """Return the matrix (cells + 3, cells + 1) from values at cell borders to cubic coefficients.

    Ends are not-a-knot: the third derivative is continuous at the second node, too (de Boor, A
    Practical Guide to Splines, 1978, chapter IV), so that cubic polynomials are reproduced. The
    matrix is in float64 on the CPU, and needs at least three cells.
    """
    with torch.device("cpu"):
        equations = torch.zeros(cells + 3, cells + 3, dtype=torch.float64)
        for row in range(cells + 1):
            equations[row, row : row + 3] = equations.new_tensor([1, 4, 1]) / 6
        jump = equations.new_tensor([1, -4, 6, -4, 1])
        equations[-2, :5] += jump
        equations[-1, -5:] += jump
        return torch.linalg.inv(equations)[:, : cells + 1]


def apply_along_axes(matrices: Sequence[Tensor], values: Tensor) -> Tensor:
    """Apply a matrix per axis, x first, to the last axes of values (N, C, *size)."""
    for axis, matrix in enumerate(matrices):
        values = _along(axis, matrix, values)
    return values


def _along(axis: int, matrix: Tensor, values: Tensor) -> Tensor:
    """Apply a matrix along one axis, counted from the last one."""
    if axis < 2:
        return matrix @ values if axis else values @ matrix.T
    rows = values.flatten(-axis)  # those of the faster axes, as one
    return torch.unflatten(matrix @ rows, -1, values.shape[-axis:])


def odd_ends(values: Tensor, ndim: int, *, border: bool) -> Tensor:
    """Continue values (N, C, *nodes) by one node beyond each border, so that they vanish there.

    The node beyond is the negative of the one inside. With `border` a node of 0 lies between them,
    on the border; otherwise the border lies half a cell from either.
    """
    for axis in range(-ndim, 0):
        first, last = values.narrow(axis, 0, 1), values.narrow(axis, values.shape[axis] - 1, 1)
        zero = [torch.zeros_like(first)] if border else []
        values = torch.cat((-first, *zero, values, *zero, -last), axis)
    return values


def _separable(coordinates: Sequence[Tensor]) -> bool:
    """Whether coordinates form a lattice; no size is read that may be other than 1 on a lattice."""
    ndim = len(coordinates)
    return coordinates[0].ndim == ndim + 1 and all(
        n == 1 for a, x in enumerate(coordinates) for i, n in enumerate(x.shape) if i != ndim - a
    )


def _on_lattice(values: Tensor, axes: Sequence[Axis], coordinates: Sequence[Tensor]) -> Tensor:
    """Sum axis by axis, x first: (N, C, D, H, W).

    On the CPU a product with a matrix, most of whose entries are 0, takes one pass where the taps
    take many. Elsewhere products may be of lower precision.
    """
    for a, (axis, coordinate) in enumerate(zip(axes, coordinates, strict=True)):
        first, taps = axis.taps(axis.positions_of(coordinate))
        if axis.nodes <= _MOST_NODES and values.device.type == "cpu":
            values = _along(a, _matrix(axis, first, taps), values)
            continue
        values = _total(
            values.index_select(-1 - a, first + t) * tap.reshape(-1, *[1] * a)
            for t, tap in enumerate(taps)
        )
    return values


def _matrix(axis: Axis, first: Tensor, taps: Sequence[Tensor]) -> Tensor:
    """Return the matrix (K, nodes) from the nodes of an axis to K coordinates."""
    places = first[:, None] + torch.arange(len(taps), device=first.device)
    weights = torch.stack(tuple(taps), 1)
    return weights.new_zeros(first.shape[0], axis.nodes).scatter(1, places, weights)


def _by(
    compiled: Spline, coefficients: Tensor, axes: Sequence[Axis], positions: Sequence[Tensor]
) -> Tensor:
    """Evaluate at positions (N, ...) by compiled code."""
    ndim, degree, shape = len(axes), axes[0].degree, positions[0].shape[1:]
    before = (degree - 1) // 2  # nodes before the first cell
    if degree == 1:
        coefficients = _continued(coefficients, axes)
    places = torch.stack(tuple(positions), -1)
    if len(shape) != ndim:
        places = places.reshape(len(places), *[1] * (ndim - 1), prod(shape), ndim)

    def reference(coefficients: Tensor, places: Tensor) -> Tensor:
        return _at_points(coefficients, axes, [p - before for p in places.unbind(-1)])

    values = compiled(coefficients, places + before if before else places, degree, reference)
    return values if len(shape) == ndim else values.reshape(*values.shape[:2], *shape)


def _continued(coefficients: Tensor, axes: Sequence[Axis]) -> Tensor:
    """Continue those of degree 1 by a node, straight on, where an end that is read is a node.

    Right at that end the slope is then that of the last cell, instead of what lies beyond.
    """
    for a, axis in enumerate(axes):
        if axis.span[1] == axis.cells:
            last = coefficients.narrow(-1 - a, axis.nodes - 1, 1)
            before = coefficients.narrow(-1 - a, axis.nodes - 2, 1)
            coefficients = torch.cat((coefficients, 2 * last - before), -1 - a)
    return coefficients


def _at_points(values: Tensor, axes: Sequence[Axis], positions: Sequence[Tensor]) -> Tensor:
    """Sum the (degree + 1) ** ndim nodes around every position (N, ...), in plain PyTorch."""
    shape = positions[0].shape[1:]
    read = [axis.taps(p.flatten(1)) for axis, p in zip(axes, positions, strict=True)]
    strides = [1]
    for n in reversed(values.shape[3:]):
        strides.append(strides[-1] * n)
    first = _total(cell * stride for (cell, _), stride in zip(read, strides, strict=True))
    n = torch.broadcast_shapes(first.shape[:1], values.shape[:1])[0]
    flat = values.flatten(2).expand(n, -1, -1)
    along = torch.arange(axes[0].degree + 1, device=first.device)
    plane = along[:, None] * strides[1] + along  # nodes of x and y, from the first one
    index = (first[:, None, None] + plane[..., None]).expand(n, -1, -1, -1)  # (N, y, x, K)
    (_, across), (_, down), *rest = read

    def in_plane(offset: int) -> Tensor:
        places = (index + offset).flatten(1)[:, None].expand(-1, flat.shape[1], -1)
        nodes = torch.unflatten(flat.gather(2, places), 2, index.shape[1:])  # (N, C, y, x, K)
        rows = (nodes * torch.stack(across, 1)[:, None, None]).sum(-2)
        return (rows * torch.stack(down, 1)[:, None]).sum(-2)

    if not rest:
        return torch.unflatten(in_plane(0), 2, shape)
    found = _total(  # one plane at a time: all at once would take much memory
        in_plane(t * strides[2]) * tap[:, None] for t, tap in enumerate(rest[0][1])
    )
    return torch.unflatten(found, 2, shape)


def _total(terms: Iterable[Tensor]) -> Tensor:
    first, *rest = terms
    for term in rest:
        first = first + term
    return first
