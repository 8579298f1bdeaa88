"""Where an image is put at random: ranges in human units, and the matrices of what is drawn.

The content is turned, mirrored, scaled and moved in pixels, and then seen in perspective. In pixels
a turn is a turn, also of an image that is not square, whose normalised coordinates it would shear.
"""

from collections.abc import Mapping, Sequence
from math import inf, isfinite, log
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor

from .._errors import InputError, shown
from ..grid.numerics.matrices import Matrix
from ..grid.numerics.rotation import from_parts

Range: TypeAlias = tuple[float, float]  # the lowest and the highest value
Ranges: TypeAlias = Range | Sequence[Range]  # of all axes alike, or of each, x first


class _Part(NamedTuple):
    """What a range may hold, strictly between two values, and how it is put into words."""

    neutral: float
    low: float
    high: float
    unit: str


_PARTS = {
    "rotation": _Part(0, -inf, inf, "degrees"),
    "scale": _Part(1, 0, inf, "factors above 0"),
    "stretch": _Part(1, 0, inf, "factors above 0"),
    "shear": _Part(0, -90, 90, "degrees between -90 and 90"),
    "translation": _Part(0, -inf, inf, "shares of the image's side"),
    "perspective": _Part(0, -1, 1, "numbers between -1 and 1"),
}


class Placement:
    """Turns numbers of U[0, 1) into matrices, target to source.

    Args:
        ndim: 2 or 3.
        ranges: of every part, by name.
        flip: the probability of a mirror image along each axis, x first; none if empty.

    """

    def __init__(self, ndim: int, ranges: Mapping[str, Ranges], flip: Sequence[float]):
        turns = ndim * (ndim - 1) // 2
        counts = {"rotation": turns, "scale": 1, "shear": turns}
        found = {n: _ranges(n, given, counts.get(n, ndim)) for n, given in ranges.items()}
        _require_in_front(found["perspective"])
        self.flip = _shares(flip, ndim)
        self.perspective = any(map(any, found["perspective"]))
        moved = any({*pair} != {_PARTS[n].neutral} for n, pairs in found.items() for pair in pairs)
        self.is_neutral = not moved and not any(self.flip)
        self._widths = [len(pairs) for pairs in found.values()]
        self._ranges = [
            tuple(map(log, pair)) if n in ("scale", "stretch") else pair
            for n, pairs in found.items()
            for pair in pairs
        ]
        #: How many numbers are drawn per sample.
        self.count = ndim + len(self._ranges)

    def matrices(
        self, numbers: Float64[Tensor, "N count"], half_extents: Sequence[float]
    ) -> Matrix:
        """Return normalised matrices (N, ndim, ndim + 1), or square ones with a perspective.

        Args:
            numbers: of U[0, 1).
            half_extents: of the source, in pixels, x first: a target of its size is then resized.

        """
        ndim = len(half_extents)
        mirrored, drawn = numbers.split((ndim, self.count - ndim), 1)
        low, high = drawn.new_tensor(self._ranges).unbind(1)
        parts = (low + (high - low) * drawn).split(self._widths, 1)
        rotation, scale, stretch, shear, move, tilt = parts
        sign = 1 - 2 * (mirrored < mirrored.new_tensor(self.flip)).double()
        scales = sign * (-scale - stretch).exp()  # of the grid: it reads less where content grows
        angles, slopes = rotation.deg2rad(), shear.deg2rad().tan()
        pixels = from_parts(torch.cat((angles, scales, slopes, torch.zeros_like(move)), 1), ndim)
        extents = drawn.new_tensor(half_extents)
        linear = pixels[:, :, :ndim] * (extents / extents[:, None])
        offset = -2 * (linear * move[:, None]).sum(-1, keepdim=True)
        if not self.perspective:
            return torch.cat((linear, offset), 2)
        last = torch.cat((tilt, torch.ones_like(tilt[:, :1])), 1)[:, None]
        return torch.cat((torch.cat((linear + offset * tilt[:, None], offset), 2), last), 1)


def _ranges(name: str, given: Any, count: int) -> list[Range]:
    """Return a range for each of `count` numbers."""
    part = _PARTS[name]
    pairs = [given] * count if _is_range(given, part) else given
    fits = isinstance(pairs, Sequence) and len(pairs) == count
    if fits and all(_is_range(pair, part) for pair in pairs):
        return [(float(low), float(high)) for low, high in pairs]
    several = "" if count == 1 else f", or {count} such pairs, those of x first"
    raise InputError(
        f"RandomWarp({name}={shown(given)}) was asked for; give (lowest, highest) in "
        f"{part.unit}{several}"
    )


def _is_range(given: Any, part: _Part) -> bool:
    if not isinstance(given, Sequence) or len(given) != 2 or not all(map(is_number, given)):
        return False
    low, high = given
    return bool(part.low < low <= high < part.high)


def is_number(given: Any) -> bool:
    """Say whether something is a finite number, and no boolean."""
    return isinstance(given, Real) and not isinstance(given, bool) and isfinite(given)


def is_share(given: Any) -> bool:
    """Say whether something is a number from 0 to 1."""
    return is_number(given) and 0 <= given <= 1


def _require_in_front(perspective: list[Range]) -> None:
    """Refuse tilts by which a corner of the target could lie behind the camera."""
    most = sum(max(map(abs, pair)) for pair in perspective)
    if most >= 1:
        raise InputError(
            f"RandomWarp(perspective={perspective}) was asked for, which add up to {most:g} in a "
            "corner of the image; give ranges whose largest values add up to less than 1"
        )


def _shares(flip: Any, ndim: int) -> tuple[float, ...]:
    """Return the probability of a mirror image along each axis."""
    fits = isinstance(flip, Sequence) and len(flip) in (0, ndim)
    if fits and all(is_share(chance) for chance in flip):
        return tuple(flip) or (0.0,) * ndim
    example = ", ".join(("0.5", *["0"] * (ndim - 1)))
    raise InputError(
        f"RandomWarp(flip={shown(flip)}) was asked for; give the probability along each axis, x "
        f"first, as ({example}), which mirrors left and right"
    )
