"""The fill: the value of what lies outside the image, with `padding_mode="constant"`."""

from collections.abc import Sequence
from math import inf
from numbers import Real
from typing import TypeAlias

import torch
from torch import Tensor

from .._context import context
from .._types import InputError

Fill: TypeAlias = float | Sequence[float] | Tensor


def check_fill(fill_value: Fill | None, padding_mode: str) -> None:
    """Refuse a fill without `constant` padding, and `constant` padding without a fill."""
    if fill_value is None:
        if padding_mode == "constant":
            raise InputError("padding_mode 'constant' was asked for without a fill_value; give one")
        return
    if isinstance(fill_value, Real) and not abs(fill_value) < inf:  # pyright: ignore
        raise InputError(f"fill_value {fill_value} was given; give a finite number")
    if padding_mode != "constant":
        raise InputError(
            f"fill_value was given with padding_mode {padding_mode!r}; it goes with 'constant'"
        )


def as_fill(fill_value: Fill | None, image: Tensor) -> Tensor | None:
    """Return the fill as (C,), or None where it is zero."""
    if fill_value is None:
        return None
    channels = image.shape[1]
    if isinstance(fill_value, Real) and image.is_floating_point():
        if abs(float(fill_value)) > torch.finfo(image.dtype).max:
            raise InputError(f"fill_value {fill_value} was given; {image.dtype} cannot hold it")
        return image.new_full((channels,), float(fill_value))
    precise = image.dtype if image.is_floating_point() else None
    given = torch.as_tensor(fill_value, device=image.device, dtype=precise).flatten()
    fill = given.to(image.dtype)
    if not image.is_floating_point() and context() == "eager" and (fill != given).any():
        raise InputError(
            f"fill_value {fill_value!r} was given for an image of {image.dtype}, which cannot hold "
            "it; give numbers of the image's kind"
        )
    if fill.shape[0] not in (1, channels):
        raise InputError(
            f"{fill.shape[0]} fill values were given for an image of {channels} channels; give "
            "one number or one per channel"
        )
    return fill.expand(channels)
