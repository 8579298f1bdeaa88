"""Normalisation in localisation networks, by its name."""

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from .._context import Fixed
from .._errors import shown
from .._hints import require_name
from .multiplied import Multiplied

Norm: TypeAlias = Literal["group", "batch"] | None


def normalisation(
    norm: Norm, width: int, ndim: int, rate: Fixed, **factory: Any
) -> list[nn.Module]:
    """Return the layer that normalises `width` channels on `ndim` spatial axes, if there is one.

    `group` takes all channels and places of a sample together (Wu and He, Group Normalization,
    2018, with one group), `batch` a channel's places over all samples. `rate` is the learning-rate
    multiplier of the first; the second is PyTorch's own.

    Raises:
        InputError: for another name.

    """
    require_name(norm, Norm, f"norm {shown(norm)} was asked for")
    if norm is None:
        return []
    if norm == "group":
        return [SampleNorm(1, width, lr_multiplier=rate, **factory)]
    return [getattr(nn, f"BatchNorm{max(ndim, 1)}d")(width, **factory)]


class SampleNorm(Multiplied, nn.GroupNorm):
    """`nn.GroupNorm` with a multiplier, without what tracers stumble over.

    It refuses a batch of one pixel, of which `jit.trace` warns, and its `eps` is a float, for which
    `torch.compile(dynamic=True)` compiles twice; the default is the same number.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, *size)."""
        return torch.group_norm(input, 1, *self._weights())
