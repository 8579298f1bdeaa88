"""Grids of thin plate splines alone, against a plain PyTorch one and kornia's."""

from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import ThinPlateSpline
from ..grid.numerics.control_points import text_rows
from ..grid.regular import regular_grid
from .cases import Case, Contender, Inputs, Run
from .libraries import library, plate_weights
from .plates import rows, solve
from .warps import near_identity

TOLERANCE = 1e-4  # of the grid's range, whose rounding is not the image's
#: The weights of textbooks are large and cancel. In float32 their gradient to a hundred
#: displacements is off by 6 %, and ours by 0.03 %, both compared with float64.
GRADIENT_TOLERANCE = 0.1
_loose = partial(Contender, tolerance=TOLERANCE, gradient_tolerance=GRADIENT_TOLERANCE)


def _inputs(spline: ThinPlateSpline, batch: int, device: torch.device) -> Inputs:
    return (near_identity(spline, batch, 0.05).to(device),)


def _ours(spline: ThinPlateSpline, size: tuple[int, int]) -> Contender:
    def build(device: torch.device) -> Run:
        there = deepcopy(spline).to(device)
        return lambda theta: there.grid(theta, size)

    return Contender("ours", build)


def _plain(spline: ThinPlateSpline, size: tuple[int, int]) -> Contender:
    """Return plain PyTorch, which solves for weights and builds the kernel matrix at every call."""

    def build(device: torch.device) -> Run:
        points = spline.points.to(device, torch.float32)

        def run(theta: Tensor) -> Tensor:
            weights = solve(points, points + theta.unflatten(1, (-1, 2)))
            return (rows(points, size) @ weights).unflatten(1, size)

        return run

    return _loose("plain PyTorch", build)


def _kornia(spline: ThinPlateSpline, size: tuple[int, int], once: bool) -> Contender:
    """Evaluate by kornia; its own solution has kernels at the sources, which is another map."""

    def build(device: torch.device) -> Run:
        found = library("kornia.geometry.transform", "kornia").warp_points_tps
        points = spline.points.to(device, torch.float32)
        target = regular_grid(size).to(device).flatten(0, 1)

        def run(weights: Tensor) -> Tensor:
            kernel, affine = weights.split((len(points), 3), 1)
            where, centres = (x.expand(len(weights), -1, -1) for x in (target, points))
            return found(where, centres, kernel, affine).unflatten(1, size)

        return run

    convert = plate_weights(spline)
    return _loose("kornia", build, convert, once=once)


def _case(name: str, points: Any, batch: int, size: tuple[int, int], once: bool = False) -> Case:
    spline = ThinPlateSpline(points)
    return Case(
        name,
        "ThinPlateSpline",
        partial(_inputs, spline, batch),
        _ours(spline, size),
        (_plain(spline, size), _kornia(spline, size, once)),
        layout=f"grid {size[0]}x{size[1]}",
    )


CASES = (
    _case("tps100-grid-8x512x512", 10, 8, (512, 512), once=True),
    _case("tps-text-grid-64x32x100", text_rows(), 64, (32, 100)),
)
