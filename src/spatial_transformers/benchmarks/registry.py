"""What is compared: cases, and the contenders that must first give the same result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import torch
from torch import Tensor

from .. import InputError

Inputs: TypeAlias = tuple[Tensor, ...]
Run: TypeAlias = Callable[..., Tensor]

FORWARD, BOTH = "forward", "forward+backward"
PASSES = FORWARD, BOTH


class AbsentError(Exception):
    """Why a contender cannot take part here."""


@dataclass(frozen=True)
class Contender:
    """One way to the result, of inputs whose last one is θ."""

    name: str
    build: Callable[
        [torch.device], Run
    ]  # may raise AbsentError, and prepare what θ does not decide
    convert: Callable[[Tensor], Tensor] | None = None  # θ to its own parameters, before timing
    passes: tuple[str, ...] = PASSES
    equal_to: str | None = "ours"  # whose result its own must be; None: it does another task
    tolerance: float = 0.0  # of values, where a stated reason asks for more than `tolerances`
    gradient_tolerance: float = 0.0  # likewise
    deterministic: bool = False  # under torch.use_deterministic_algorithms
    once: bool = False  # too slow to repeat: timed once
    torch_memory: bool = True  # whether torch allocates what it needs
    compiles: bool = False  # takes part only where there is time for it


@dataclass(frozen=True)
class Case:
    """One task, as we do it and as others do."""

    name: str
    transformation: str
    inputs: Callable[[torch.device], Inputs]  # the same at every call; the last one is θ
    ours: Contender
    rivals: tuple[Contender, ...]  # each after the one that it must equal
    backend: Callable[[Tensor], str] | None = None  # the name of what runs ours, given the image
    passes: tuple[str, ...] = PASSES
    layout: str = ""
    margin: int = 0  # border of the image where gradients may differ, with what continues it
    device: str = ""  # the only one it is for
    quick: bool = False  # among those of --quick


def always(run: Run) -> Callable[[torch.device], Run]:
    """Return a `build` for what has nothing to prepare."""
    return lambda device: run


@cache
def groups() -> Mapping[str, Mapping[str, Case]]:
    """Return the cases of each group, by name."""
    from . import cuda, kernels, peers, shapes, sizes, splines, thin_plate_spline

    modules = (shapes, sizes, peers, splines, kernels, thin_plate_spline, cuda)
    return {
        module.__name__.rpartition(".")[2].replace("_", "-"): {c.name: c for c in module.CASES}
        for module in modules
    }


def all_cases() -> dict[str, Case]:
    """Return every case by name."""
    return {name: case for group in groups().values() for name, case in group.items()}


def find(names: Sequence[str]) -> list[Case]:
    """Return the cases of these names, or of groups of these names.

    Raises:
        InputError: for an unknown name, with those that there are.

    """
    known = {name: [case] for name, case in all_cases().items()}
    known |= {name: list(group.values()) for name, group in groups().items()}
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"case {unknown[0]!r} was asked for; groups: {', '.join(groups())}; "
            f"cases: {', '.join(all_cases())}"
        )
    return list({case.name: case for name in names for case in known[name]}.values())
