"""Layers that learn more slowly than the rest of a network, by whatever optimiser.

The layer's weights are w = m · v, and v are its parameters. Adam and RMSprop move every parameter
by about the learning rate, whatever its gradient is, and so w by m times that. Gradient descent
moves w by m² times as much as it would without the multiplier: its gradient is m times as large.

Under Adam, m = 0.1 is what a localisation network needs. Gradient descent needs the square: it
moves θ by the gradient times the squared length of the features, for which a learning rate that
suits the rest of the network does not allow.

Source: Karras, Laine and Aila, A Style-Based Generator Architecture for Generative Adversarial
Networks, CVPR 2019, whose mapping network learns so (`lr_multiplier`).
"""

from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from .._context import Fixed
from .._errors import InputError


def checked(multiplier: float) -> Fixed:
    """Return a multiplier; refuse what no layer can learn by."""
    if isinstance(multiplier, bool) or not 0 < multiplier < inf:
        raise InputError(
            f"lr_multiplier={multiplier!r} was given; give a number above 0, 1 for the optimiser's "
            "own rate"
        )
    return Fixed(multiplier)


class Multiplied(nn.Module):
    """What makes a layer of PyTorch learn more slowly."""

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

    def _weights(self) -> tuple[Tensor, Tensor | None]:
        m = self._multiplier.value
        if m == 1:
            return self.weight, self.bias
        return self.weight * m, None if self.bias is None else self.bias * m


class Linear(Multiplied, nn.Linear):
    """A fully connected layer."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, out_features) of (N, in_features)."""
        m = self._multiplier.value  # of the output, which is smaller than the weights
        output = super().forward(input)
        return output if m == 1 else output * m


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
