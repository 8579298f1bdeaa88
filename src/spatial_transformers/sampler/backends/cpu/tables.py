"""What the compiled code looks up for kernels of three taps and more, in place of formulas."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...kernels import KERNELS, filter_poles
from ...padding import FILLING, move_inside
from ...prefilter import axis_coverage, filter_taps, reaches
from ..fused import Plan
from ..polynomials import piece_polynomials, tap_polynomials


class Tables(NamedTuple):
    """What `Call` points to."""

    kernel: Tensor | None = None
    read: Tensor | None = None
    coverage: Tensor | None = None
    degree: int = -1  # of the kernel's polynomials


def tables(plan: Plan, stored: Sequence[int], margins: Sequence[int], precise: bool) -> Tables:
    """Return what a plan's kernel looks up.

    Args:
        plan: the static facts.
        stored: the sizes of what the kernel weighs, x first.
        margins: how many coefficients of it come before the image's first pixel, x first.
        precise: whether the image is float64.

    """
    kernel, widens = KERNELS[plan.mode], plan.max_shrink is not None
    taps, found = kernel.count, Tables()
    precise |= plan.padding_mode == "renormalise"  # whose sums may be small differences
    filtered = kernel.inverse_filter is not None
    if filtered if widens else taps > 2:
        facts = plan.mode, plan.padding_mode, plan.align_corners
        axes = [_axis(*facts, *sizes) for sizes in zip(stored, margins, strict=True)]
        found = found._replace(read=torch.cat([a[0] for a in axes]))
        found = found._replace(coverage=torch.cat([a[1] for a in axes]))
    if widens:
        pieces = _pieces(plan.mode, plan.phi, precise)
        return found._replace(kernel=pieces, degree=len(pieces) // ((taps + 1) // 2) // 2 - 1)
    if taps > 2:
        rows = _kernel(plan.mode, plan.phi, precise)
        return found._replace(kernel=rows, degree=(len(rows) // taps - 2) // 2 - 1)
    return found


class AxisFilter(NamedTuple):
    """What the prefilter of an axis reads and writes, of a line that reaches beyond both ends."""

    margin: int  # coefficients before the first pixel's
    read: Tensor  # per place of the line: the pixel that is read, or -1
    written: Tensor  # the coefficient that is written, or -1


@lru_cache(maxsize=1024)
def axis_filter(
    mode: str, padding_mode: str, align_corners: bool, length: int, dtype: torch.dtype
) -> AxisFilter:
    """Return what `stn_filter` reads and writes along an axis."""
    margin, around = reaches(padding_mode, len(filter_taps(KERNELS[mode], dtype)) - 1)
    ahead = max(margin, around)
    place = torch.arange(-ahead, length + ahead, dtype=torch.float64)
    read = move_inside(place, length, padding_mode, align_corners)
    read = read.where((place >= -around) & (place < length + around), -1)
    written = place + margin
    written = written.where((written >= 0) & (written < length + 2 * margin), -1)
    return AxisFilter(margin, read.to(torch.int32), written.to(torch.int32))


@lru_cache
def poles(mode: str) -> list[float]:
    """Return the poles of a prefilter."""
    return np.real(filter_poles(KERNELS[mode])[1]).tolist()


@lru_cache(maxsize=256)
def _kernel(mode: str, phi: tuple[float, ...], precise: bool) -> Tensor:
    rows = tap_polynomials(mode, phi, precise)
    assert rows is not None, (mode, phi)  # why_not knows
    return torch.from_numpy(rows).flatten()


@lru_cache(maxsize=256)
def _pieces(mode: str, phi: tuple[float, ...], precise: bool) -> Tensor:
    found = piece_polynomials(mode, phi, precise)
    assert found is not None, (mode, phi)  # why_not knows
    return torch.from_numpy(found)


@lru_cache(maxsize=1024)
def _axis(
    mode: str, padding_mode: str, align_corners: bool, length: int, margin: int
) -> tuple[Tensor, Tensor]:
    """Return what is read, and what would be read of ones, from a kernel's width before on."""
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
