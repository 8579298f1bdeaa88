"""The prefilter of kernels that interpolate only filtered images, such as B-splines.

An image u, continued by its padding, has coefficients c whose weighted sums are u at every pixel:
c = h ∗ u, with the inverse filter h. Here the filter is one matrix per axis, with h cut off below
the dtype's precision, so that it traces, exports and differentiates like all else.

Source: Unser, Splines: a perfect fit for signal and image processing, 1999, section "B-spline
interpolation"; there as recursions, which are sequential.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .kernels import Kernel
from .padding import FILLING, move_inside


class Coefficients(NamedTuple):
    """What a kernel weighs, and where it lies."""

    values: Tensor  # (N, C, *source), each axis with as many more pixels at either end as follow
    margins: Sequence[int]  # x first
    coverage: tuple[Tensor, ...] | None  # per axis, x first: the coefficients of an axis of ones


def coefficients(
    image: Tensor,
    kernel: Kernel,
    paddings: Sequence[str],
    align_corners: bool,
    *,
    finite: bool,
) -> Coefficients:
    """Return the coefficients of (N, C, *source): the image itself for a kernel without prefilter.

    If the padding does not repeat the whole image, coefficients beyond its ends differ from all
    those inside, until h has faded. The margin reaches that far. A pixel that is not finite makes
    the coefficients NaN that h reaches from it; `finite` says that there is none.
    """
    if kernel.inverse_filter is None:
        return Coefficients(image, [0] * len(paddings), None)
    reached = None
    if not finite:
        odd = ~image.isfinite()
        image, reached = image.where(~odd, 0), odd.to(image.dtype)
    taps = filter_taps(kernel, image.dtype)
    response = image.new_tensor([*taps, 0.0])
    reach = len(taps) - 1
    margins, coverage = [], []
    for axis, padding_mode in zip(range(image.ndim - 1, 1, -1), paddings, strict=True):
        length = image.shape[axis]
        margin, around = reaches(padding_mode, reach)
        read = torch.arange(-around, length + around, device=image.device)
        if around:
            moved = move_inside(read.to(image.dtype), length, padding_mode, align_corners)
            image = image.index_select(axis, moved.long())
            reached = None if reached is None else reached.index_select(axis, moved.long())
        written = torch.arange(-margin, length + margin, device=image.device)
        apart = (written[:, None] - read).abs().clamp(max=reach + 1)
        matrix = response[apart]  # (written, read)
        image = _filtered(image, axis, matrix)
        if reached is not None:
            reached = _filtered(reached, axis, (matrix != 0).to(matrix))
        margins.append(margin)
        coverage.append(matrix.sum(1))
    if reached is not None:
        image = image.where(reached == 0, torch.nan)
    return Coefficients(image, margins, tuple(coverage))


def filter_taps(kernel: Kernel, dtype: torch.dtype) -> list[float]:
    """Return the inverse filter at distances 0, 1, …, cut off below the dtype's precision."""
    precision = torch.finfo(dtype).eps / 4
    return [h for h in kernel.inverse_filter or () if abs(h) > precision]


def reaches(padding_mode: str, reach: int) -> tuple[int, int]:
    """Return how many coefficients beyond an axis are computed, and how many pixels there count."""
    margin = reach if padding_mode in (*FILLING, "border") else 0
    return margin, 0 if padding_mode in FILLING else reach + margin


def axis_coverage(kernel: Kernel, length: int, margin: int) -> Tensor:
    """Return the coefficients of an axis of ones, in float64, with nothing outside it."""
    ones = torch.ones(length, dtype=torch.float64)
    response = ones.new_tensor(kernel.inverse_filter or (1.0,))
    both = torch.cat((response[1:].flip(0), response))
    whole = torch.nn.functional.conv1d(ones[None, None], both[None, None], padding=len(both) - 1)
    inner = whole[0, 0][len(response) - 1 - margin :]  # from pixel -margin on
    return inner[: length + 2 * margin]


def _filtered(image: Tensor, axis: int, matrix: Tensor) -> Tensor:
    return (image.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
