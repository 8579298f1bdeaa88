"""The one autograd function: a fast forward and backward, second derivatives by the reference.

A fused backward has no derivative of its own. When one is asked for (grad mode is on inside
`backward`, as `create_graph=True` leaves it), the reference, which computes the same function in
plain PyTorch, is differentiated instead. The same happens where `vmap` batches cotangents.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._context import context


class Operator(NamedTuple):
    """A function of tensors in three forms."""

    forward: Callable[..., Tensor]  # (*tensors) -> output
    backward: Callable[..., Sequence[Tensor | None]]  # (grad, needed, *tensors) -> gradients
    reference: Callable[..., Tensor]  # (*tensors) -> output, differentiable any number of times


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, operator: Operator, *tensors: Tensor | None) -> Tensor:
        ctx.operator = operator
        ctx.save_for_backward(*tensors)
        return operator.forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        again = torch.is_grad_enabled()
        if not again and not _batched(grads[0]):
            return None, *ctx.operator.backward(grads[0], needed, *tensors)
        reference = ctx.operator.reference
        with torch.enable_grad():
            return None, *_through_reference(reference, grads[0], needed, tensors, again)


def _batched(grad: Tensor) -> bool:
    """Whether a cotangent is a batch of many, made by `vmap` or by `is_grads_batched=True`."""
    legacy = torch._C._functorch.is_legacy_batchedtensor(grad)  # pyright: ignore
    return legacy or context() == "transform"


def _through_reference(
    reference: Callable[..., Tensor],
    grad: Tensor,
    needed: Sequence[bool],
    tensors: Sequence[Tensor | None],
    again: bool,
) -> list[Tensor | None]:
    # one tensor may have been made of another: then only what the function does itself counts here
    tensors = [None if t is None else t.view_as(t) for t in tensors]
    inputs = [t for t, need in zip(tensors, needed, strict=True) if need and t is not None]
    grads = partial(torch.autograd.grad, materialize_grads=True)  # what has no part has a 0
    found = iter(grads(reference(*tensors), inputs, grad, create_graph=again))
    return [next(found) if need else None for need in needed]


def run(operator: Operator, *tensors: Tensor | None) -> Tensor:
    """Run the operator, recorded for autograd where a tensor needs it."""
    if not torch.is_grad_enabled() or not any(t is not None and t.requires_grad for t in tensors):
        return operator.forward(*tensors)
    return _Differentiable.apply(operator, *tensors)  # type: ignore[return-value]
