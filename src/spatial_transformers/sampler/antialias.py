"""Antialiasing (section 3.4): how wide a kernel must be where the transformation shrinks.

J holds the source pixels that one step of the target covers, per target axis. Where a singular
value of J is above 1, the map shrinks. There the kernel is stretched by P = max(√(JJᵀ), 1), taken
eigenvalue by eigenvalue. P is symmetric: axis-aligned scales stretch each axis by itself, as
`interpolate(antialias=True)` does; an oblique scale stretches along its own direction; and where
nothing shrinks, nothing is stretched.

JJᵀ is diagonalised by Jacobi's rotations, which are arithmetic only and get no gradient. The
entries off the diagonal are then 0 up to rounding, but they carry first and second derivatives,
also where two singular values are equal and the axes have no derivative.
"""

import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..grid.regular import unnormalise

Entries: TypeAlias = list[list[Tensor]]  # of a matrix per point, each (N, *target)

_STEEPEST = 1000  # source pixels per step; more is beyond every cap
_SWEEPS = {1: 0, 2: 1, 3: 5}  # of rotations, until the rest is rounding; in 4-D and more 8


class Stretch(NamedTuple):
    """How kernels are stretched, per target point."""

    shrinks: Tensor  # whether kernels are stretched at all: (N, *target)
    inverse: Entries  # P⁻¹, which multiplies distances in source pixels: (N, *target) each
    spans: Tensor  # the sums of the rows of |P|: (ndim, N, *target)


def spacing(grid: Tensor, source: Sequence[int], align_corners: bool) -> Tensor:
    """Return J (N, *target, ndim, ndim) of a normalised grid by differences along each target axis.

    A difference is the mean of both sides, or one side where the other is not finite or does not
    exist. For a lone pixel it is 0.
    """
    pixels = unnormalise(grid, source, align_corners)
    columns = []
    for axis in range(pixels.ndim - 2, 0, -1):
        if pixels.shape[axis] == 1:
            columns.append(torch.zeros_like(pixels))
            continue
        steps = pixels.diff(dim=axis)
        count = steps.shape[axis]
        behind = torch.cat((steps.narrow(axis, 0, 1), steps), axis)
        ahead = torch.cat((steps, steps.narrow(axis, count - 1, 1)), axis)
        behind, ahead = (
            behind.where(behind.isfinite(), ahead),
            ahead.where(ahead.isfinite(), behind),
        )
        columns.append((behind + ahead) / 2)
    return torch.stack(columns, -1)


def stretch(spacing: Tensor, max_shrink: float) -> Stretch:
    """Return the stretch for J (N, *target, ndim, ndim): the cap where J is not finite."""
    steep = spacing.nan_to_num(_STEEPEST, _STEEPEST, -_STEEPEST).clamp(-_STEEPEST, _STEEPEST)
    rows = [row.unbind(-1) for row in steep.unbind(-2)]
    squared = [[_dot(a, b) for b in rows] for a in rows]
    axes = _eigenvectors([[entry.detach() for entry in row] for row in squared])
    turned = _product(_transposed(axes), _product(squared, axes))
    values, most = [row[i] for i, row in enumerate(turned)], float(max_shrink**2)
    largest = reduce(torch.maximum, values)
    inverse = _product(axes, _product(_inverse_roots(turned, most), _transposed(axes)))
    shrinks = largest.detach() > 1.001  # less may be rounding of coordinates
    return Stretch(shrinks, inverse, _spans(axes, [v.detach().clamp(1.0, most) for v in values]))


def packed(stretched: Stretch) -> Tensor:
    """Return a stretch as one tensor (N, ndim² + 1, M): whether it is one, and P⁻¹."""
    entries = [entry for row in stretched.inverse for entry in row]
    return torch.stack([stretched.shrinks.to(entries[0]), *entries], 1).flatten(2)


def unpacked(stretched: Tensor) -> Stretch:
    """Return what `packed` was given, per point of the flattened target."""
    ndim = math.isqrt(stretched.shape[1])
    shrinks, *entries = stretched.unbind(1)
    inverse = [entries[k : k + ndim] for k in range(0, ndim**2, ndim)]
    rows = torch.unflatten(stretched.detach()[:, 1:], 1, (ndim, ndim)).movedim((1, 2), (-2, -1))
    return Stretch(shrinks != 0, inverse, rows.inverse().abs().sum(-1).movedim(-1, 0))


def reach(max_shrink: float, ndim: int) -> float:
    """Return the largest sum of a row of |P| that is possible."""
    return 1 + (max_shrink - 1) * (1 + math.sqrt(ndim)) / 2


def _inverse_roots(squared: Entries, most: float) -> Entries:
    """Return 1/√clamp(A, 1, most) of a diagonal A, with derivatives off the diagonal, too.

    Daleckii and Krein: f(A + E) = f(A) + Σ E_ij f[λi, λj] + Σ E_ik E_kj f[λi, λk, λj] + …
    """
    ndim = range(len(squared))
    values = [squared[i][i] for i in ndim]
    known = [value.detach() for value in values]

    def entry(i: int, j: int) -> Tensor:
        if i == j:
            total = values[i].clamp(1.0, most).rsqrt()
        else:
            total = squared[i][j] * _first(values[i], values[j], most)
        for k in set(ndim) - {i, j}:
            steps = squared[i][k] * squared[k][j]
            total = total + steps * _second(known[i], known[k], known[j], most)
        return total

    return [[entry(i, j) for j in ndim] for i in ndim]


def _first(a: Tensor, b: Tensor, most: float) -> Tensor:
    """Return the divided difference f[a, b] of f(λ) = 1/√clamp(λ, 1, most)."""
    within, other = a.clamp(1.0, most), b.clamp(1.0, most)
    equal = (a - b).abs() < 1e-3
    slope = (within == a).to(a)  # the slope of the clamp, for a = b
    share = ((within - other) / (a - b).where(~equal, 1)).where(~equal, slope)
    return -share / ((within * other).sqrt() * (within.sqrt() + other.sqrt()))


def _second(a: Tensor, b: Tensor, c: Tensor, most: float) -> Tensor:
    """Return the divided difference f[a, b, c], with the outer two as its ends."""
    low, high = torch.minimum(a, torch.minimum(b, c)), torch.maximum(a, torch.maximum(b, c))
    middle = a + b + c - low - high
    apart = (high - low) > 1e-3 * high
    steps = _first(high, middle, most) - _first(middle, low, most)
    limit = (0.375 * middle.clamp(1.0, most) ** -2.5).where((middle > 1) & (middle < most), 0)
    return (steps / (high - low).where(apart, 1)).where(apart, limit)


def _spans(axes: Entries, clamped: Sequence[Tensor]) -> Tensor:
    """Return the sums of the rows of |P|."""
    scaled = [[x * c.sqrt() for x, c in zip(row, clamped, strict=True)] for row in axes]
    rows = _product(scaled, _transposed(axes))
    return torch.stack([torch.stack(row).abs().sum(0) for row in rows])


def _eigenvectors(a: Entries) -> Entries:
    """Return the eigenvectors, in columns, of a symmetric matrix by Jacobi's rotations."""
    ndim = len(a)
    one, zero = torch.ones_like(a[0][0]), torch.zeros_like(a[0][0])
    vectors = [[one if i == j else zero for j in range(ndim)] for i in range(ndim)]
    pairs = [(i, j) for i in range(ndim) for j in range(i + 1, ndim)]
    for i, j in pairs * _SWEEPS.get(ndim, 8):
        twice = 2 * a[i][j]
        slope = (a[j][j] - a[i][i]) / twice.where(twice != 0, 1)
        steep = slope.abs() + (slope.square() + 1).sqrt()
        tangent = torch.where(slope < 0, -1 / steep, 1 / steep).where(twice != 0, 0)
        cosine = (tangent.square() + 1).rsqrt()
        turn = [[one if p == q else zero for q in range(ndim)] for p in range(ndim)]
        turn[i][i] = turn[j][j] = cosine
        turn[i][j], turn[j][i] = tangent * cosine, -tangent * cosine
        a = _product(_transposed(turn), _product(a, turn))
        vectors = _product(vectors, turn)
    return vectors


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, map(torch.mul, a, b))


def _product(a: Entries, b: Entries) -> Entries:
    columns = _transposed(b)
    return [[_dot(row, column) for column in columns] for row in a]


def _transposed(a: Entries) -> Entries:
    return [list(column) for column in zip(*a, strict=True)]
