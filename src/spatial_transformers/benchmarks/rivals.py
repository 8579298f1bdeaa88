"""Rivals in plain PyTorch: the two lines that `warp` replaces, in eager mode and compiled."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ThinPlateSpline
from ..grid.regular import regular_grid
from .cases import AbsentError, Contender, Run, always
from .plates import rows, solution


def grid_sample(size: Sequence[int] | None = None, mode: str = "bilinear") -> Contender:
    """Return `F.affine_grid` and `F.grid_sample`."""

    def run(image: Tensor, theta: Tensor) -> Tensor:
        target = [*image.shape[:2], *(size or image.shape[2:])]
        matrices = theta.unflatten(1, (image.ndim - 2, -1))
        grid = F.affine_grid(matrices, target, align_corners=False)
        return F.grid_sample(image, grid, mode=mode, align_corners=False)

    return Contender("affine_grid + grid_sample", always(run))


def homography(size: Sequence[int]) -> Contender:
    """Return a homography, on axes that are made once and broadcast, and `F.grid_sample`."""

    def build(device: torch.device) -> Run:
        x, y = regular_grid(size).to(device).unbind(-1)  # (H, W)
        x, y = x[:1], y[:, :1]

        def run(image: Tensor, theta: Tensor) -> Tensor:
            a, b, c, d, e, f, g, h = (t[:, None, None] for t in theta.unbind(1))
            w = g * x + h * y + 1
            grid = torch.stack(((a * x + b * y + c) / w, (d * x + e * y + f) / w), -1)
            return F.grid_sample(image, grid, align_corners=False)

        return run

    return Contender("broadcast homography + grid_sample", build)


def basis_matmul(spline: ThinPlateSpline, size: Sequence[int]) -> Contender:
    """Return a product with the basis of a thin plate spline, made once, and `F.grid_sample`."""

    def build(device: torch.device) -> Run:
        points = spline.points.to(device, torch.float32)
        basis = rows(spline.points, size).double() @ solution(spline.points)
        basis = basis.float().to(device)  # (H·W, K)

        def run(image: Tensor, theta: Tensor) -> Tensor:
            grid = basis @ (points + theta.unflatten(1, (-1, 2)))
            return F.grid_sample(image, grid.unflatten(1, tuple(size)), align_corners=False)

        return run

    return Contender("precomputed basis + grid_sample", build)


def compiled(rival: Contender) -> Contender:
    """Return a rival under `torch.compile`, by inductor."""

    def build(device: torch.device) -> Run:
        from torch._dynamo.exc import TorchDynamoException  # slow to import

        torch.compiler.reset()  # torch stops compiling lines that it has compiled too often
        made = torch.compile(rival.build(device), dynamic=False)

        def run(*inputs: Tensor) -> Tensor:
            try:
                return made(*inputs)
            except TorchDynamoException as error:
                reason = str(error).strip().splitlines()[0]
                raise AbsentError(f"does not compile here ({reason})") from error

        return run

    return replace(rival, name=f"{rival.name}, compiled", build=build, compiles=True)
