"""What is compared: cases, and the rivals that must first give the same result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

Inputs: TypeAlias = tuple[Tensor, ...]
Contender: TypeAlias = Callable[..., Tensor]


@dataclass(frozen=True)
class Rival:
    """Another way to the same result."""

    run: Contender | None  # None: not here, for the reason of `absent`
    absent: str = ""
    once: bool = False  # too slow to repeat: timed in the run that verifies it


@dataclass(frozen=True)
class Case:
    """One task, as we do it and as others do."""

    name: str
    inputs: Callable[[], Inputs]
    ours: Contender
    rivals: Mapping[str, Rival] = field(default_factory=dict)
    tolerance: float = 0.0  # largest difference of a rival's result from ours


def all_cases() -> dict[str, Case]:
    """Return every case by name."""
    from . import kernels, thin_plate_spline

    return {case.name: case for module in (thin_plate_spline, kernels) for case in module.CASES}
