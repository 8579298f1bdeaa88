"""Layouts of control points in the target, and checks that points define a map."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..._errors import InputError, shown

Moves: TypeAlias = Literal["displacements", "positions"]  # of points, as θ says them

_CLOSE = 1e-6  # share of the points' extent within which they coincide, or lie on one line
_NAMED = 8  # most points, or pairs of them, that an error lists


def regular_points(counts: int | Sequence[int], ndim: int) -> Float[Tensor, "K ndim"]:
    """Return a regular grid of points on [-1, 1], including its ends, in float64 on the CPU.

    Args:
        counts: points per axis as sizes go, (rows, columns) or (D, H, W); one number for all axes.
        ndim: 2 or 3.

    Raises:
        InputError: for another number of axes, or fewer than two points along one.

    Example:
        >>> regular_points((2, 3), 2).tolist()
        [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]

    """
    per_axis = tuple(counts) if isinstance(counts, Sequence) else (counts,) * ndim
    if len(per_axis) != ndim or not all(_is_count(n) and n > 1 for n in per_axis):
        order = {2: "(rows, columns)", 3: "(D, H, W)"}.get(ndim, f"{ndim} numbers")
        raise InputError(
            f"a grid of {counts!r} control points was asked for; give one number, or {order}, each "
            "at least 2"
        )
    axes = [torch.linspace(-1, 1, n, dtype=torch.float64, device="cpu") for n in per_axis]
    grid = torch.meshgrid(*axes, indexing="ij")  # the last axis, x, runs fastest
    return torch.stack(grid[::-1], -1).flatten(0, -2)


def text_rows(
    count: int = 20, *, margin: float | Sequence[float] = 0.0
) -> Float[Tensor, "count 2"]:
    """Return points along both edges of a line of text, in float64 on the CPU.

    The first half lies on the top edge and the second on the bottom edge, each left to right.

    Args:
        count: of points, an even number.
        margin: how far the points are set in from the edges, as a share of the extent: of both
            axes, or a pair (x, y). What lies between the points and the edges is extrapolated, so
            that a network which points at the outline of the letters reads a little around it.

    Raises:
        InputError: for a count that is odd or below 4, and a margin that is not from 0 to below
            0.5.

    Example:
        >>> text_rows(4).tolist()
        [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
        >>> text_rows(4, margin=(0.0, 0.125)).tolist()  # an eighth of the height, above and below
        [[-1.0, -0.75], [1.0, -0.75], [-1.0, 0.75], [1.0, 0.75]]
        >>> text_rows().shape
        torch.Size([20, 2])

    Source: Shi et al., Robust Scene Text Recognition with Automatic Rectification (RARE),
    CVPR 2016, section 3.1.

    """
    if not _is_count(count) or count < 4 or count % 2:
        raise InputError(
            f"{count!r} control points along two edges were asked for; give an even number from 4"
        )
    margins = tuple(margin) if isinstance(margin, Sequence) else (margin, margin)
    if len(margins) != 2 or not all(isinstance(m, Real) and 0 <= m < 0.5 for m in margins):
        raise InputError(
            f"text_rows(margin={shown(margin)}) was asked for; give a share of the extent from 0 "
            "to below 0.5, or two, (x, y)"
        )
    within = torch.tensor([1 - 2 * float(m) for m in margins], dtype=torch.float64, device="cpu")
    return regular_points((2, count // 2), 2) * within


def as_counts(points: Float[Tensor, "K ndim"]) -> tuple[int, ...] | Float[Tensor, "K ndim"]:
    """Return how many points per axis make a regular grid; other points as they are.

    Example:
        >>> as_counts(regular_points((2, 3), 2)), as_counts(text_rows(4, margin=0.1)).shape
        ((2, 3), torch.Size([4, 2]))

    """
    counts = tuple(len(axis.unique()) for axis in reversed(points.unbind(1)))
    regular = min(counts) > 1 and math.prod(counts) == len(points)
    same = regular and torch.equal(points, regular_points(counts, len(counts)))
    return counts if same else points


def mesh_counts(points: Float[Tensor, "K ndim"]) -> tuple[int, int] | None:
    """Return how many rows and columns points have that are a mesh, left to right, top to bottom.

    None for points in another order, scattered ones, and those of volumes. Neither rows nor columns
    need be evenly spaced.

    Example:
        >>> mesh_counts(text_rows(20)), mesh_counts(regular_points((3, 4), 2))
        ((2, 10), (3, 4))

    """
    if points.shape[1] != 2:
        return None
    near = _CLOSE * float(points.abs().max())
    columns = int(((points[:, 1] - points[0, 1]).abs() <= near).sum())
    if len(points) % columns or columns in (1, len(points)):
        return None
    x, y = points[:columns, 0], points[::columns, 1]
    mesh = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)
    ordered = bool((x.diff() > 0).all() and (y.diff() > 0).all())
    return (len(y), columns) if ordered and bool(((mesh - points).abs() <= near).all()) else None


def check_points(points: Any, ndim: int, minimum: int, asked: str) -> Float[Tensor, "K ndim"]:
    """Return control points in float64 on the CPU.

    Args:
        points: (K, ndim), a tensor, an array or nested lists.
        ndim: 2 or 3.
        minimum: the fewest points that define a map.
        asked: what was asked for, with which errors begin.

    Raises:
        InputError: naming the points that coincide or are not finite; if all lie on one line
            (in 3-D: one plane); for too few of them, and for another shape.

    """
    found = as_points(points, asked)
    if found.shape[1] != ndim:
        raise InputError(
            f"{asked} was given control points of shape {tuple(found.shape)}; give (K, {ndim})"
        )
    bad = ~found.isfinite().all(1)
    if bad.any():
        named = _listed([str(i) for i in bad.nonzero().flatten().tolist()])
        raise InputError(f"{asked} was given control points that are not finite: {named}")
    if len(found) < minimum:
        raise InputError(f"{asked} was given {len(found)} control points; give at least {minimum}")
    _refuse_coincident(found, asked)
    _refuse_flat(found, asked)
    return found


def as_points(points: Any, asked: str) -> Float[Tensor, "K axes"]:
    """Return a table of numbers as a copy in float64 on the CPU.

    Raises:
        InputError: if the points are no table of numbers.

    """
    try:
        found = torch.as_tensor(points, dtype=torch.float64, device="cpu").detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{asked} was given control points that are no table of numbers; give (K, ndim)"
        ) from error
    if found.ndim != 2:
        raise InputError(
            f"{asked} was given control points of shape {tuple(found.shape)}; give (K, ndim)"
        )
    return found


def _refuse_coincident(points: Tensor, asked: str) -> None:
    close = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = (close <= _CLOSE * close.max()).triu(1).nonzero().tolist()
    if pairs:
        named = _listed([f"{i} and {j}" for i, j in pairs])
        raise InputError(
            f"{asked} was given control points that coincide: {named}; leave one of each pair out"
        )


def _refuse_flat(points: Tensor, asked: str) -> None:
    spreads = torch.linalg.svdvals(points - points.mean(0))
    if not spreads[-1] > _CLOSE * spreads[0]:
        flat = {2: "line", 3: "plane"}.get(points.shape[1], "hyperplane")
        named = _listed(
            [f"{i} {tuple(round(c, 4) for c in p)}" for i, p in enumerate(points.tolist())]
        )
        raise InputError(
            f"{asked} was given control points that all lie on one {flat}: {named}; give at least "
            "one off it"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _is_count(n: Any) -> bool:
    return isinstance(n, Integral) and not isinstance(n, bool)
