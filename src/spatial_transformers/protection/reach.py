"""How far a grid may be moved: θ is brought back smoothly where it would lead further.

The distance of θ from the identity e is what it moves the image's points by, to first order:

    s = √(mean over points of |J (θ - e)|²),    J = ∂T_θ(point)/∂θ at e,

in half extents of the image. A turn by 90° is 1.15, one by 180° is 1.63, a move by the image's
whole width is 2, to read four times its height and width is 2.45. Up to three quarters of the reach
r, θ stays as it is. Beyond, the distance is bent towards r, which no θ reaches:

    s' = a + (r - a) φ((s - a) / (r - a)),    a = 3/4 r,    φ(x) = 2/π · arctan(π/2 · x).

The direction of θ - e is kept. The slope of s' is 1 at a and stays above 0, so that a gradient
leads back from wherever θ is.
"""

from itertools import chain

import torch
from torch import Tensor, nn

from .._context import Fixed, without_autocast
from .._errors import InputError
from ..grid import Transformation
from ..grid.bounds import squashed
from ..grid.numerics.constants import Constants
from ..grid.regular import regular_grid

_AS_IT_IS = 0.75  # of the reach
_POINTS = 5  # per axis, that stand for the image
_LARGEST = 4096  # entries of θ: of more, the Jacobian takes long
_AT_ONCE = 128  # entries of θ that are moved in one batch, by
_STEP = 2.0**-7  # to either side: rounding is 1e-5 of a slope, curvature 1e-4


class Reach(nn.Module):
    """Keeps θ of a transformation within a distance from the identity.

    Families with more than 4,096 entries are left as they are.
    """

    def __init__(self, transformation: Transformation, reach: float):
        super().__init__()
        if isinstance(reach, bool) or not 0 < reach < torch.inf:
            raise InputError(
                f"reach={reach!r} was given; give a number of half extents above 0, None for no "
                "limit"
            )
        self.reach = Fixed(reach)
        self.constants: Constants | None = None
        if not any(t.is_meta for t in _tensors(transformation)):
            self._measure(transformation)

    def forward(self, theta: Tensor, transformation: Transformation) -> Tensor:
        """Return θ (N, P), brought back where it leads too far."""
        if theta.shape[1] > _LARGEST:
            return theta
        constants = self.constants or self._measure(transformation)
        with without_autocast(theta.device):
            start, near = constants["start"].to(theta), _AS_IT_IS * self.reach.value
            moved = (theta - start) @ constants["lengths"].to(theta)
            distance = moved.square().sum(1, keepdim=True).clamp(min=near * near).sqrt()
            room = self.reach.value - near
            nearer = near + room * squashed((distance - near) / room)
            return start.lerp(theta, nearer / distance)  # at 1 it is θ, to the last bit

    def extra_repr(self) -> str:
        """Show the reach."""
        return f"reach={self.reach.value}"

    def _measure(self, transformation: Transformation) -> Constants:
        """Find, once its tensors have values, how far a transformation's entries move points."""
        start = transformation.identity()
        few = len(start) <= _LARGEST
        lengths = _lengths(transformation, start) if few else start.new_zeros(len(start), 0)
        self.constants = Constants(start=start.double(), lengths=lengths)
        return self.constants


@torch.no_grad()
def _lengths(transformation: Transformation, start: Tensor) -> Tensor:
    """Return the (P, K) by which θ - e becomes a vector as long as the distance."""
    ndim = transformation.ndim
    start = start.to(next((t.device for t in _tensors(transformation)), start.device))
    points = regular_grid((_POINTS,) * ndim, ndim=ndim, dtype=start.dtype, device=start.device)
    points = points.view(1, -1, ndim)
    rows = []
    for entries in torch.eye(len(start), dtype=start.dtype, device=start.device).split(_AT_ONCE):
        moved = start + _STEP * torch.cat((entries, -entries))
        ahead, behind = transformation.transform_points(moved, points).flatten(1).chunk(2)
        rows.append((ahead - behind) / (2 * _STEP))
    slopes = torch.cat(rows).double() / points.shape[1] ** 0.5  # (P, K)
    return slopes if slopes.shape[1] <= len(slopes) else torch.linalg.qr(slopes.mT, "r").R.mT


def _tensors(module: nn.Module) -> chain[Tensor]:
    return chain(module.parameters(), module.buffers())
