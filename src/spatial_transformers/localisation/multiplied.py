"""Layers that learn at a fraction m of the optimiser's rate, whatever the optimiser is.

The layer's weights are w = m · v, and v are its parameters. To v goes the gradient of w, not m
times it. So a step of Adam, which moves every number by the learning rate, and a step of gradient
descent both move w by m times as much as they would without the multiplier.

Source: Karras, Laine and Aila, A Style-Based Generator Architecture for Generative Adversarial
Networks, CVPR 2019, whose mapping network learns so (`lr_multiplier`). It multiplies gradients,
too: under Adam that is the same, under gradient descent the fraction would be m².
"""

from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._context import STEPS, Fixed, context
from .._types import InputError


def multiplied(parameter: Tensor, by: Fixed) -> Tensor:
    """Return m · v, with slope 1 to v where a training step may be taken.

    `torch.func` differentiates the function that it is, with slope m.
    """
    multiplier = by.value
    if multiplier == 1:
        return parameter
    if not torch.is_grad_enabled() or context(parameter) not in STEPS:
        return parameter * multiplier
    fixed = parameter.detach()
    return fixed * multiplier + (parameter - fixed)


def checked(multiplier: float) -> Fixed:
    """Return a multiplier; refuse what no layer can learn by."""
    if isinstance(multiplier, bool) or not 0 < multiplier < inf:
        raise InputError(
            f"lr_multiplier={multiplier!r} was given; give a number above 0, 1 for the optimiser's "
            "own rate"
        )
    return Fixed(multiplier)


class Multiplied(nn.Module):
    """What makes a layer of PyTorch learn at a fraction of the rate."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, *args: Any, lr_multiplier: Fixed, **options: Any):
        self._multiplier = lr_multiplier  # which the layer's own constructor needs
        super().__init__(*args, **options)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights w as the layer of PyTorch does, and keep v = w / m."""
        super().reset_parameters()  # type: ignore[misc]
        for parameter in self.parameters(recurse=False):
            parameter.div_(self._multiplier.value)

    def extra_repr(self) -> str:
        """Show the multiplier, too."""
        return f"{super().extra_repr()}, lr_multiplier={self._multiplier.value}"

    def convert(self, name: str, values: Tensor, ratio: float) -> Tensor:
        """Return v of a layer whose multiplier is `ratio` times this one's, as this one's v."""
        del name
        return values * ratio

    def _weights(self) -> tuple[Tensor, Tensor | None]:
        bias = None if self.bias is None else multiplied(self.bias, self._multiplier)
        return multiplied(self.weight, self._multiplier), bias


class Linear(Multiplied, nn.Linear):
    """A fully connected layer."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, out_features) of (N, in_features)."""
        return F.linear(input, *self._weights())


class _Convolution(Multiplied):
    def forward(self, input: Tensor) -> Tensor:
        """Return (N, out_channels, *size) of (N, in_channels, *size)."""
        return self._conv_forward(input, *self._weights())  # type: ignore[operator]


class _Convolution1d(_Convolution, nn.Conv1d):
    pass


class _Convolution2d(_Convolution, nn.Conv2d):
    pass


class _Convolution3d(_Convolution, nn.Conv3d):
    pass


#: Convolutions by the number of dimensions.
CONVOLUTIONS = {1: _Convolution1d, 2: _Convolution2d, 3: _Convolution3d}
