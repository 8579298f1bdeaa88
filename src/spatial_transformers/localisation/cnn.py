"""Convolutional localisation network, the paper's for ST-CNN: conv – pool – conv – fc – θ."""

from typing import Any

import torch
from torch import Tensor, nn

from .._types import Image, InputError, Size, Theta
from ..grid import Transformation
from .head import RegressionHead, require_counts
from .resize import fitted, fixed_size

_KERNEL = 5
_SMALLEST_UNPADDED = 14  # (14 - 4) / 2 - 4 leaves one pixel


class LocalisationCNN(nn.Module):
    """Convolution 5 – max-pool 2 – convolution 5 – fully connected – θ (section 3.1).

    The layers are the paper's. They would leave nothing of an input below 14 pixels, so there the
    convolutions are padded to keep the size. Batch normalisation is not the paper's; with it the
    network finds large rotations much sooner. It comes after the pooling, which leaves a quarter of
    the numbers.

    Args:
        transformation: read for its `ndim`, `num_parameters` and `identity()`.
        in_channels: channels of the image.
        input_size: the size to which the image is first resized, antialiased, so that parameters do
            not depend on the image's own; 64 pixels in 1-D, 32 per axis in 2-D and 16 in 3-D unless
            given. The paper takes half the image's size.
        filters: filters of both convolutions.
        hidden: width of the fully connected layer.
        batch_norm: normalise batches after the pooling and after the second convolution.
        start: see `RegressionHead`.
        perturbation: see `RegressionHead`.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        InputError: if `input_size` is below 2 pixels along an axis, for a width below 1, and for
            images of other axes, channels or dtype.

    Example:
        >>> from spatial_transformers import Affine, LocalisationCNN
        >>> localisation = LocalisationCNN(Affine(ndim=3), in_channels=1)
        >>> localisation(torch.rand(2, 1, 20, 24, 28)).shape
        torch.Size([2, 12])
        >>> LocalisationCNN(Affine(), in_channels=3)(torch.rand(5, 3, 60, 40)).shape
        torch.Size([5, 6])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.1 and appendix A.4.

    """

    def __init__(
        self,
        transformation: Transformation,
        *,
        in_channels: int,
        input_size: Size | None = None,
        filters: int = 20,
        hidden: int = 20,
        batch_norm: bool = False,
        start: Tensor | None = None,
        perturbation: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        require_counts(in_channels=in_channels, filters=filters, hidden=hidden)
        self.in_channels = in_channels
        self.input_size = fixed_size(input_size, transformation.ndim)
        if min(self.input_size) < 2:
            raise InputError(f"input_size {self.input_size} was asked for; give 2 pixels or more")
        padding = 0 if min(self.input_size) >= _SMALLEST_UNPADDED else _KERNEL // 2
        factory: Any = {"device": device, "dtype": dtype}
        ndim = transformation.ndim
        convolution, pool = getattr(nn, f"Conv{ndim}d"), getattr(nn, f"MaxPool{ndim}d")
        norm = [getattr(nn, f"BatchNorm{ndim}d")] if batch_norm else []
        self.body = nn.Sequential(
            convolution(in_channels, filters, _KERNEL, padding=padding, **factory),
            pool(2),
            *(layer(filters, **factory) for layer in norm),
            nn.ReLU(),
            convolution(filters, filters, _KERNEL, padding=padding, **factory),
            *(layer(filters, **factory) for layer in norm),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(filters * self._pixels_left(padding), hidden, **factory),
            nn.ReLU(),
        )
        self.head = RegressionHead(
            hidden, transformation, start=start, perturbation=perturbation, **factory
        )

    def forward(self, image: Image) -> Theta:
        """Return θ (N, P) of images (N, C, *any size)."""
        dtype = self.head.weight.dtype
        return self.head(self.body(fitted(image, self.input_size, self.in_channels, dtype)))

    def _pixels_left(self, padding: int) -> int:
        lost = _KERNEL - 1 - 2 * padding
        pixels = 1
        for n in self.input_size:
            pixels *= (n - lost) // 2 - lost
        return pixels
