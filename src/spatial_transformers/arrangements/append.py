"""θ fed forward: the pose that a transformer removed, told to the rest of the network."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._config import Configured, Recorded
from .._errors import InputError
from .._types import Theta, Thetas, require_tensor
from ..grid import Transformation


class AppendTheta(Configured):
    """Append what θ says to a network's features.

    A transformer takes the pose out of an image. Where the task needs it (a size, a place, a 6 that
    is no 9), the network behind gets it back here, as θ encodes it: through one layer, of how far θ
    is from the identity.

    Args:
        transformation: of θ.
        width: how many features are appended.
        maps: how many θ an image has, of a transformer that makes K outputs of it.

    Raises:
        InputError: for a width or a number of maps below 1, features that are not floats (N, F),
            and θ of another shape.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, AppendTheta
        >>> append = AppendTheta(Affine(), width=8)
        >>> append(torch.rand(5, 100), Affine().identity().expand(5, 6)).shape
        torch.Size([5, 108])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.4.

    """

    identity: Tensor

    def __init__(self, transformation: Transformation, *, width: int = 32, maps: int = 1):
        super().__init__()
        if type(width) is not int or type(maps) is not int or min(width, maps) < 1:
            raise InputError(f"width={width!r} and maps={maps!r} were given; give 1 or more")
        identity = transformation.identity().repeat(maps)
        self.register_buffer("identity", identity, persistent=False)
        self.maps, self._recorded = maps, Recorded(transformation)
        self.layer = nn.Linear(len(identity), width)

    def forward(
        self, features: Float[Tensor, "N F"], theta: Theta | Thetas
    ) -> Float[Tensor, "N features"]:
        """Return features (N, F + width) of features (N, F) and θ (N, P) or (N, K, P)."""
        require_tensor(features, "AppendTheta", "features")
        require_tensor(theta, "AppendTheta", "theta")
        if features.ndim != 2 or not features.is_floating_point():
            raise InputError(
                f"AppendTheta was given features of shape {tuple(features.shape)} and "
                f"{features.dtype}; give floats (N, F), as nn.Flatten() makes them"
            )
        flat = theta.flatten(1) if theta.ndim in (2, 3) else theta
        if flat.shape != (len(features), len(self.identity)):
            raise InputError(
                f"theta of shape {tuple(theta.shape)} was given to append to features of shape "
                f"{tuple(features.shape)}; give a theta of {len(self.identity)} entries for each"
            )
        told = torch.relu(self.layer((flat - self.identity).to(self.layer.weight.dtype)))
        return torch.cat((features, told.to(features.dtype)), 1)

    def _argument(self, name: str) -> Any:
        if name == "transformation":
            return self._recorded
        return self.layer.out_features if name == "width" else super()._argument(name)
