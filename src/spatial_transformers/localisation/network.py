"""What localisation networks share: the size they see, the layer that ends them, and their rate."""

from typing import Any

from torch import nn

from .._config import Configured
from .._types import Image, Size, Theta, Thetas
from ..grid import Transformation
from .head import RegressionHead
from .multiplied import Multiplied, checked
from .resize import fitted, fixed_size


class LocalisationNetwork(Configured):
    """Layers on the resized image, then θ: a network sets `body` and `head`.

    The state of its head says with which multiplier all of it was trained. A network with another
    one takes the state all the same, and predicts the same θ.
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

    def _argument(self, name: str) -> Any:
        kept = ("transformation", "start", "perturbation")  # by the head
        return self.head._argument(name) if name in kept else super()._argument(name)

    def forward(self, image: Image) -> Theta | Thetas:
        """Return θ (N, P), or (N, K, P) of K starts, of images (N, C, *any size)."""
        dtype = self.head.weight.dtype
        return self.head(self.body(fitted(image, self.input_size, self.in_channels, dtype)))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        ratio = self.head._ratio(state_dict, f"{prefix}head.")
        for name, module in self.named_modules() if ratio != 1 else ():
            if isinstance(module, Multiplied):
                for key, _ in module.named_parameters(recurse=False):
                    full = f"{prefix}{name}.{key}"
                    if full in state_dict:
                        state_dict[full] = state_dict[full] * ratio
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
