"""Families that are integrated, each against our own affine warp, of which they are multiples.

They map points otherwise, so that nothing is verified here: the tests of `grid/` do that.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor

from .. import CPAB, Affine, Transformation, VelocityField, warp
from .cases import Case, Contender, Run
from .warps import near_identity, shown, warp_case

_SPREAD = 0.05  # of velocities: points move by a twentieth of the image and less


def family(transformation: Transformation, shape: Sequence[int], *, warps: bool) -> Contender:
    """Return a warp by a transformation, or its grid alone, at velocities of its own."""

    def own(theta: Tensor) -> Tensor:
        drawn = near_identity(transformation, shape[0], _SPREAD).to(theta)
        return drawn + 0 * theta.sum()  # so that there are gradients to the map that it replaces

    def build(device: torch.device) -> Run:
        there = deepcopy(transformation).to(device)
        if warps:
            return lambda image, theta: warp(image, theta, there)
        return lambda image, theta: there.grid(theta, image.shape[2:])

    name = f"{transformation}{'' if warps else ', grid'}"
    return Contender(name, build, convert=own, equal_to=None)


def _case(shape: tuple[int, ...], *families: Transformation) -> Case:
    rivals = (family(f, shape, warps=warps) for f in families for warps in (False, True))
    return warp_case(f"families-{shown(shape)}", Affine(len(shape) - 2), shape, *rivals)


CASES = (
    _case((8, 3, 224, 224), VelocityField(8, steps=7), CPAB(4)),
    _case((2, 1, 40, 96, 112), VelocityField((6, 8, 9))),
)
