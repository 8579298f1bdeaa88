"""The regression layer that ends every localisation network (section 3.1) and starts at a given θ.

At first the layer predicts that θ for every image.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .._config import Configured, Recorded
from .._context import at_least_float32, without_autocast
from .._errors import InputError
from .._types import Theta, Thetas, as_tensor, require_tensor
from ..grid import Transformation
from ..grid.numerics.constants import Constants
from .multiplied import checked

Start: TypeAlias = Tensor | Sequence[Any]  # θ (P,), or several, (K, P)


class RegressionHead(Configured):
    """Linear layer from features to θ that predicts the identity at first, or another start.

    Its weights begin at zero and its bias at the identity, so that the transformer begins by
    passing its input through. Do not set the layer before it to zero as well: two such layers in a
    row never learn. θ is float32 or better, also under autocast and after `.to(torch.bfloat16)`.

    A state holds the start and the multiplier that it was trained with. A head with another
    multiplier takes it all the same, takes over its start, and predicts the same θ. A state without
    them is one of multiplier 1.

    Args:
        in_features: width of the features.
        transformation: read for its `identity()`; no reference to it is kept.
        start: the θ (P,) predicted at first, a tensor or a list; the identity if None. Give it to a
            transformer that should begin by looking closer, or to several that should begin at
            different places.
            Of starts (K, P) as `tiled_starts` makes them, K maps are predicted for every image.
        perturbation: standard deviation of θ about the start for features of unit variance.
            Above 0, training begins off the identity, which is a flat spot for some families.
        lr_multiplier: m. The layer's weights are m times its parameters, and its bias is the start
            and m times how far the parameter is from it. Adam moves θ at m times its rate,
            gradient descent at m² times.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        InputError: if `start` is not P or (K, P) finite numbers, and for a width or a perturbation
            out of range.

    Example:
        >>> from spatial_transformers import Attention, RegressionHead
        >>> RegressionHead(32, Attention())(torch.rand(2, 32)).tolist()
        [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
        >>> half = torch.tensor([0.5, 0.0, 0.0])
        >>> RegressionHead(32, Attention(), start=half)(torch.rand(1, 32)).tolist()
        [[0.5, 0.0, 0.0]]
        >>> both = torch.stack((half, half))
        >>> RegressionHead(32, Attention(), start=both)(torch.rand(5, 32)).shape
        torch.Size([5, 2, 3])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, sections 3.1 and 4.

    """

    def __init__(
        self,
        in_features: int,
        transformation: Transformation,
        *,
        start: Start | None = None,
        perturbation: float = 0.0,
        lr_multiplier: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        require_counts(in_features=in_features)
        if not 0 <= perturbation < inf:
            raise InputError(f"perturbation {perturbation!r} was given; give a number from 0 on")
        first = _start(transformation, start)
        self.perturbation = perturbation
        self._multiplier = checked(lr_multiplier)
        self._recorded, self._identity = Recorded(transformation), transformation.identity()
        # numbers, since compilers would look at the tensor in every call
        self._maps = tuple(first.shape) if first.ndim == 2 else None
        width = first.numel()
        self.weight = nn.Parameter(torch.empty(width, in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(width, device=device, dtype=dtype))
        self._constants = Constants(start=first).to(self.weight.device)
        self.reset_parameters()

    @property
    def lr_multiplier(self) -> float:
        """What weights and bias are of the parameters, the bias less the start."""
        return self._multiplier.value

    @property
    def start(self) -> Tensor:
        """The θ (P,) or (K, P) predicted at first."""
        return self._constants["start"]

    def reset_parameters(self) -> None:
        """Return to the start."""
        std = self.perturbation / self.weight.shape[1] ** 0.5 / self._multiplier.value
        nn.init.normal_(self.weight, std=std) if std else nn.init.zeros_(self.weight)
        with torch.no_grad():
            self.bias.copy_(self.start.flatten())

    def forward(self, features: Float[Tensor, "N F"]) -> Theta | Thetas:
        """Return θ (N, P), or (N, K, P) of K starts, of features (N, in_features)."""
        require_tensor(features, self, "features")
        theta = self._predicted(features)
        return theta if self._maps is None else torch.unflatten(theta, 1, self._maps)

    def _predicted(self, features: Tensor) -> Tensor:
        with without_autocast(features.device):
            wide = at_least_float32(features)
            weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
            m = self._multiplier.value
            if m == 1:
                return F.linear(wide, weight, bias)
            start = self.start.flatten().to(bias)
            return start + m * F.linear(wide, weight, bias - start)

    def get_extra_state(self) -> Tensor:
        """Return the multiplier and the start: they say what weights and bias mean."""
        start = self.start.flatten()
        start = start.to("cpu" if start.device.type == "mps" else start.device, torch.float64)
        return torch.cat((start.new_tensor([self._multiplier.value]), start))

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the start; weights and bias were converted to this head's multiplier."""
        if not state.is_meta:
            start = state[1:].view_as(self.start).to(self.start.dtype)
            self._constants = Constants(start=start).to(self.weight.device)

    def _ratio(self, state_dict: Mapping[str, Any], prefix: str) -> float:
        """Return by how much a state's multiplier is larger than this head's."""
        said = state_dict.get(f"{prefix}_extra_state")
        if said is not None and said.is_meta:
            return 1.0
        return (1.0 if said is None else said[0].item()) / self._multiplier.value

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        ratio = self._ratio(state_dict, prefix)
        weight, bias = prefix + "weight", prefix + "bias"
        said = state_dict.setdefault(f"{prefix}_extra_state", self.get_extra_state())
        if said.shape != (1 + self.weight.shape[0],):
            raise InputError(
                f"a state was loaded of a head that predicts {len(said) - 1} numbers, into one "
                f"that predicts {self.weight.shape[0]}; make the network that was trained"
            )
        if ratio != 1 and weight in state_dict and bias in state_dict:
            state_dict[weight] = state_dict[weight] * ratio
            start = said[1:].to(state_dict[bias])
            state_dict[bias] = start + (state_dict[bias] - start) * ratio
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _argument(self, name: str) -> Any:
        if name == "in_features":
            return self.weight.shape[1]
        if name == "transformation":
            return self._recorded
        if name == "start":
            start = self._constants.original("start")
            return None if torch.equal(start, self._identity) else start
        return super()._argument(name)


def require_counts(**counts: int) -> None:
    """Refuse widths of layers that are no whole numbers from 1 on."""
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise InputError(f"{name}={count!r} was given; give a whole number, at least 1")


def _start(transformation: Transformation, start: Start | None) -> Tensor:
    identity = transformation.identity()
    if start is None:
        return identity.clone()
    start = as_tensor(start, transformation, "start")
    fits = start.ndim in (1, 2) and start.shape[-1:] == identity.shape and start.numel() > 0
    real = start.is_floating_point() and fits
    if not real or not start.isfinite().all():
        raise InputError(
            f"start of shape {tuple(start.shape)} and {start.dtype} was given; give "
            f"{transformation!r} a θ of {len(identity)} finite numbers, floats, or several of them"
        )
    return start.detach().to(identity).clone()  # no view, whose base compilers would look at
