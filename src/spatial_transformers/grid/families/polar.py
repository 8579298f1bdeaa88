"""Polar coordinates about a predicted origin: rotations of the source become shifts.

Target x is the radius and target y the angle. `log_polar.py` has another law of the radius.
"""

from torch import Tensor

from ..bounds import Bounds
from ..radial import Radial


class Polar(Radial):
    """Unroll the source about an origin: to the right the radius grows, downwards the angle.

    θ is the origin `(x0, y0)`, P = 2, in half extents of the source: (0, 0) is its centre. A source
    turned about the origin gives the same target moved along y, cyclically.

    Convention: with r = (x + 1)/2 · radius and φ = (y + 1) π,
    x' = x0 + r cos φ, y' = y0 + aspect · r sin φ. So the target's left edge is the origin and its
    right edge the radius; the angle starts in the direction of +x at the top edge and goes once
    round, clockwise as y points down. This is the layout of `cv2.warpPolar`, except that OpenCV
    puts radius 0 and angle 0 at the centres of the first pixels. Here row j of H is at
    φ = (j + 1/2) · 2π/H; with `align_corners=True` it is at j · 2π/(H - 1), and the last row
    repeats the first.

    Left of x = -1 the radius is negative, and beyond y = ±1 the angle goes on. A target point there
    reads the same source point as one within [-1, 1), and `inverse_points` gives the one within.
    Every angle belongs to the origin; `inverse_points` puts it at angle 0, without a gradient.

    Args:
        ndim: 2, as angles are of a plane.
        radius: the radius at the target's right edge, in half widths of the source.
        aspect: width of the source over its height, in pixels. At 1, circles are round in
            normalised coordinates, and so ellipses in an image that is not square.
        bounds: lowest and highest value of both entries, or of some by name; None: no bound.

    Example:
        >>> import torch
        >>> polar = Polar()
        >>> centre = polar.identity()[None]
        >>> quarter_turn = torch.tensor([[[1.0, -0.5]]])
        >>> polar.transform_points(centre, quarter_turn).abs().round(decimals=5)
        tensor([[[0., 1.]]])
        >>> polar.grid(torch.zeros(2, 2), (4, 6)).shape
        torch.Size([2, 4, 6, 2])

    Source: Esteves et al., Polar Transformer Networks, ICLR 2018, section 3.2; Tai et al.,
    Equivariant Transformer Networks, ICML 2019, section 3.1, for what makes coordinates turn a
    group into shifts.

    """

    def __init__(
        self,
        ndim: int = 2,
        *,
        radius: float = 1.0,
        aspect: float = 1.0,
        bounds: Bounds | None = None,
    ):
        super().__init__(ndim, radius=radius, aspect=aspect)
        self._set_bounds(bounds)

    def _radius(self, share: Tensor) -> Tensor:
        return share * self.radius

    def _share(self, radius: Tensor, away: Tensor) -> Tensor:
        return (radius / self.radius).where(away, 0)
