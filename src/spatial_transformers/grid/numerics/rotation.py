"""Rotations by an angle (2-D) or by axis times angle (3-D), and matrices made of named parts.

Both ways are smooth where the angle vanishes: there, Rodrigues' formula and its inverse through the
quaternion are computed by series, whose derivatives are finite.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..describe import gram_schmidt

_SERIES_BELOW = 0.25  # of the squared angle: the terms are exact to rounding in float64
_SERIES_TERMS = 7
_LARGEST = 1e18  # radians per axis; a larger angle is read as this one, without a gradient


def rotation_entries(ndim: int) -> tuple[str, ...]:
    """Return the names of the angles, in radians."""
    return ("rotation",) if ndim == 2 else ("rx", "ry", "rz")


def rotation_matrix(angles: Float[Tensor, "N A"]) -> Float[Tensor, "N ndim ndim"]:
    """Return R of one angle in radians, clockwise as y points down, or of an axis times an angle.

    Source: Rodrigues 1840; R = I + sin a / a · K + (1 - cos a) / a² · K², K the cross product.
    """
    if angles.shape[1] == 1:
        a = angles[:, 0]
        return torch.unflatten(torch.stack((a.cos(), -a.sin(), a.sin(), a.cos()), -1), -1, (2, 2))
    angles = angles.where(angles.isfinite(), torch.nan)
    x, y, z = angles.clamp(-_LARGEST, _LARGEST).unbind(-1)  # squares are finite, in float32 too
    squared = x * x + y * y + z * z
    first, second = _sinc(squared), _versine(squared)
    rows = [
        *(1 - second * (y * y + z * z), second * x * y - first * z, second * x * z + first * y),
        *(second * x * y + first * z, 1 - second * (x * x + z * z), second * y * z - first * x),
        *(second * x * z - first * y, second * y * z + first * x, 1 - second * (x * x + y * y)),
    ]
    return torch.unflatten(torch.stack(rows, -1), -1, (3, 3))


def rotation_angles(matrix: Float[Tensor, "N ndim ndim"]) -> Float[Tensor, "N A"]:
    """Return the angle in (-π, π], or the axis times the angle in [0, π]."""
    if matrix.shape[-1] == 2:
        return torch.atan2(matrix[:, 1, :1], matrix[:, 0, :1])
    quaternion = _quaternion(matrix)
    quaternion = quaternion * torch.where(quaternion[:, :1] < 0, -1.0, 1.0)  # the shorter way
    w, vector = quaternion[:, :1], quaternion[:, 1:]
    squared = (vector * vector).sum(-1, keepdim=True)
    small = squared < 1e-4
    length = squared.where(~small, 1).sqrt()
    series = 1 + squared * (1 / 6 + squared * (3 / 40 + squared * (15 / 336)))  # of asin x / x
    return 2 * vector * series.where(small, torch.atan2(length, w) / length)


def from_parts(parts: Float[Tensor, "N P"], ndim: int) -> Float[Tensor, "N ndim ndim+1"]:
    """Return [R · shear · scales | t] of angles, scales, shears and translations, in that order."""
    angles = len(rotation_entries(ndim))
    widths = (angles, ndim, ndim * (ndim - 1) // 2, ndim)
    angle, scale, shear, translation = parts.split(widths, -1)
    one, zero = torch.ones_like(scale[:, 0]), torch.zeros_like(scale[:, 0])
    shears = iter(shear.unbind(-1))
    rows = [
        torch.stack([zero] * i + [one] + [next(shears) for _ in range(i + 1, ndim)], -1)
        for i in range(ndim)
    ]
    sheared = torch.stack(rows, -2)  # K, upper triangular
    linear = (rotation_matrix(angle)[:, :, :, None] * sheared[:, None]).sum(2) * scale[:, None]
    return torch.cat((linear, translation[..., None]), -1)


def to_parts(matrix: Float[Tensor, "N ndim ndim+1"]) -> Float[Tensor, "N P"]:
    """Return angles, scales, shears and translations; a mirrored map's last scale is negative."""
    columns = matrix.unbind(-1)
    directions, scales, shears = gram_schmidt(columns[:-1])
    angle = rotation_angles(torch.stack(directions, -1))
    ordered = [shears[name] for name in sorted(shears)]
    return torch.cat((angle, torch.stack([*scales, *ordered], -1), columns[-1]), -1)


def _sinc(squared: Tensor) -> Tensor:
    """Return sin a / a, given a²."""
    return _with_series(squared, 1, lambda a: a.sin() / a)


def _versine(squared: Tensor) -> Tensor:
    """Return (1 - cos a) / a², given a²."""
    return _with_series(squared, 2, lambda a: (1 - a.cos()) / (a * a))


def _with_series(squared: Tensor, first: int, closed) -> Tensor:
    """Return Σ_k (-a²)^k / (2k + first)! near zero, and the closed form away from it."""
    near = squared < _SERIES_BELOW
    small = squared.where(near, 0)
    total = torch.zeros_like(small)
    for k in reversed(range(_SERIES_TERMS)):
        total = 1 - small * total / ((2 * k + first + 1) * (2 * k + first + 2))
    return (total / first).where(near, closed(squared.where(~near, 1).sqrt()))


def _quaternion(matrix: Tensor) -> Tensor:
    """Return the unit quaternion (w, x, y, z), from its largest component (Shepperd 1978)."""
    m = [row.unbind(-1) for row in matrix.unbind(-2)]
    trace = m[0][0] + m[1][1] + m[2][2]
    yz, zx, xy = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    sums = {(i, j): m[i][j] + m[j][i] for i, j in ((0, 1), (0, 2), (1, 2))}
    candidates = torch.stack(
        [
            torch.stack((1 + trace, yz, zx, xy), -1),
            torch.stack((yz, 1 + 2 * m[0][0] - trace, sums[0, 1], sums[0, 2]), -1),
            torch.stack((zx, sums[0, 1], 1 + 2 * m[1][1] - trace, sums[1, 2]), -1),
            torch.stack((xy, sums[0, 2], sums[1, 2], 1 + 2 * m[2][2] - trace), -1),
        ],
        1,
    )  # each is 4 q_i times the quaternion
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(-1)
    chosen = candidates.gather(1, best[:, None, None].expand(-1, 1, 4))[:, 0]
    return chosen / chosen.norm(dim=-1, keepdim=True)
