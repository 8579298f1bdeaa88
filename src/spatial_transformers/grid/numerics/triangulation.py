"""Triangles on points of the plane: which ones are refused, and where a point lies among them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..._errors import InputError
from .constants import Constants

_FLAT = 1e-6  # the smallest height of a triangle, as a share of its longest edge
_MOST = 5_000  # triangles: every point is compared with all of them
_BOXES = 256  # compared with all others in one operation
_AT_ONCE = 8  # triangles compared with all points in one operation
_TOUCH = 1e-6  # how far triangles may overlap by rounding, in barycentric coordinates


class Triangulation(nn.Module):
    """Triangles that meet in whole edges or vertices, and do not overlap.

    Args:
        points: (V, 2).
        triangles: (T, 3), the indices of each triangle's points, in either orientation.
        asked: what to call the caller in errors.

    Raises:
        InputError: naming a triangle with indices out of range or without area, triangles that
            overlap, a point on another triangle, a point of no triangle, or too many triangles.

    """

    points: Tensor  # persistent, as are the triangles; all else derives from them
    triangles: Tensor

    def __init__(self, points: Float[Tensor, "V 2"], triangles: Int[Tensor, "T 3"], asked: str):
        super().__init__()
        self.asked = asked
        self.register_buffer("points", points)
        self.register_buffer("triangles", triangles)
        self._build(points, triangles)
        self.register_load_state_dict_post_hook(Triangulation._rebuild)

    @property
    def original_points(self) -> Float[Tensor, "V 2"]:
        """The points in float64 on the CPU, wherever the module is."""
        return self._original_points

    def _build(self, points: Tensor, triangles: Tensor) -> None:
        with torch.device("cpu"):
            points, triangles = points.detach().cpu().double(), triangles.detach().cpu().long()
            _check_count(triangles, self.asked)
            _check_indices(len(points), triangles, self.asked)
            _check_areas(points, triangles, self.asked)
            corners = F.pad(points, (0, 1), value=1.0)[triangles]  # (T, 3, 3)
            barycentric = torch.linalg.inv(corners.mT)
            _check_mesh(points, triangles, barycentric, self.asked)
            largest = F.pad(points.abs().amax(0), (0, 1), value=1.0)
            self.constants = Constants(
                points=points,
                triangles=triangles,
                barycentric=barycentric,
                magnitude=(barycentric.abs() * largest).sum(-1).amax().reshape(1),
                **_outline(points, triangles),
            )
        self._original_points = points
        self._share()

    def _share(self) -> None:
        """Copy the constants, whose precision no cast lowers, to the buffers of checkpoints."""
        self.points = self.constants["points"].clone()
        self.triangles = self.constants["triangles"].clone()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Triangulation":
        self.points = self.points.float()  # some devices refuse what is double
        super()._apply(fn, recurse)
        self._share()
        return self

    def _rebuild(self, incompatible: Any) -> None:
        """Follow the points and triangles of a checkpoint."""
        points, triangles = self.points, self.triangles
        if not points.is_meta:  # on the meta device nothing was loaded
            self._share()  # keeps what was there, if what was loaded is refused
            self._build(points, triangles)
            self.to(points.device)

    def locate(self, x: Tensor, y: Tensor, *, nearest: bool = True) -> tuple[Tensor, Tensor]:
        """Return the index of each point's triangle, and whether the point lies in it.

        A point outside all triangles gets the nearest one, if `nearest`; of several at the same
        distance, the first that has an edge on the outline there. Not differentiated.

        Args:
            x: coordinates, broadcastable with y.
            y: coordinates; on a lattice, both extend along their own axes only.
            nearest: whether points outside need the nearest triangle; otherwise theirs is any.

        """
        x, y = x.detach(), y.detach()
        depth = torch.full_like(x + y, -torch.inf)
        found = torch.zeros_like(depth, dtype=torch.int64)
        rows = self.constants["barycentric"].to(x)
        per_point = (..., *[None] * depth.ndim)
        for start in range(0, len(rows), _AT_ONCE):  # a few triangles at a time, to save memory
            a, b, c = rows[start : start + _AT_ONCE].unbind(-1)  # (t, 3)
            coordinates = a[per_point] * x + (b[per_point] * y + c[per_point])
            smallest, which = coordinates.amin(1).max(0)
            deeper = smallest > depth
            depth, found = smallest.where(deeper, depth), (which + start).where(deeper, found)
        rounding = 4 * torch.finfo(x.dtype).eps * self.constants["magnitude"].to(x)
        inside = depth >= -rounding
        return (found.where(inside, self._nearest(x, y)) if nearest else found), inside

    def weights(self, triangle: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """Return the three barycentric coordinates of points in the triangles of given indices."""
        rows = self.constants["barycentric"].to(x)[triangle]  # (..., 3, 3)
        return tuple(
            rows[..., i, 0] * x + (rows[..., i, 1] * y + rows[..., i, 2]) for i in range(3)
        )

    def _nearest(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the triangle of the nearest edge of the outline."""
        least = torch.full_like(x + y, torch.inf)
        found = torch.zeros_like(least, dtype=torch.int64)
        borders, owners = self.constants["borders"].to(x), self.constants["owners"]
        per_point = (..., *[None] * least.ndim)
        for start in range(0, len(borders), _AT_ONCE):
            numbers = borders[start : start + _AT_ONCE][per_point].unbind(1)
            ax, ay, bx, by, ux, uy, offset = numbers  # (t, 1, ...)
            along = (ux * x + (uy * y + offset)).clamp(0, 1)
            # exact at both ends, so that edges tie where they share the nearest point
            dx = x - (ax * (1 - along) + bx * along)
            dy = y - (ay * (1 - along) + by * along)
            squared, which = (dx * dx + dy * dy).min(0)
            nearer = squared < least
            least, found = squared.where(nearer, least), owners[which + start].where(nearer, found)
        return found


def find_triangles(
    points: Float[Tensor, "V 2"], counts: Sequence[int] | None, asked: str
) -> Int[Tensor, "T 3"]:
    """Return the triangles of a regular grid, two per cell, or the Delaunay ones of other points.

    Args:
        points: (V, 2).
        counts: (rows, columns) of a regular grid, x fastest; None: other points.
        asked: what to call the caller in errors.

    Raises:
        InputError: for other points, where scipy is not installed.

    """
    return _delaunay(points, asked) if counts is None else _halved_cells(*counts)


def _halved_cells(rows: int, columns: int) -> Tensor:
    grid = torch.arange(rows * columns, device="cpu").reshape(rows, columns)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    return torch.stack((a, b, c, b, d, c), -1).reshape(-1, 3)


def _delaunay(points: Tensor, asked: str) -> Tensor:
    """Return the triangles of Delaunay, without those that rounding makes on the outline."""
    try:
        from scipy.spatial import Delaunay
    except ImportError as error:
        raise InputError(
            f"{asked} was given points without triangles; install scipy, which finds them "
            "(Delaunay), or give triangles, (T, 3) indices"
        ) from error
    triangles = torch.as_tensor(Delaunay(points.tolist()).simplices, device="cpu").long()
    return triangles[_heights(points, triangles) > _FLAT]


def _heights(points: Tensor, triangles: Tensor) -> Tensor:
    """Return the least height of each triangle, as a share of its longest edge."""
    a, b, c = points[triangles].unbind(1)
    u, v = b - a, c - a
    twice_area = (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]).abs()
    longest = torch.stack((u, v, b - c)).square().sum(-1).amax(0)
    return twice_area / longest.where(longest > 0, 1)


def _check_count(triangles: Tensor, asked: str) -> None:
    if len(triangles) > _MOST:
        raise InputError(
            f"{asked} was asked for with {len(triangles)} triangles; give at most {_MOST}, or take "
            "Displacement, whose lattice may be as fine as the image"
        )


def _check_indices(count: int, triangles: Tensor, asked: str) -> None:
    wrong = ((triangles < 0) | (triangles >= count)).any(1)
    if wrong.any():
        t = int(wrong.nonzero()[0])
        raise InputError(
            f"{asked}: triangle {t} is {triangles[t].tolist()}; give indices from 0 to {count - 1}"
        )


def _check_areas(points: Tensor, triangles: Tensor, asked: str) -> None:
    flat = ~(_heights(points, triangles) > _FLAT)
    if flat.any():
        t = int(flat.nonzero()[0])
        raise InputError(
            f"{asked}: triangle {t}, {triangles[t].tolist()}, has no area; leave it out, or give "
            "three points that are not on one line"
        )


def _check_mesh(points: Tensor, triangles: Tensor, barycentric: Tensor, asked: str) -> None:
    """Refuse triangles that overlap or meet in a part of an edge, and points of no triangle."""
    used = torch.zeros(len(points), dtype=torch.bool)
    used[triangles.flatten()] = True
    if not used.all():
        raise InputError(
            f"{asked}: point {int((~used).nonzero()[0])} belongs to no triangle; leave it out"
        )
    corners = points[triangles]  # (T, 3, 2)
    low, high = corners.amin(1), corners.amax(1)
    margin = 3 * _TOUCH * (high - low)
    boxes = low - margin, high + margin
    p, t = _meeting(points, points, *boxes)
    on = (_barycentric(barycentric[t], points[p, None]) >= -_TOUCH).all((1, 2))
    on &= (triangles[t] != p[:, None]).all(1)
    if on.any():
        k = int(on.nonzero()[0])
        raise InputError(
            f"{asked}: point {int(p[k])} lies on triangle {int(t[k])}, {triangles[t[k]].tolist()}, "
            "but is none of its three; split that triangle"
        )
    _check_apart(triangles, corners, barycentric, _meeting(*boxes, *boxes), asked)


def _check_apart(
    triangles: Tensor,
    corners: Tensor,
    barycentric: Tensor,
    pairs: tuple[Tensor, Tensor],
    asked: str,
) -> None:
    """Refuse triangles of which a pair, given by indices (K,) each, overlaps."""
    s, t = (index[pairs[0] < pairs[1]] for index in pairs)
    # an edge of one with all of the other beyond it keeps the two apart
    apart = (_barycentric(barycentric[s], corners[t]) <= _TOUCH).all(1).any(1)
    apart |= (_barycentric(barycentric[t], corners[s]) <= _TOUCH).all(1).any(1)
    if not apart.all():
        k = int((~apart).nonzero()[0])
        raise InputError(
            f"{asked}: triangles {int(s[k])} and {int(t[k])}, {triangles[s[k]].tolist()} and "
            f"{triangles[t[k]].tolist()}, overlap; give triangles that share at most an edge"
        )


def _meeting(low: Tensor, high: Tensor, lows: Tensor, highs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs of boxes that meet, each (K,): of those first given, and of the others."""
    pairs = []
    for start in range(0, len(low), _BOXES):
        some = slice(start, start + _BOXES)
        meet = (low[some, None] <= highs) & (high[some, None] >= lows)  # (boxes, others, 2)
        pairs.append(meet.all(-1).nonzero() + torch.tensor([start, 0]))
    first, second = torch.cat(pairs).unbind(1)
    return first, second


def _barycentric(rows: Tensor, points: Tensor) -> Tensor:
    """Return the coordinates (K, P, 3) of points (K, P, 2) in triangles (K, 3, 3)."""
    return points @ rows[:, :, :2].mT + rows[:, None, :, 2]


def _outline(points: Tensor, triangles: Tensor) -> dict[str, Tensor]:
    """Return the edges that belong to one triangle only, and those triangles, in their order.

    An edge from a to b is (a, b, u, offset), such that u · x + offset runs from 0 at a to 1 at b.
    """
    edges = torch.cat([triangles[:, [i, (i + 1) % 3]] for i in range(3)]).sort(1).values
    owners = torch.arange(len(triangles)).repeat(3)
    _, group, counts = edges.unique(dim=0, return_inverse=True, return_counts=True)
    single = counts[group] == 1
    order = owners[single].argsort(stable=True)
    starts, ends = points[edges[single][order]].unbind(1)
    along = (ends - starts) / (ends - starts).square().sum(1, keepdim=True)
    offsets = -(starts * along).sum(1, keepdim=True)
    return {
        "borders": torch.cat((starts, ends, along, offsets), 1),
        "owners": owners[single][order],
    }
