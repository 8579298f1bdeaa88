"""What is compared: cases, and the contenders that must first give the same result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Inputs: TypeAlias = tuple[Tensor, ...]
Run: TypeAlias = Callable[..., Tensor]

FORWARD, BOTH = "forward", "forward+backward"
PASSES = FORWARD, BOTH


class AbsentError(Exception):
    """Why a contender cannot take part here."""


@dataclass(frozen=True)
class Contender:
    """One way to compute the result from inputs, the last of which is θ."""

    name: str
    build: Callable[
        [torch.device], Run
    ]  # may raise AbsentError, and prepare what does not depend on θ
    convert: Callable[[Tensor], Tensor] | None = None  # θ to its own parameters, before timing
    passes: tuple[str, ...] = PASSES
    equal_to: str | None = "ours"  # the contender that it must equal; None: it does another task
    tolerance: float = 0.0  # of values, where a stated reason asks for more than `tolerances`
    gradient_tolerance: float = 0.0  # likewise, of gradients
    deterministic: bool = False  # under torch.use_deterministic_algorithms
    once: bool = False  # too slow to repeat: timed once
    torch_memory: bool = True  # whether torch allocates its memory, and so can measure it
    compiles: bool = False  # takes part only where there is time to compile it


@dataclass(frozen=True)
class Case:
    """One task, as we do it and as others do."""

    name: str
    transformation: str
    inputs: Callable[[torch.device], Inputs]  # the same at every call; the last one is θ
    ours: Contender
    rivals: tuple[Contender, ...]  # each after the one that it must equal
    backend: Callable[[Tensor], str] | None = None  # the backend that runs ours, given the image
    passes: tuple[str, ...] = PASSES
    layout: str = ""
    margin: int = 0  # border in which gradients to the image may differ, as paddings do
    device: str = ""  # the only one it is for
    quick: bool = False  # among those of --quick


def always(run: Run) -> Callable[[torch.device], Run]:
    """Return a `build` for what has nothing to prepare."""
    return lambda device: run
