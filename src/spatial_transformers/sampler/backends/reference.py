"""Equations 3 to 7 in plain PyTorch: it defines what is correct, for every other backend.

Any number of spatial dimensions, any dtype, differentiable any number of times in both modes and
under `torch.func`. Eqs. 6 and 7 are what autograd makes of the lines below.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ...grid import Transformation
from ...grid.regular import unnormalise
from ..dispatch import Backend, Spec
from ..kernels import KERNELS
from ..padding import move_inside


class Reference(Backend):
    """Plain PyTorch; slow is fine."""

    name = "reference"
    tolerance: ClassVar[Mapping[torch.dtype, float]] = {}

    def why_not(self, spec: Spec) -> list[str]:
        """Return the reasons against this backend."""
        if not spec.dtype.is_floating_point and spec.mode != "nearest":
            return ["integer images have no weighted sums: use mode='nearest'"]
        return []

    def sample(self, spec: Spec, image: Tensor, grid: Tensor, fill: Tensor | None) -> Tensor:
        """Sample at normalised coordinates."""
        pixels = unnormalise(grid, image.shape[2:], spec.align_corners)
        return sample_pixels(spec, image, pixels, fill)

    def warp(
        self,
        spec: Spec,
        image: Tensor,
        theta: Tensor,
        transformation: Transformation,
        size: tuple[int, ...],
        fill: Tensor | None,
    ) -> Tensor:
        """Sample at T_θ(G), in pixels."""
        source = image.shape[2:]
        pixels = transformation.pixels(theta, size, source, align_corners=spec.align_corners)
        return sample_pixels(spec, image, pixels, fill)


class _Tap(NamedTuple):
    """One pixel that the kernel visits along one axis, per target point: (N, *target) each."""

    pixel: Tensor
    inside: Tensor
    weight: Tensor


def sample_pixels(spec: Spec, image: Tensor, pixels: Tensor, fill: Tensor | None) -> Tensor:
    """Sample (N, C, *source) at pixel coordinates (N, *target, ndim): eq. 3."""
    finite = pixels.isfinite().all(-1)  # (N, *target)
    pixels = pixels.where(finite[..., None], 0)
    weighted = image.dtype.is_floating_point  # integers come with `nearest`, whose weight is 1
    work = torch.promote_types(image.dtype, pixels.dtype) if weighted else image.dtype
    flat = image.to(work).flatten(2)  # (N, C, source)
    outside = flat.new_zeros(1) if fill is None else fill.to(work)
    outside = outside.reshape(1, -1, *[1] * (pixels.ndim - 2))

    lengths = image.shape[:1:-1]  # (W, H[, D]), in the order of coordinates
    axes = [_taps(spec, pixels[..., a], length) for a, length in enumerate(lengths)]
    total = outside * 0
    for taps in product(*axes):
        value = _gather(flat, _flat_index(taps, lengths))
        inside = reduce(torch.logical_and, [tap.inside for tap in taps])
        value = value.where(inside[:, None], outside)  # (N, C, *target)
        weight = reduce(torch.mul, [tap.weight for tap in taps])
        total = total + (weight[:, None] * value if weighted else value)
    return total.where(finite[:, None], outside).to(image.dtype)


def _taps(spec: Spec, x: Tensor, length: int) -> list[_Tap]:
    kernel = KERNELS[spec.mode]
    x = move_inside(x, length, spec.padding_mode, spec.align_corners)
    base = kernel.base(x)
    taps = []
    for offset, weight in zip(kernel.offsets, kernel.weights(x - base), strict=True):
        pixel = base.detach() + offset
        inside = (pixel >= 0) & (pixel <= length - 1)
        taps.append(_Tap(pixel.clamp(0, length - 1).long(), inside, weight))
    return taps


def _flat_index(taps: Sequence[_Tap], lengths: Sequence[int]) -> Tensor:
    """Number the pixels of the image with x running fastest."""
    index = taps[-1].pixel
    for tap, length in zip(reversed(taps[:-1]), reversed(lengths[:-1]), strict=True):
        index = index * length + tap.pixel
    return index


def _gather(flat: Tensor, index: Tensor) -> Tensor:
    """Read (N, C, source) at (N, *target) for every channel alike."""
    spread = index.flatten(1)[:, None].expand(-1, flat.shape[1], -1)
    return flat.gather(2, spread).unflatten(2, index.shape[1:])
