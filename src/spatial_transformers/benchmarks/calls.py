"""What is timed: a contender's result, alone or with the gradients of a fixed cotangent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

from .cases import BOTH, AbsentError, Inputs, Run

Results: TypeAlias = tuple[Tensor, ...]  # values, then gradients to the inputs, θ's last
Call: TypeAlias = Callable[[], Results]


def calling(run: Run, leaves: Inputs, which: str, *, deterministic: bool = False) -> Call:
    """Return a call that gives the values and, in the pass with backward, the gradients."""
    call = _both(run, leaves) if which == BOTH else lambda: (run(*leaves),)
    return _deterministically(call) if deterministic else call


def _both(run: Run, leaves: Inputs) -> Call:
    weights: list[Tensor] = []  # made at the first call, when the shape is known

    def call() -> Results:
        out = run(*leaves)
        if not weights:
            weights.append(_cotangent(out))
        return out, *torch.autograd.grad(out, leaves, weights[0], materialize_grads=True)

    return call


def _cotangent(out: Tensor) -> Tensor:
    """Return numbers above zero, so that gradients to θ are large sums, in which rounding is small.

    Their layout is that of the result, as a following layer would give it.
    """
    numbers = torch.rand(out.shape, generator=torch.Generator().manual_seed(1))
    return torch.empty_like(out).copy_(numbers + 0.5)


def _deterministically(call: Call) -> Call:
    def inside() -> Results:
        try:
            with deterministic_mode():
                return call()
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            raise AbsentError(str(error).partition(".")[0]) from error

    return inside


@contextmanager
def deterministic_mode(wanted: bool = True) -> Iterator[None]:
    """Let torch refuse operations whose result differs from run to run, if that is wanted."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
