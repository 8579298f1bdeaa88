"""Thin plate splines as textbooks have them: a linear system in φ(r) = r² log r, 1, x and y."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..grid.regular import regular_grid


def rows(points: Tensor, size: Sequence[int]) -> Tensor:
    """Return φ, 1, x and y at every target pixel, (H·W, K + 3)."""
    target = regular_grid(size).to(points)
    return torch.cat(_parts(target.flatten(0, 1), points), 1)


def solve(points: Tensor, sources: Tensor) -> Tensor:
    """Return the weights (N, K + 3, 2) of φ, 1, x and y that take points to their sources."""
    kernel, *affine = _parts(points.double(), points.double())
    linear = torch.cat(affine, 1)
    corner = linear.new_zeros(3, 3)
    system = torch.cat((torch.cat((kernel, linear), 1), torch.cat((linear.mT, corner), 1)))
    return torch.linalg.solve(system, F.pad(sources.double(), (0, 0, 0, 3))).to(sources.dtype)


def solution(points: Tensor) -> Tensor:
    """Return what turns the sources of points into the weights, (K + 3, K), in float64."""
    return solve(points, torch.eye(len(points), dtype=torch.float64, device=points.device))


def _parts(target: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    squared = (target[:, None] - points).square().sum(-1)
    return 0.5 * torch.special.xlogy(squared, squared), torch.ones_like(target[:, :1]), target
