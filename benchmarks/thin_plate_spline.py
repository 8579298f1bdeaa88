"""Grids of thin plate splines, against a plain PyTorch one and kornia's."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from spatial_transformers import ThinPlateSpline
from spatial_transformers.grid.control_points import text_rows
from spatial_transformers.grid.regular import regular_grid

from .registry import Case, Inputs, Rival


def _inputs(spline: ThinPlateSpline, batch: int, requires_grad: bool) -> Inputs:
    noise = torch.rand(batch, spline.num_parameters, generator=torch.Generator().manual_seed(0))
    return (((noise - 0.5) / 10).requires_grad_(requires_grad),)


def _kernel(squared: Tensor) -> Tensor:
    return 0.5 * torch.special.xlogy(squared, squared)


def _solve(points: Tensor, theta: Tensor) -> Tensor:
    """Return the weights (N, K + 3, 2) of φ, 1, x and y, as textbooks have it, at every call."""
    points = points.double()
    affine = torch.cat((torch.ones_like(points[:, :1]), points), 1)
    kernel = _kernel(torch.cdist(points, points) ** 2)
    system = torch.cat(
        (torch.cat((kernel, affine), 1), torch.cat((affine.mT, points.new_zeros(3, 3)), 1))
    )
    sources = points + theta.unflatten(1, (-1, 2)).double()
    known = torch.nn.functional.pad(sources, (0, 0, 0, 3))
    return torch.linalg.solve(system, known).to(theta.dtype)


def _plain(spline: ThinPlateSpline, size: tuple[int, int], theta: Tensor) -> Tensor:
    """Solve, then the whole kernel matrix at once."""
    weights, points = _solve(spline.points, theta), spline.points.to(theta)
    target = regular_grid(size).flatten(0, 1)
    squared = (target[:, None] - points).square().sum(-1)
    rows = torch.cat((_kernel(squared), torch.ones_like(target[:, :1]), target), 1)
    return (rows @ weights).unflatten(1, size)


def _kornia(spline: ThinPlateSpline, size: tuple[int, int], theta: Tensor) -> Tensor:
    """Evaluate by kornia; its own solution has kernels at the sources, which is another map."""
    from kornia.geometry.transform import warp_points_tps

    n, weights = len(theta), _solve(spline.points, theta)
    target = regular_grid(size).flatten(0, 1).expand(n, -1, -1)
    centres = spline.points.to(theta).expand(n, -1, -1)
    kernel, affine = weights.split((len(spline.points), 3), 1)
    return warp_points_tps(target, centres, kernel, affine).unflatten(1, size)


def _installed(module: str) -> str:
    """Return why a module cannot be imported, or nothing."""
    try:
        __import__(module)
    except ImportError as error:
        return f"{module} is not installed ({error})"
    return ""


def _case(
    name: str,
    points: Any,
    batch: int,
    size: tuple[int, int],
    *,
    requires_grad: bool = False,
    slow: bool = False,
) -> Case:
    spline, absent = ThinPlateSpline(points), _installed("kornia")
    kornia = None if absent else partial(_kornia, spline, size)
    return Case(
        name,
        partial(_inputs, spline, batch, requires_grad),
        lambda theta: spline.grid(theta, size),
        {
            "plain PyTorch": Rival(partial(_plain, spline, size)),
            "kornia": Rival(kornia, absent, once=slow),
        },
        tolerance=1e-4,
    )


CASES = (
    _case("thin-plate-spline", 10, 8, (512, 512), slow=True),
    _case("thin-plate-spline-gradient", 10, 8, (512, 512), requires_grad=True, slow=True),
    _case("thin-plate-spline-text", text_rows(), 64, (32, 100)),
)
