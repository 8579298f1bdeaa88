"""What localisation networks share: the size they see, the layer that ends them, and their rate."""

from typing import Any

import torch
from torch import Tensor, nn

from .._types import Image, Size, Theta, Thetas
from ..grid import Transformation
from .head import RegressionHead
from .multiplied import Multiplied, checked
from .resize import fitted, fixed_size


class LocalisationNetwork(nn.Module):
    """Layers on the resized image, then θ: a network sets `body` and `head`.

    A state holds the multiplier that it was trained with. A network with another one takes it all
    the same, and predicts the same θ. A state without any is one of 1.
    """

    body: nn.Module
    head: RegressionHead

    def __init__(
        self,
        transformation: Transformation,
        in_channels: int,
        input_size: Size | None,
        lr_multiplier: float,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.input_size = fixed_size(input_size, transformation.ndim)
        self._multiplier = checked(lr_multiplier)

    @property
    def lr_multiplier(self) -> float:
        """What the weights are of the parameters: the fraction of Adam's rate they learn at."""
        return self._multiplier.value

    def forward(self, image: Image) -> Theta | Thetas:
        """Return θ (N, P), or (N, K, P) of K starts, of images (N, C, *any size)."""
        dtype = self.head.weight.dtype
        return self.head(self.body(fitted(image, self.input_size, self.in_channels, dtype)))

    def get_extra_state(self) -> Tensor:
        """Return the multiplier, which says what the weights mean."""
        device = self.head.weight.device
        return torch.tensor(self.lr_multiplier, dtype=torch.float64, device=device)

    def set_extra_state(self, state: Tensor) -> None:
        """Leave the multiplier: weights were converted to it."""

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        own = self.get_extra_state()
        theirs = state_dict.setdefault(f"{prefix}_extra_state", torch.ones_like(own))
        if not theirs.is_meta and theirs.item() != self.lr_multiplier:
            ratio = theirs.item() / self.lr_multiplier
            for name, module in self.named_modules():
                if isinstance(module, (Multiplied, RegressionHead)):
                    for key, _ in module.named_parameters(recurse=False):
                        full = f"{prefix}{name}.{key}"
                        if full in state_dict:
                            state_dict[full] = module.convert(key, state_dict[full], ratio)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
