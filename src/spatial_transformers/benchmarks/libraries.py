"""Rivals from other libraries; θ is converted to their conventions before anything is timed."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ThinPlateSpline, Transformation, to_opencv, unnormalise
from .cases import FORWARD, AbsentError, Contender, Run
from .plates import solution

#: OpenCV may round sampling positions to 1/32 of a pixel: a difference of up to 1/64 in x and in y,
#: times the slope of pictures, which is up to 0.1 of their range.
OPENCV_TOLERANCE = 2 * 0.1 / 64


def library(module: str, package: str) -> Any:
    """Import a module.

    Raises:
        AbsentError: if its package is not installed.

    """
    try:
        return import_module(module)
    except ImportError as error:
        raise AbsentError(f"{package} is not installed ({error})") from error


def pixel_matrices(
    transformation: Transformation, size: Sequence[int], rows: int
) -> Callable[[Tensor], Tensor]:
    """Return a conversion of θ to matrices, source to target, as OpenCV and kornia take them."""

    def convert(theta: Tensor) -> Tensor:
        matrix = transformation.matrix(theta.double())  # type: ignore[operator]
        return to_opencv(matrix, size, size)[:, :rows].to(theta.dtype)

    return convert


def kornia_warp(transformation: Transformation, size: Sequence[int]) -> Contender:
    """Return kornia's `warp_affine`, or `warp_perspective` of projective maps."""
    name, rows = ("warp_perspective", 3) if transformation.perspective else ("warp_affine", 2)  # type: ignore[attr-defined]

    def build(device: torch.device) -> Run:
        found = getattr(library("kornia.geometry.transform", "kornia"), name)
        return lambda image, matrix: found(image, matrix, tuple(size), align_corners=False)

    return Contender(f"kornia {name}", build, pixel_matrices(transformation, size, rows))


def kornia_plate(spline: ThinPlateSpline) -> Contender:
    """Return kornia's `warp_image_tps`, given the weights of our map.

    kornia's own solution puts kernels at the sources of control points, which is another map.
    """

    def build(device: torch.device) -> Run:
        found = library("kornia.geometry.transform", "kornia").warp_image_tps
        points = spline.points.to(device, torch.float32)

        def run(image: Tensor, weights: Tensor) -> Tensor:
            kernel, affine = weights.split((len(points), 3), 1)
            return found(image, points.expand(len(image), -1, -1), kernel, affine)

        return run

    return Contender("kornia warp_image_tps", build, plate_weights(spline))


def plate_weights(spline: ThinPlateSpline) -> Callable[[Tensor], Tensor]:
    """Return a conversion of displacements to the weights of φ, 1, x and y, (N, K + 3, 2)."""

    def convert(theta: Tensor) -> Tensor:
        sources = spline.points.to(theta) + theta.unflatten(1, (-1, 2))
        matrix = solution(spline.points).to(theta.device)
        return (matrix @ sources.double()).to(theta.dtype)

    return convert


def opencv(transformation: Transformation, size: Sequence[int]) -> Contender:
    """Return OpenCV's `warpAffine`, image by image, with torch's threads; it has no gradient."""

    def build(device: torch.device) -> Run:
        if device.type != "cpu":
            raise AbsentError("OpenCV's wheel runs on the processor only")
        cv2 = library("cv2", "OpenCV")
        cv2.setNumThreads(torch.get_num_threads())

        def run(image: Tensor, matrices: Tensor) -> Tensor:
            pixels, out = _pixels(image), torch.empty_like(image)
            for source, matrix, target in zip(pixels, matrices.numpy(), _pixels(out), strict=True):
                cv2.warpAffine(source, matrix, size[::-1], target)
            return out

        return run

    return Contender(
        "OpenCV warpAffine",
        build,
        pixel_matrices(transformation, size, 2),
        passes=(FORWARD,),
        tolerance=OPENCV_TOLERANCE,
        torch_memory=False,
    )


def _pixels(image: Tensor) -> Any:
    """Return an image as OpenCV wants it, (N, H, W) or (N, H, W, C), without a copy."""
    return (image[:, 0] if image.shape[1] == 1 else image.permute(0, 2, 3, 1)).numpy()


def interpol(order: int, *, equal_to: str = "ours") -> Contender:
    """Return torch-interpol's B-spline, which prefilters by reflection and counts pixels y first.

    It continues an image differently from ours, so images need a black margin.
    """

    def build(device: torch.device) -> Run:
        grid_pull = library("interpol", "torch-interpol").grid_pull
        options = {"bound": "dct2", "extrapolate": True, "prefilter": True}

        def run(image: Tensor, theta: Tensor) -> Tensor:
            matrices = theta.unflatten(1, (2, 3))
            grid = F.affine_grid(matrices, list(image.shape), align_corners=False)
            pixels = unnormalise(grid, image.shape[2:]).flip(-1)
            return grid_pull(image, pixels, interpolation=order, **options)

        return run

    return Contender(f"torch-interpol bspline{order}", build, equal_to=equal_to)
