"""Other gradients to the coordinates than the sampler's own (eq. 7); values stay what they are.

Eq. 7 looks at the kernel's support only, a pixel or two: an image whose sample must move further
gets no help from it, and `nearest` has no slope at all.

    straight-through  the slope of bilinear sampling, whatever the kernel
    linearized        the plane through samples around the point, as far apart as target points are
                      (Jiang et al., Linearized multi-sampling for differentiable image
                      transformation, ICCV 2019; there at random places, here on a fixed lattice)
    multi-scale       the mean slope over a pyramid that halves the image four times

Slopes are constants to whatever differentiates them: second derivatives are 0.
"""

from itertools import product

import torch
from torch import Tensor

from .._context import at_least_float32
from .backends.reference import sample_pixels
from .dispatch import Spec
from .target import Target

_LEVELS = 4  # of the pyramid, beside the image itself
_WIDEST = 1000  # pixels between the samples of a plane


def with_slopes(
    spec: Spec,
    values: Tensor,
    image: Tensor,
    target: Target,
    fill: Tensor | None,
) -> Tensor:
    """Return values (N, C, *target) that change with pixel coordinates by the slopes asked for."""
    gradient, source = spec.options.gradient, image.shape[2:]
    pixels = target.pixels(source)
    finite = pixels.isfinite().all(-1, keepdim=True)
    pixels = pixels.where(finite, 0)
    fixed, image = pixels.detach(), at_least_float32(image.detach())
    fill = None if fill is None else fill.detach()
    spec = spec.changed(mode="bilinear", antialias=False)
    if gradient == "linearized":
        slopes = _of_plane(spec, image, fixed, target.spacing(source).detach(), fill)
    elif gradient == "multi-scale":
        slopes = _of_pyramid(spec, image, fixed, fill)
    else:
        slopes = _of_cell(spec, image, fixed, fill)
    for axis, slope in enumerate(slopes):
        moved = (pixels - fixed)[..., axis].where(finite[..., 0], 0)  # 0, with a gradient of 1
        slope = slope.where(slope.isfinite(), 0)  # of pixels, or a fill, that are not
        values = values + (slope * moved[:, None]).to(values.dtype)
    return values


def _of_cell(spec: Spec, image: Tensor, pixels: Tensor, fill: Tensor | None) -> list[Tensor]:
    """Return eq. 7 per axis: a difference along the axis, interpolated linearly across it."""
    ends = []
    for axis in range(pixels.shape[-1]):
        low = pixels.clone()
        low[..., axis] = pixels[..., axis].floor()
        high = low.clone()
        high[..., axis] += 1
        ends += [low, high]
    sampled = sample_pixels(spec, image, torch.stack(ends, 1), fill).unbind(2)
    return [high - low for low, high in zip(sampled[::2], sampled[1::2], strict=True)]


def _of_plane(
    spec: Spec, image: Tensor, pixels: Tensor, steps: Tensor, fill: Tensor | None
) -> list[Tensor]:
    """Return the slopes of the plane that fits samples at −1, 0, 1 widths along every axis best."""
    ndim = pixels.shape[-1]
    widths = steps.square().sum(-1).sqrt().nan_to_num(1, _WIDEST).clamp(1, _WIDEST)
    offsets = pixels.new_tensor([*product((-1, 0, 1), repeat=ndim)])  # (3 ** ndim, ndim)
    around = torch.stack([pixels + widths * offset for offset in offsets], 1)
    sampled = sample_pixels(spec, image, around, fill).movedim(2, -1)
    weight = 2 * 3 ** (ndim - 1)  # the sum of squared offsets
    totals = [(sampled * column).sum(-1) for column in offsets.T]
    return [t / (weight * widths[..., a][:, None]) for a, t in enumerate(totals)]


def _of_pyramid(spec: Spec, image: Tensor, pixels: Tensor, fill: Tensor | None) -> list[Tensor]:
    totals = _of_cell(spec, image, pixels, fill)
    for level in range(1, _LEVELS + 1):
        image = _halved(image)
        coarse = _of_cell(spec, image, (pixels + 0.5) / 2**level - 0.5, fill)
        totals = [t + s / 2**level for t, s in zip(totals, coarse, strict=True)]
    return [t / (_LEVELS + 1) for t in totals]


def _halved(image: Tensor) -> Tensor:
    """Return the mean of every two pixels along every axis; a last one that is alone stays."""
    for axis in range(2, image.ndim):
        length = image.shape[axis]
        first = 2 * torch.arange((length + 1) // 2, device=image.device)
        second = (first + 1).clamp(max=length - 1)
        image = (image.index_select(axis, first) + image.index_select(axis, second)) / 2
    return image
