"""Bounded entries of θ: a smooth squash that leaves the identity where it is.

On each side of the identity e, an entry with a bound at distance s from it reads

    value = e + s · tanh((θ - e) / s)

and a side without a bound reads θ itself. So the identity is exact, the slope there is 1, the
second derivative is continuous, and every θ, however large, is within bounds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from .._types import InputError
from .constants import Constants

Pair: TypeAlias = tuple[float | None, float | None]  # lowest and highest; None: no bound
Bounds: TypeAlias = Pair | Mapping[str, Pair]  # of all entries, or by name


class Squash(nn.Module):
    """Between θ and the bounded values of its entries."""

    def __init__(self, bounds: Bounds, entries: Sequence[str], identity: Tensor, asked: str):
        super().__init__()
        self.bounds = bounds
        by_name = bounds if isinstance(bounds, Mapping) else dict.fromkeys(entries, bounds)
        unknown = [name for name in by_name if name not in entries]
        if unknown:
            raise InputError(
                f"{asked} was given bounds of {', '.join(map(repr, unknown))}; its entries are "
                f"{' '.join(entries)}"
            )
        pairs = [by_name.get(name, (None, None)) for name in entries]
        starts = identity.tolist()
        for name, pair, start in zip(entries, pairs, starts, strict=True):
            _require_room(name, pair, start, asked)
        with torch.device("cpu"):
            self.constants = Constants(
                start=identity.double(),
                below=identity.double() - _tensor([_or(low, -math.inf) for low, _ in pairs]),
                above=_tensor([_or(high, math.inf) for _, high in pairs]) - identity.double(),
            )

    def forward(self, theta: Tensor) -> Tensor:
        """Return the bounded values of θ (N, P)."""
        start, span, bounded = self._spans(theta)
        away = theta - start
        return start + (span * torch.tanh(away / span)).where(bounded, away)

    def inverse(self, values: Tensor) -> Tensor:
        """Return the θ of values (N, P): infinite at a bound, NaN beyond it."""
        start, span, bounded = self._spans(values)
        away = values - start
        return start + (span * torch.atanh((away / span).where(bounded, 0))).where(bounded, away)

    def _spans(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        start, below, above = (
            getattr(self.constants, name).to(x) for name in ("start", "below", "above")
        )
        span = above.where(x > start, below)
        bounded = span.isfinite()
        return start, span.where(bounded, 1), bounded


def _require_room(name: str, pair: Pair, start: float, asked: str) -> None:
    low, high = _or(pair[0], -math.inf), _or(pair[1], math.inf)
    if not low < start < high:
        raise InputError(
            f"{asked} was given bounds ({pair[0]}, {pair[1]}) of {name}, which is {start:g} at the "
            "identity; give a lowest and a highest value with the identity strictly between them"
        )


def _or(bound: float | None, default: float) -> float:
    return default if bound is None else float(bound)


def _tensor(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)
