"""Bounded entries of θ: a smooth squash that leaves the identity where it is.

On each side of the identity e, an entry with a bound at distance s from it reads

    value = e + s · φ((θ - e) / s),    φ(x) = 2/π · arctan(π/2 · x),

and a side without a bound reads θ itself. So the identity is exact, the slope there is 1, and the
second derivative is continuous. However large θ is, its value is within bounds, to the last bit.

φ's slope falls with the square of x only. That of tanh is zero in float32 from x = 10 on: a θ that
has run that far would never come back.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TypeAlias

import torch
from torch import Tensor, nn

from .._errors import InputError
from .numerics.constants import Constants

Limits: TypeAlias = tuple[float, float]
Pair: TypeAlias = tuple[float | None, float | None]  # lowest and highest; None: no bound
Bounds: TypeAlias = Pair | Mapping[str, Pair]  # of all entries, or by name


class Squash(nn.Module):
    """The map from θ to the bounded values of its entries, and back."""

    def __init__(self, bounds: Bounds, entries: Sequence[str], identity: Tensor, asked: str):
        super().__init__()
        named = isinstance(bounds, Mapping)
        by_name = dict(bounds if named else dict.fromkeys(entries, bounds))
        unknown = sorted(map(repr, set(by_name).difference(entries)))
        if unknown:
            raise InputError(
                f"{asked} was given bounds of {', '.join(unknown)}; its entries are "
                f"{' '.join(entries)}"
            )
        pairs = [_limits(name, by_name.get(name, (None, None)), asked) for name in entries]
        for name, pair, start in zip(entries, pairs, identity.tolist(), strict=True):
            _require_room(name, pair, start, asked)
        plain = {name: _plain(pair) for name, pair in by_name.items()}
        #: As they were given, None where there is no bound.
        self.bounds: Bounds = plain if named else plain[entries[0]]
        with torch.device("cpu"):
            low, high = torch.tensor(pairs, dtype=torch.float64).unbind(1)
            self.constants = Constants(start=identity.double(), low=low, high=high)

    def forward(self, theta: Tensor) -> Tensor:
        """Return the bounded values of θ (N, P)."""
        start, low, high = self._numbers(theta)
        away = theta - start
        span, bounded = _span(away, start, low, high)
        values = start + span * squashed(away / span)
        rounding = (values - values.clamp(low, high)).detach()  # whose slope would be 0
        return (values - rounding).where(bounded, theta)

    def inverse(self, values: Tensor) -> Tensor:
        """Return the θ of values (N, P): infinite at a bound, NaN beyond it."""
        start, low, high = self._numbers(values)
        away = values - start
        span, bounded = _span(away, start, low, high)
        return (start + span * _unsquashed((away / span).where(bounded, 0))).where(bounded, values)

    def _numbers(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        start, low, high = (self.constants[name].to(like) for name in ("start", "low", "high"))
        return start, low, high


def squashed(x: Tensor) -> Tensor:
    """Return φ(x)."""
    return 2 / math.pi * torch.arctan(math.pi / 2 * x)


def _unsquashed(y: Tensor) -> Tensor:
    """Return φ⁻¹(y) = 2/π · tan(π/2 · y): infinite at ±1, NaN beyond.

    Near ±1, 1 / tan(π/2 · (1 - |y|)) keeps the digits.
    """
    size, near = y.abs(), y.abs() < 0.5
    inner = torch.tan(math.pi / 2 * y.where(near, 0))
    outer = y.sign() / torch.tan(math.pi / 2 * (1 - size).where(~near, 0.5))
    return 2 / math.pi * inner.where(near, outer).where(size <= 1, torch.nan)


def _span(away: Tensor, start: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance of the bound from the identity (1 if none), and whether there is one."""
    span = (high - start).where(away > 0, start - low)
    bounded = span.isfinite()
    return span.where(bounded, 1), bounded


def _limits(name: str, pair: Pair, asked: str) -> Limits:
    """Return lowest and highest value, infinite without a bound."""
    numbers = list(pair) if isinstance(pair, Sequence) and not isinstance(pair, str) else []
    if len(numbers) != 2 or not all(x is None or isinstance(x, Real) for x in numbers):
        raise InputError(
            f"{asked} was given bounds {pair!r} of {name}; give the lowest and the highest value, "
            "None for no bound"
        )
    low, high = numbers
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _plain(pair: Pair) -> Pair:
    """Return a pair with None for infinite bounds."""
    low, high = (None if x is None or math.isinf(x) else x for x in pair)
    return low, high


def _require_room(name: str, pair: Limits, start: float, asked: str) -> None:
    low, high = pair
    if not low < start < high:
        raise InputError(
            f"{asked} was given bounds ({low:g}, {high:g}) of {name}, which is {start:g} at the "
            "identity; give a lowest and a highest value with the identity strictly between them"
        )
