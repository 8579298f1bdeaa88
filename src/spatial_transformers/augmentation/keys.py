"""What names the draw of every image: a number, given or drawn."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from .._errors import InputError, shown

Key: TypeAlias = int | Sequence[int] | Tensor

MOST = 1 << 63  # the first number that is no key


def as_keys(key: Key | None, generator: torch.Generator | None, count: int) -> Tensor:
    """Return a 64-bit key per image (N,): those given, or new ones.

    Raises:
        InputError: for a key that is not a whole number per image, or given with a generator.

    """
    if key is None:
        device = "cpu" if generator is None else generator.device
        return torch.randint(-MOST, MOST - 1, (count,), generator=generator, device=device)
    if generator is not None:
        raise InputError("RandomWarp was given a key and a generator; give one of them")
    keys = _whole_numbers(key)
    if keys is None or len(keys) != count:
        raise InputError(
            f"RandomWarp was given the key {shown(key)} of {count} images; give a whole number for "
            "each, of 64 bits"
        )
    return keys


def _whole_numbers(key: Key) -> Tensor | None:
    """Return the numbers of a key, None if they are not whole or too large."""
    try:
        keys = torch.as_tensor(key).reshape(-1)
    except (TypeError, ValueError, RuntimeError):  # no numbers, or of more than 64 bits
        return None
    whole = not (keys.is_floating_point() or keys.is_complex() or keys.dtype == torch.bool)
    return keys.long() if whole else None
