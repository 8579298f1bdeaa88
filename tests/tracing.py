"""Comparing traced code with eager: traced once, checked at every case, values and gradients."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

Case: TypeAlias = tuple[Tensor, ...]  # the inputs of one call


def compile_and_compare(
    function: Callable[..., Tensor], cases: Sequence[Case], *, backend: str = "aot_eager"
) -> None:
    """Compile for dynamic shapes and compare outputs and gradients with eager at every case.

    One compilation must serve all cases: give sizes that are not equal by chance, nor 1.
    """
    torch._dynamo.reset()
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    parameters = list(function.parameters()) if isinstance(function, nn.Module) else []
    for case in cases:
        assert_close(outcome(compiled, case, parameters), outcome(function, case, parameters))
    assert counter.frame_count == 1, f"compiled {counter.frame_count} times"


def outcome(
    function: Callable[..., Tensor], case: Case, parameters: Sequence[Tensor] = ()
) -> list[Tensor | None]:
    """Return the output and the gradients of inputs and parameters for one fixed cotangent."""
    inputs = [x.detach().clone().requires_grad_() for x in case]
    output = function(*inputs)
    cotangent = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
    wanted = [*inputs, *parameters]
    return [
        output.detach(),
        *torch.autograd.grad(output, wanted, cotangent, allow_unused=True),
    ]


def export_and_compare(
    function: Callable[..., Tensor], cases: Sequence[Case], dynamic_axes: Sequence[Sequence[int]]
) -> None:
    """Export at the first case, with these axes of each input dynamic, and compare at all cases."""
    dynamic = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in dynamic_axes)
    module = _Wrapped(function)
    exported = torch.export.export(module, cases[0], dynamic_shapes=(dynamic,)).module()
    for case in cases:
        assert_close(exported(*case), function(*case))


def jvp_and_compare(function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-6) -> None:
    """Compare a forward-mode derivative along a random direction with central differences."""
    direction = torch.randn_like(x)
    output, tangent = torch.func.jvp(function, (x,), (direction,))
    assert_close(output, function(x))
    difference = function(x + step * direction) - function(x - step * direction)
    assert_close(tangent, difference / (2 * step), rtol=1e-6, atol=1e-7)


class _Wrapped(nn.Module):
    """A function as a module, for `torch.export`."""

    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)
