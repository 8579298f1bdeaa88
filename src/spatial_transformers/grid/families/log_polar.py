"""Log-polar coordinates: as `polar.py`, with a radius that grows by a factor per column.

Rotations and scalings of the source about the origin both become shifts.
"""

import math

from torch import Tensor

from ..._errors import InputError
from ..bounds import Bounds
from ..radial import Radial


class LogPolar(Radial):
    """Unroll the source about an origin: to the right the logarithm of the radius grows.

    θ is the origin `(x0, y0)`, P = 2, in half extents of the source. A source turned about the
    origin gives the same target moved along y, cyclically. A source scaled by f gives the same
    target moved along x, by 2 ln f / ln(radius / inner).

    Convention: that of `Polar` with r = inner · (radius / inner)^((x + 1)/2). So the target's left
    edge is `inner` and its right edge `radius`. Left of x = -1 the radius goes on shrinking. The
    origin itself is at x = -∞: `inverse_points` puts it there, without a gradient.

    Args:
        ndim: 2, as angles are of a plane.
        inner: the radius at the target's left edge, in half widths of the source. The paper takes
            1 pixel, 2 / W; the default is 1 pixel of a source 40 pixels wide.
        radius: the radius at the target's right edge, in half widths of the source.
        aspect: width of the source over its height, in pixels; see `Polar`.
        bounds: lowest and highest value of both entries, or of some by name; None: no bound.

    Example:
        >>> import torch
        >>> log_polar = LogPolar(inner=0.01)
        >>> points = torch.tensor([[[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0]]])
        >>> log_polar.transform_points(torch.zeros(1, 2), points)[0, :, 0]
        tensor([0.0100, 0.1000, 1.0000])
        >>> log_polar.grid(torch.zeros(2, 2), (4, 6)).shape
        torch.Size([2, 4, 6, 2])

    Source: Esteves et al., Polar Transformer Networks, ICLR 2018, section 3.2; Tai et al.,
    Equivariant Transformer Networks, ICML 2019, section 3.1.

    """

    def __init__(
        self,
        ndim: int = 2,
        *,
        inner: float = 0.05,
        radius: float = 1.0,
        aspect: float = 1.0,
        bounds: Bounds | None = None,
    ):
        super().__init__(ndim, radius=radius, aspect=aspect)
        self.inner = float(inner)
        self._require_positive("inner")
        if self.inner >= self.radius:
            raise InputError(
                f"LogPolar(inner={inner:g}, radius={radius:g}) was asked for; give a radius above "
                "the inner one"
            )
        self._log_ratio = math.log(self.radius / self.inner)
        self._set_bounds(bounds)

    def _radius(self, share: Tensor) -> Tensor:
        # beyond e^64 gradients overflow; a literal, since a named value would compile anew
        return self.inner * (share * self._log_ratio).clamp(max=64.0).exp()

    def _share(self, radius: Tensor, away: Tensor) -> Tensor:
        return ((radius / self.inner).log() / self._log_ratio).where(away, -math.inf)
