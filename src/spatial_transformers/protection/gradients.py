"""The gradient to θ, limited for every sample: none outweighs the batch.

A sample whose gradient g is longer than k times the batch's median m gets g · k m / |g|. The median
is over the samples that have a gradient at all. The limit knows no absolute number, so it is the
same for any loss, any batch, and under loss scaling. A gradient that is not finite becomes 0.
"""

from math import inf
from typing import Any

import torch
from torch import Tensor

from .._context import Fixed
from .._errors import InputError


def limited(theta: Tensor, limit: Fixed) -> Tensor:
    """Return θ (N, P), to which a limited gradient will flow."""
    return _Limited.apply(theta, limit.value)


def checked(limit: float) -> Fixed:
    """Return a limit; refuse one that would leave no gradient."""
    if isinstance(limit, bool) or not 1 <= limit < inf:
        raise InputError(
            f"theta_clip={limit!r} was given; give a multiple of the median, from 1 on, None for "
            "no limit"
        )
    return Fixed(limit)


class _Limited(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, limit: float) -> Tensor:  # type: ignore[override]
        ctx.limit = limit
        return theta.view_as(theta)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        (grad,) = grads
        grad = grad.where(grad.isfinite().all(1, keepdim=True), 0)
        lengths = torch.linalg.vector_norm(grad.detach(), dim=1, keepdim=True)
        some = lengths > 0
        median = lengths.where(some, torch.nan).nanmedian()
        share = ctx.limit * median / lengths.where(some, 1)
        return grad * share.where(some, 1).clamp(max=1), None
