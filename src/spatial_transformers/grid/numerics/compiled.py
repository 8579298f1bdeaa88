"""Compiled code that grids run where there is some; plain PyTorch stands beside each call.

This folder imports no sampler: its backends enter here what they have, by type of device. Each
takes a `reference` that computes the same in plain PyTorch, for derivatives of higher order.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from ..._context import context

_Reference: TypeAlias = Callable[[Tensor, Tensor], Tensor]

#: For (coefficients, places, degree, reference): it returns the spline (N, C, *points) at places
#: (N, *points, ndim), counted in nodes. Either may have a batch of 1.
Spline: TypeAlias = Callable[[Tensor, Tensor, int, _Reference], Tensor]
SPLINES: dict[str, Spline] = {}

#: For (pieces, start, cells, steps, reference): it returns how far points (N, ndim, K) move, as
#: `families/cpab.py` says; cells are x first. Either may have a batch of 1.
Flow: TypeAlias = Callable[[Tensor, Tensor, Sequence[int], int, _Reference], Tensor]
FLOWS: dict[str, Flow] = {}

_Code = TypeVar("_Code", Spline, Flow)


def compiled_for(codes: dict[str, _Code], *tensors: Tensor) -> _Code | None:
    """Return the code for tensors of one dtype and device, where Python itself runs the call."""
    first = tensors[0]
    code = codes.get(first.device.type)
    if code is None or context(*tensors) != "eager":
        return None
    batched = torch._C._functorch.is_legacy_batchedtensor  # pyright: ignore
    alike = all(t.dtype == first.dtype and not batched(t) for t in tensors)
    return code if alike else None
