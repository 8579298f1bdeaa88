"""Cases of `warp`: an image, a θ close to the identity, and ours."""

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import Affine, Transformation, explain, warp
from ..sampler.names import Mode
from .calls import deterministic_mode
from .cases import PASSES, Case, Contender, Inputs, Run

SPREAD = 0.08  # of θ's entries about the identity
CHANNELS_LAST = "channels_last"


def picture(shape: Sequence[int], *, margin: int = 0, layout: str = "") -> Tensor:
    """Return a slope with noise, so that every pixel matters and gradients to θ do not cancel."""
    inner = [n - 2 * margin for n in shape[2:]]
    noise = torch.rand(*shape[:2], *inner, generator=torch.Generator().manual_seed(0))
    axes = torch.meshgrid(*(torch.linspace(0, 1, n) for n in inner), indexing="ij")
    image = F.pad(0.9 * sum(axes) / len(axes) + 0.1 * noise, [margin] * 2 * len(inner))
    last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    return image.contiguous(memory_format=last) if layout == CHANNELS_LAST else image


def near_identity(transformation: Transformation, count: int, spread: float = SPREAD) -> Tensor:
    """Return θ (N, P), each entry off the identity's by up to `spread`."""
    identity = transformation.identity()
    noise = torch.rand(count, len(identity), generator=torch.Generator().manual_seed(2))
    return identity + spread * (2 * noise - 1)


def inputs(
    transformation: Transformation,
    shape: Sequence[int],
    layout: str,
    margin: int,
    theta: Sequence[float] | None,
    device: torch.device,
) -> Inputs:
    """Return an image and θ, the same at every call."""
    image = picture(shape, margin=margin, layout=layout).to(device)
    if theta is None:
        return image, near_identity(transformation, shape[0]).to(device)
    return image, torch.tensor([theta]).repeat(shape[0], 1).to(device)


def warp_case(
    name: str,
    transformation: Transformation,
    shape: Sequence[int],
    *rivals: Contender,
    layout: str = "",
    margin: int = 0,
    theta: Sequence[float] | None = None,
    size: Sequence[int] | None = None,
    mode: Mode = "bilinear",
    passes: Sequence[str] = PASSES,
    **facts: Any,
) -> Case:
    """Return a case of ours against rivals, at one shape of the image."""
    target = None if size is None else tuple(size)
    deterministic = facts.pop("deterministic", False)
    return Case(
        name,
        type(transformation).__name__,
        partial(inputs, transformation, shape, layout, margin, theta),
        ours(transformation, target, mode, deterministic),
        rivals,
        backend=partial(chosen, mode=mode, deterministic=deterministic),
        passes=tuple(passes),
        layout=layout or ("NCDHW" if len(shape) == 5 else "NCHW"),
        margin=margin,
        **facts,
    )


def ours(
    transformation: Transformation,
    size: tuple[int, ...] | None,
    mode: Mode = "bilinear",
    deterministic: bool = False,
) -> Contender:
    """Return `warp`, as users call it."""

    def build(device: torch.device) -> Run:
        there = deepcopy(transformation).to(device)
        return lambda image, theta: warp(image, theta, there, size=size, mode=mode)

    return Contender("ours", build, deterministic=deterministic)


def chosen(image: Tensor, mode: Mode = "bilinear", deterministic: bool = False) -> str:
    """Return the backend that `warp` says it runs."""
    with deterministic_mode(deterministic):
        affine = Affine(image.ndim - 2)
        theta = affine.identity()[None].to(image.device)
        return explain(image, theta, affine, mode=mode).splitlines()[0].rpartition(": ")[2]


def shown(shape: Sequence[int]) -> str:
    """Return a shape as names of cases have it."""
    return "x".join(map(str, shape))
