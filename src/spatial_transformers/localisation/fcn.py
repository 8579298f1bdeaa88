"""Fully connected localisation network, the paper's for ST-FCN: three layers of 32, then θ."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._types import Image, Size, Theta
from ..grid import Transformation
from .head import RegressionHead, require_counts
from .resize import fitted, fixed_size


class LocalisationFCN(nn.Module):
    """Fully connected layers on the resized image (section 3.1).

    Batch normalisation is not the paper's; with it the network aligns better.

    Args:
        transformation: read for its `ndim`, `num_parameters` and `identity()`.
        in_channels: channels of the image.
        input_size: the size to which the image is first resized, antialiased, so that parameters do
            not depend on the image's own; 64 pixels in 1-D, 32 per axis in 2-D and 16 in 3-D unless
            given.
        hidden: widths of the hidden layers.
        batch_norm: normalise after each hidden layer.
        start: see `RegressionHead`.
        perturbation: see `RegressionHead`.
        device: of the parameters.
        dtype: of the parameters.

    Example:
        >>> from spatial_transformers import Affine, LocalisationFCN
        >>> localisation = LocalisationFCN(Affine(), in_channels=1)
        >>> localisation(torch.rand(2, 1, 60, 48)).shape
        torch.Size([2, 6])
        >>> LocalisationFCN(Affine(ndim=3), in_channels=1)(torch.rand(4, 1, 20, 24, 28)).shape
        torch.Size([4, 12])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.1 and appendix A.4.

    """

    def __init__(
        self,
        transformation: Transformation,
        *,
        in_channels: int,
        input_size: Size | None = None,
        hidden: Sequence[int] = (32, 32, 32),
        batch_norm: bool = False,
        start: Tensor | None = None,
        perturbation: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        require_counts(in_channels=in_channels)
        for width in hidden:
            require_counts(hidden=width)
        self.in_channels = in_channels
        self.input_size = fixed_size(input_size, transformation.ndim)
        features = in_channels
        for n in self.input_size:
            features *= n
        factory: Any = {"device": device, "dtype": dtype}
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            norm = [nn.BatchNorm1d(width, **factory)] if batch_norm else []
            layers += [nn.Linear(features, width, **factory), *norm, nn.ReLU()]
            features = width
        self.body = nn.Sequential(*layers)
        self.head = RegressionHead(
            features, transformation, start=start, perturbation=perturbation, **factory
        )

    def forward(self, image: Image) -> Theta:
        """Return θ (N, P) of images (N, C, *any size)."""
        dtype = self.head.weight.dtype
        return self.head(self.body(fitted(image, self.input_size, self.in_channels, dtype)))
