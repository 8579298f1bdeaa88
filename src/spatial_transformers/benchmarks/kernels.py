"""Kernels and antialiasing, each against our own bilinear sampling and against rivals.

`ours` is bilinear in every case, so that a ratio says what another kernel costs. Different kernels
give different results, so a rival must equal the kernel with which it competes.
"""

import math
from dataclasses import replace
from functools import partial
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import KERNELS, Affine, Attention, Kernel, warp
from ..sampler.names import Mode
from .cases import FORWARD, Case, Contender, Inputs, always
from .libraries import interpol
from .rivals import grid_sample
from .warps import chosen

SHAPE = (8, 3, 224, 224)
MARGIN = 48  # black pixels around, so that every padding continues the image alike
SHEAR = 0.2  # of θ where it shears
TURN, SCALE = math.radians(10), 1.1  # of θ: the picture turns and shrinks a little
SPLINES = (3, 5, 7)  # orders of torch-interpol's B-splines
TOLERANCE = 1e-4  # pictures of noise have the steepest slopes


def _warp(mode: Mode, image: Tensor, theta: Tensor) -> Tensor:
    return warp(image, theta, Affine(), mode=mode)


def _shrink(by: int, mode: str | Kernel, image: Tensor, theta: Tensor, **options: object) -> Tensor:
    size = image.shape[-1] // by
    return warp(image, theta, Affine(), size=size, mode=mode, **options)  # type: ignore[arg-type]


def _interpolate(by: int, mode: str, image: Tensor, theta: Tensor) -> Tensor:
    size = [n // by for n in image.shape[2:]]
    return F.interpolate(image, size, mode=mode, antialias=True, align_corners=False)


def _inputs(turned: bool, device: torch.device) -> Inputs:
    """Return an image of noise and θ."""
    inner = [n - 2 * MARGIN for n in SHAPE[2:]]
    noise = torch.rand(*SHAPE[:2], *inner, generator=torch.Generator().manual_seed(0))
    turn, scale = (TURN, SCALE) if turned else (0.0, 1.0)
    c, s = scale * math.cos(turn), scale * math.sin(turn)
    theta = torch.tensor([[c, -s, 0, s, c, 0]]).repeat(SHAPE[0], 1)
    return F.pad(noise, [MARGIN] * 4).to(device), theta.to(device)


def _all_kernels() -> Case:
    modes: list[Mode] = [mode for mode in get_args(Mode) if mode != "bilinear"]
    kernels = (Contender(mode, always(partial(_warp, mode)), equal_to=None) for mode in modes)
    sampled = (
        replace(grid_sample(mode=mode), name=f"grid_sample {mode}", equal_to=equal)
        for mode, equal in (("nearest", "nearest"), ("bilinear", "ours"), ("bicubic", "bicubic"))
    )
    pulled = (interpol(order, equal_to=f"bspline{order}") for order in SPLINES)
    loose = partial(replace, tolerance=TOLERANCE, gradient_tolerance=TOLERANCE)
    rivals = (loose(rival) for rival in (*sampled, *pulled))
    return Case(
        "kernels-turned",
        "Affine",
        partial(_inputs, True),
        Contender("ours", always(partial(_warp, "bilinear"))),
        (*kernels, *rivals),
        backend=chosen,
        layout="NCHW",
        margin=MARGIN,
    )


def _antialias(by: int) -> Case:
    rivals = []
    kernels = {"bilinear": KERNELS["bilinear"], "bicubic": KERNELS["bicubic"].with_phi(-0.5)}
    for mode, kernel in kernels.items():
        ours, theirs = f"{mode}, antialiased", f"interpolate {mode}, antialiased"
        widened = partial(_shrink, by, kernel, antialias=True)
        rivals.append(Contender(ours, always(widened), equal_to=None))
        run = always(partial(_interpolate, by, mode))
        rivals.append(Contender(theirs, run, equal_to=ours, tolerance=TOLERANCE))
    return Case(
        f"kernels-shrunk-{by}",
        "Affine",
        partial(_inputs, False),
        Contender("ours", always(partial(_shrink, by, "bilinear"))),
        tuple(sorted(rivals, key=lambda rival: rival.equal_to is not None)),
        backend=chosen,
        passes=(FORWARD,),
        layout="NCHW",
    )


def _attend(mode: str | Kernel, image: Tensor, theta: Tensor) -> Tensor:
    """Shrink by 2 with θ as that of `Attention`, which keeps the axes whatever its values."""
    size, own = image.shape[-1] // 2, theta[:, [0, 2, 5]]
    return warp(image, own, Attention(), size=size, mode=mode, antialias=True)  # type: ignore[arg-type]


def _kept_axes() -> Case:
    """Antialiasing where axes are kept, by θ's form or by its values, against `interpolate`."""
    kernel = KERNELS["bicubic"].with_phi(-0.5)
    interpolate = always(partial(_interpolate, 2, "bilinear"))
    rivals = (
        Contender("as affine", always(partial(_shrink, 2, "bilinear", antialias=True))),
        Contender("interpolate", interpolate, tolerance=TOLERANCE),
        Contender("bicubic", always(partial(_attend, kernel)), equal_to=None),
        Contender(
            "interpolate bicubic",
            always(partial(_interpolate, 2, "bicubic")),
            equal_to="bicubic",
            tolerance=TOLERANCE,
        ),
    )
    return Case(
        "antialias-axes",
        "Attention",
        partial(_inputs, False),
        Contender("ours", always(partial(_attend, "bilinear"))),
        rivals,
        backend=chosen,
        passes=(FORWARD,),
        layout="NCHW",
    )


def _sheared_inputs(device: torch.device) -> Inputs:
    """Return an image of noise and a θ that shears and turns."""
    image, theta = _inputs(True, device)
    return image, theta + theta.new_tensor([0, SHEAR, 0, 0, -SHEAR / 2, 0])


def _sheared() -> Case:
    """Antialiasing where the map turns and shears, against plain bilinear to the same size."""
    modes: tuple[Mode, ...] = ("bilinear", "bicubic")
    widened = (
        Contender(
            f"{mode}, antialiased",
            always(partial(_shrink, 2, mode, antialias=True)),
            equal_to=None,
        )
        for mode in modes
    )
    return Case(
        "antialias-sheared",
        "Affine",
        _sheared_inputs,
        Contender("ours", always(partial(_shrink, 2, "bilinear"))),
        tuple(widened),
        backend=chosen,
        passes=(FORWARD,),
        layout="NCHW",
    )


CASES = (_all_kernels(), _antialias(2), _antialias(4), _kept_axes(), _sheared())
