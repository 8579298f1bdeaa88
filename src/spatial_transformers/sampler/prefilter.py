"""The prefilter of kernels that interpolate only filtered images, such as B-splines.

An image u, continued by its padding, has coefficients c whose weighted sums are u at every pixel:
c = h ∗ u, with the inverse filter h. Here the filter is one matrix per axis, with h cut off below
the dtype's precision, so that it traces, exports and differentiates like all else.

Source: Unser, Splines: a perfect fit for signal and image processing, 1999, section "B-spline
interpolation"; there as recursions, which are sequential.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .kernels import Kernel
from .padding import FILLING, move_inside


class Coefficients(NamedTuple):
    """What a kernel weighs, and where it lies."""

    values: Tensor  # (N, C, *source), each spatial axis with `margin` more pixels at either end
    margin: int
    coverage: tuple[Tensor, ...] | None  # per axis, x first: the coefficients of an axis of ones


def coefficients(
    image: Tensor, kernel: Kernel, padding_mode: str, align_corners: bool
) -> Coefficients:
    """Return the coefficients of (N, C, *source): the image itself for a kernel without prefilter.

    If the padding does not repeat the whole image, coefficients beyond its ends differ from all
    those inside, until h has faded. The margin reaches that far.
    """
    if kernel.inverse_filter is None:
        return Coefficients(image, 0, None)
    precision = torch.finfo(image.dtype).eps / 4
    taps = [h for h in kernel.inverse_filter if abs(h) > precision]
    response = image.new_tensor([*taps, 0.0])
    reach = len(taps) - 1
    margin = reach if padding_mode in (*FILLING, "border") else 0
    coverage = []
    around = 0 if padding_mode in FILLING else reach + margin  # pixels outside that count
    for axis in range(image.ndim - 1, 1, -1):
        length = image.shape[axis]
        read = torch.arange(-around, length + around, device=image.device)
        if around:
            moved = move_inside(read.to(image.dtype), length, padding_mode, align_corners)
            image = image.index_select(axis, moved.long())
        written = torch.arange(-margin, length + margin, device=image.device)
        apart = (written[:, None] - read).abs().clamp(max=reach + 1)
        matrix = response[apart]  # (written, read)
        image = (image.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
        coverage.append(matrix.sum(1))
    return Coefficients(image, margin, tuple(coverage))
