"""Fully connected localisation network, the paper's for ST-FCN: three layers of 32, then θ."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .._types import Size
from ..grid import Transformation
from .head import RegressionHead, Start, require_counts
from .multiplied import Linear
from .network import LocalisationNetwork
from .norm import Norm, normalisation


class LocalisationFCN(LocalisationNetwork):
    """Fully connected layers on the resized image (section 3.1).

    Batch normalisation is not the paper's; with it the network aligns better.

    Args:
        transformation: read for its `ndim`, `num_parameters` and `identity()`.
        in_channels: channels of the image.
        input_size: the size to which the image is first resized, antialiased, so that parameters do
            not depend on the image's own; 64 pixels in 1-D, 32 per axis in 2-D and 16 in 3-D unless
            given.
        hidden: widths of the hidden layers.
        norm: see `LocalisationCNN`; behind every hidden layer.
        start: see `RegressionHead`.
        perturbation: see `RegressionHead`.
        lr_multiplier: see `LocalisationCNN`.
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
        norm: Norm = None,
        start: Start | None = None,
        perturbation: float = 0.0,
        lr_multiplier: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(transformation, in_channels, input_size, lr_multiplier)
        require_counts(in_channels=in_channels)
        for width in hidden:
            require_counts(hidden=width)
        self.hidden, self.norm = tuple(hidden), norm
        features = in_channels
        for n in self.input_size:
            features *= n
        factory: Any = {"device": device, "dtype": dtype}
        rate = self._multiplier
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers.append(Linear(features, width, lr_multiplier=rate, **factory))
            layers += [*normalisation(norm, width, 0, rate, **factory), nn.ReLU()]
            features = width
        self.body = nn.Sequential(*layers)
        self.head = RegressionHead(
            features,
            transformation,
            start=start,
            perturbation=perturbation,
            lr_multiplier=lr_multiplier,
            **factory,
        )
