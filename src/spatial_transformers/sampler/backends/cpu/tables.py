"""What the compiled code looks up for kernels of three taps and more, in place of formulas."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ...kernels import KERNELS
from ...padding import FILLING, move_inside
from ...prefilter import axis_coverage
from ..fused import Plan
from ..polynomials import tap_polynomials


def tables(plan: Plan, stored: Sequence[int], margins: Sequence[int], precise: bool) -> list[Tensor]:
    """Return `kernel_data`, `read_data` and `coverage_data` of `Call`.

    Args:
        plan: the static facts.
        stored: the sizes of what the kernel weighs, x first.
        margins: how many coefficients of it come before the image's first pixel, x first.
        precise: whether the image is float64.

    """
    read, coverage = zip(
        *(_axis(plan.mode, plan.padding_mode, plan.align_corners, *a) for a in zip(stored, margins)),
        strict=True,
    )
    return [_kernel(plan.mode, plan.phi, precise), torch.cat(read), torch.cat(coverage)]


@lru_cache(maxsize=256)
def _kernel(mode: str, phi: tuple[float, ...], precise: bool) -> Tensor:
    rows = tap_polynomials(mode, phi, precise)
    assert rows is not None, (mode, phi)  # why_not knows
    return torch.from_numpy(rows).flatten()


@lru_cache(maxsize=1024)
def _axis(
    mode: str, padding_mode: str, align_corners: bool, length: int, margin: int
) -> tuple[Tensor, Tensor]:
    """Return what is read, and what would be read of ones, from a kernel's width before an axis on."""
    kernel = KERNELS[mode]
    pixels = torch.arange(-kernel.count, length + kernel.count, dtype=torch.float64)
    outside = (pixels < 0) | (pixels > length - 1)
    covered = torch.ones_like(pixels)
    if padding_mode in FILLING:
        covered = covered.where(~outside, 0)
        if kernel.inverse_filter is not None:
            covered[~outside] = axis_coverage(kernel, length - 2 * margin, margin)
        return pixels.where(~outside, -1).to(torch.int32), covered
    return move_inside(pixels, length, padding_mode, align_corners).to(torch.int32), covered
