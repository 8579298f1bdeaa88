"""The functions of B beside the homogeneous coordinates, kept from one call to the next."""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..._context import Context
from ...grid import Transformation
from ...grid.linear import Linear

_MOST_KEPT = 1 << 20  # values of the functions of B that are kept for the next call


class _Kept(NamedTuple):
    """The functions that a transformation last had, and what they were made of."""

    asked: tuple[Any, ...]
    made_of: list[Tensor]
    versions: list[int]
    functions: Tensor


_LAST: WeakKeyDictionary[Transformation, _Kept] = WeakKeyDictionary()


def functions_of(
    transformation: Linear,
    size: tuple[int, ...],
    align_corners: bool,
    like: Tensor,
    context: Context,
) -> Tensor:
    """Return the rows of B below the homogeneous coordinates, (K, *size).

    On the CPU they are kept for the next call. They are computed anew if they are learned, in
    inference mode, under compilers, and after a buffer was replaced or changed in place. A change
    through `.data` is not noticed.
    """
    asked = (size, align_corners, like.dtype, like.device)
    made_of, learned = [*transformation.buffers()], any(True for _ in transformation.parameters())
    keeps = context == "eager" and like.device.type == "cpu" and not learned
    keeps = keeps and not torch.is_inference_mode_enabled()
    keeps = keeps and not any(t.is_inference() for t in made_of)
    kept = _LAST.get(transformation) if keeps else None
    if kept is not None and kept.asked == asked and _same(kept, made_of):
        return kept.functions
    basis = transformation.basis(
        size, align_corners=align_corners, dtype=like.dtype, device=like.device
    )
    functions = basis[transformation.ndim + 1 :]
    if keeps and functions.numel() <= _MOST_KEPT:
        versions = [t._version for t in made_of]
        _LAST[transformation] = _Kept(asked, made_of, versions, functions)
    return functions


def _same(kept: _Kept, made_of: list[Tensor]) -> bool:
    pairs = zip(kept.made_of, made_of, strict=False)
    return all(a is b for a, b in pairs) and kept.versions == [t._version for t in made_of]
