"""The fill: the value of what lies outside the image, with `padding_mode="constant"`."""

from collections.abc import Sequence
from math import inf
from numbers import Real
from typing import TypeAlias

import torch
from torch import Tensor

from .._context import context
from .._errors import InputError, shown
from .padding import Padding, fills

Fill: TypeAlias = float | Sequence[float] | Tensor


def check_fill(fill_value: Fill | None, padding_mode: Padding) -> None:
    """Refuse what is no fill, a fill without `constant` padding, and that padding without a fill.

    NaN is a fill: it marks what was not seen.
    """
    if fill_value is None:
        if fills(padding_mode):
            raise InputError("padding_mode 'constant' was asked for without a fill_value; give one")
        return
    if not _is_fill(fill_value):
        raise InputError(
            f"fill_value {shown(fill_value)} was given; give a number that is finite or NaN, or "
            "one per channel"
        )
    if not fills(padding_mode):
        raise InputError(
            f"fill_value was given with padding_mode {padding_mode!r}; it goes with 'constant'"
        )


def _is_fill(fill_value: object) -> bool:
    if isinstance(fill_value, Tensor):
        return not fill_value.is_complex()
    if isinstance(fill_value, Sequence):
        return not isinstance(fill_value, str) and all(map(_is_number, fill_value))
    return _is_number(fill_value)


def _is_number(given: object) -> bool:
    return isinstance(given, Real) and abs(given) != inf  # pyright: ignore[reportArgumentType]


def as_fill(fill_value: Fill | None, image: Tensor) -> Tensor | None:
    """Return the fill as (C,) in the image's dtype, or None where it is zero."""
    if fill_value is None:
        return None
    channels, fill = image.shape[1], _held(fill_value, image)
    if fill is None:
        raise InputError(
            f"fill_value {shown(fill_value)} was given for an image of {image.dtype}, which cannot "
            "hold it; give numbers of the image's kind"
        )
    if fill.shape[0] not in (1, channels):
        raise InputError(
            f"{fill.shape[0]} fill values were given for an image of {channels} channels; give "
            "one number or one per channel"
        )
    return fill.expand(channels)


def _held(fill_value: Fill, image: Tensor) -> Tensor | None:
    """Return the fill in the image's dtype, None where that dtype has no such numbers."""
    # in a trace there is no reading
    reads = context(image) == "eager" and not image.is_floating_point()
    if isinstance(fill_value, Tensor):
        fill = fill_value.flatten().to(image.device, image.dtype)
        back = fill.to(fill_value.dtype)
        return None if reads and not torch.equal(back, fill_value.flatten().to(back)) else fill
    numbers = fill_value if isinstance(fill_value, Sequence) else [fill_value]
    if image.is_floating_point():
        largest = torch.finfo(image.dtype).max
        return None if any(abs(n) > largest for n in numbers) else image.new_tensor(numbers)
    try:
        fill = image.new_tensor(numbers)
    except (OverflowError, RuntimeError, ValueError):  # too large for the dtype, or NaN
        return None
    return None if reads and fill.tolist() != list(numbers) else fill


def filled_share(fill: Tensor, share: Tensor) -> Tensor:
    """Return what a fill (1, C, *target) adds by its share of the weights (N, 1, *target).

    A share of 0 adds 0, whatever the fill is. So does one that is only rounding: else a large fill
    would show inside the image.
    """
    rounding = share.abs() < 32 * torch.finfo(share.dtype).eps
    share = share - share.where(rounding, 0).detach()  # its slope stays
    return fill.where(fill.isfinite() | (share != 0), 0) * share
