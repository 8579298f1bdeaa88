"""Convolutional localisation networks: one that finds the pose, and the paper's for ST-CNN."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from .._errors import InputError
from .._types import Size
from ..grid import Transformation
from .head import RegressionHead, Start, require_counts
from .multiplied import CONVOLUTIONS, Linear
from .network import LocalisationNetwork
from .norm import Norm, normalisation
from .resize import fixed_size

_KERNEL = 5
_SIZES = {1: 64, 2: 48, 3: 24}  # by dimensions


class LocalisationCNN(LocalisationNetwork):
    """Convolutions 5, each pooled by two, – fully connected – θ (section 3.1).

    It sees enough pixels to find the pose of a digit or a sign, and learns at a tenth of Adam's
    rate. Each sample is normalised by itself (`norm="group"`), so that it does the same
    for a batch of one, in training and after. The choices are those of the page *Troubleshooting*;
    `LocalisationCNN.paper` is the paper's network.

    Where the input is so small that nothing would be left of it (15 pixels and less), convolutions
    are padded to keep its size.

    Args:
        transformation: read for its `ndim`, `num_parameters` and `identity()`.
        in_channels: channels of the image.
        input_size: the size to which the image is first resized, antialiased, so that parameters do
            not depend on the image's own; 64 pixels in 1-D, 48 per axis in 2-D and 24 in 3-D unless
            given.
        filters: of every convolution; a number is that of two.
        hidden: width of the fully connected layer.
        norm: what is normalised behind every convolution: `group`, all of a sample together;
            `batch`, every channel over the batch; None, nothing.
        pool_last: pool behind the last convolution, too.
        start: see `RegressionHead`.
        perturbation: see `RegressionHead`.
        lr_multiplier: m, what the network's weights are of its parameters, so that it learns more
            slowly than the rest: at m times Adam's rate, and at m² times that of gradient descent.
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

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.1.

    """

    def __init__(
        self,
        transformation: Transformation,
        *,
        in_channels: int,
        input_size: Size | None = None,
        filters: int | Sequence[int] = (8, 16),
        hidden: int = 128,
        norm: Norm = "group",
        pool_last: bool = True,
        start: Start | None = None,
        perturbation: float = 0.0,
        lr_multiplier: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        ndim = transformation.ndim
        input_size = _SIZES.get(ndim) if input_size is None else input_size
        super().__init__(transformation, in_channels, input_size, lr_multiplier)
        require_counts(in_channels=in_channels, hidden=hidden)
        widths = (filters, filters) if isinstance(filters, int) else tuple(filters)
        for width in widths:
            require_counts(filters=width)
        self.filters, self.hidden, self.norm, self.pool_last = widths, hidden, norm, pool_last
        if min(self.input_size) < 2:
            raise InputError(f"input_size {self.input_size} was asked for; give 2 pixels or more")
        pools = [True] * (len(widths) - 1) + [pool_last]
        padding = 0 if min(_left(n, pools, 0) for n in self.input_size) > 0 else _KERNEL // 2
        factory: Any = {"device": device, "dtype": dtype}
        rate = self._multiplier
        convolution = partial(CONVOLUTIONS[ndim], lr_multiplier=rate, padding=padding, **factory)
        pool = partial(getattr(nn, f"MaxPool{ndim}d"), 2, ceil_mode=padding > 0)
        layers: list[nn.Module] = []
        channels = in_channels
        for width, pooled in zip(widths, pools, strict=True):
            layers += [convolution(channels, width, _KERNEL), *([pool()] if pooled else [])]
            layers += [*normalisation(norm, width, ndim, rate, **factory), nn.ReLU()]
            channels = width
        for n in self.input_size:
            channels *= _left(n, pools, padding)
        layers += [nn.Flatten(), Linear(channels, hidden, lr_multiplier=rate, **factory), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = RegressionHead(
            hidden,
            transformation,
            start=start,
            perturbation=perturbation,
            lr_multiplier=lr_multiplier,
            **factory,
        )

    @classmethod
    def paper(
        cls, transformation: Transformation, *, in_channels: int, **options: Any
    ) -> "LocalisationCNN":
        """Return the paper's network for ST-CNN (appendix A.4).

        It is conv 20 – pool – conv 20 – fc 20 – θ, not normalised, and learns at the optimiser's
        rate. The paper's sees half the image's size; here that is 32 pixels per axis in 2-D and 16
        in 3-D. Options that are given replace these.

        Example:
            >>> from spatial_transformers import Affine, LocalisationCNN
            >>> sum(p.numel() for p in LocalisationCNN.paper(Affine(), in_channels=1).parameters())
            50686

        """
        theirs: dict[str, Any] = {
            "input_size": fixed_size(None, transformation.ndim),
            "filters": (20, 20),
            "hidden": 20,
            "norm": None,
            "pool_last": False,
            "lr_multiplier": 1.0,
        }
        return cls(transformation, in_channels=in_channels, **(theirs | options))


def _left(pixels: int, pools: Sequence[bool], padding: int) -> int:
    """Return how many pixels of an axis are left behind convolutions, each of which may pool."""
    for pooled in pools:
        pixels -= _KERNEL - 1 - 2 * padding
        if pooled:  # padded ones round up
            pixels = (pixels + (padding > 0)) // 2
    return pixels
