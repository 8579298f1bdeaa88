"""The plain C structs by which Python calls the compiled code: `csrc/call.h`, field by field."""

import struct
from collections.abc import Sequence
from functools import lru_cache
from math import prod

import torch

from ....grid.regular import pixel_frame
from ...kernels import KERNELS
from ..fused import Plan

ABI = 5  # of csrc/call.h
#: `Call`: whole numbers, numbers; addresses.
FACTS, ADDRESSES = struct.Struct("=31q29d"), struct.Struct("=16Q")
FILTER = struct.Struct("=10q4d6Q")
FLOW_HEAD, FLOW_ADDRESSES = struct.Struct("=3q"), struct.Struct("=7Q")
STRETCH = 14  # numbers of a `Stretch`
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_PADDINGS = ("zeros", "constant", "border", "reflection", "wrap", "renormalise")
_FORMS = {"matrix": 0, "perspective": 1, "normalised": 2, "pixels": 2}


@lru_cache(maxsize=4096)
def facts(
    plan: Plan,
    isa: int,
    dtype: torch.dtype,
    image: Sequence[int],
    coordinates: Sequence[int],
    functions: int,
    last: bool,
    margins: Sequence[int],
    degree: int,
) -> bytes:
    """Pack what does not change between calls of the same shapes."""
    stored, form = image[2:], _FORMS[plan.form]
    source = [n - 2 * m for n, m in zip(stored, margins[::-1], strict=True)]
    columns = 0 if form == 2 else coordinates[2]
    factors = [] if form == 2 else plan.factors(source, columns)
    kernel = KERNELS[plan.mode]
    return FACTS.pack(
        *(ABI, isa, _DTYPES.index(dtype), len(source), kernel.count),
        *(_PADDINGS.index(plan.padding_mode), plan.align_corners, form),
        *(max(image[0], coordinates[0]), image[1]),
        *padded(stored[::-1], 3, 1),
        *padded(plan.size[::-1], 3, 1),
        *_strides(image[1], prod(stored), last),
        *_strides(image[1], prod(plan.size), last),
        *(image[0], coordinates[0], columns, functions),
        *(degree, *padded(margins, 3), kernel.inverse_filter is None),
        *padded([f for row in factors for f in padded(row[: len(source)], 3)], 12),
        *padded([row[-1] for row in factors], 4),
        *padded(pixel_frame(source, plan.align_corners).centre, 3),
        *padded([u for axis in plan.units(source) for u in axis], 9),
        plan.max_shrink or 0.0,
    )


def _strides(channels: int, points: int, last: bool) -> tuple[int, int, int]:
    return channels * points, 1 if last else points, channels if last else 1


def padded(numbers: Sequence[float], count: int, rest: float = 0) -> list[float]:
    """Return as many numbers, with the rest after those that are given."""
    return [*numbers, *[rest] * (count - len(numbers))]
