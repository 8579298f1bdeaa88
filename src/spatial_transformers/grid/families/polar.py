"""Polar coordinates about a predicted origin: rotations of the source become shifts.

Target x is the radius and target y the angle. `log_polar.py` has another law of the radius.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..._context import without_autocast
from ..._types import InputError, Points, Theta
from ..bounds import Bounds
from ..regular import Frame, over_extents
from ..transformation import Transformation


class Polar(Transformation):
    """Unroll the source about an origin: to the right the radius grows, downwards the angle.

    θ is the origin `(x0, y0)`, P = 2, in half extents of the source: (0, 0) is its centre. A source
    turned about the origin gives the same target moved along y, cyclically.

    Convention: with r = (x + 1)/2 · radius and φ = (y + 1) π,
    x' = x0 + r cos φ, y' = y0 + aspect · r sin φ. So the target's left edge is the origin and its
    right edge the radius; the angle starts in the direction of +x at the top edge and goes once
    round, clockwise as y points down. This is the layout of `cv2.warpPolar`, which however puts
    radius 0 and angle 0 at the centres of the first pixels: here, of H rows, row j is at
    φ = (j + 1/2) · 2π/H, and with `align_corners=True` at j · 2π/(H - 1), the last row repeating
    the first.

    Left of -1 the radius is negative, and above and below ±1 the angle goes on: such a target point
    reads the same source point as one within [-1, 1), which is the one that `inverse_points` gives.
    There the origin, to which every angle belongs, is at angle 0 and passes on no gradient.

    Args:
        radius: the radius at the target's right edge, in half widths of the source.
        aspect: width of the source over its height, in pixels. At 1 circles are those of normalised
            coordinates: ellipses in an image that is not square.
        bounds: lowest and highest value of both entries, or of some by name; None: no bound.

    Example:
        >>> polar = Polar()
        >>> centre = polar.identity()[None]
        >>> quarter_turn = torch.tensor([[[1.0, -0.5]]])
        >>> polar.transform_points(centre, quarter_turn).abs().round(decimals=5)
        tensor([[[0., 1.]]])

    Source: Esteves et al., Polar Transformer Networks, ICLR 2018, section 3.2; Tai et al.,
    Equivariant Transformer Networks, ICML 2019, section 3.1, for what makes coordinates turn a
    group into shifts.

    """

    dimensions = (2,)

    def __init__(
        self,
        ndim: int = 2,
        *,
        radius: float = 1.0,
        aspect: float = 1.0,
        bounds: Bounds | None = None,
    ):
        super().__init__(ndim)
        self.radius, self.aspect = float(radius), float(aspect)
        for name in ("radius", "aspect"):
            self._require_positive(name)
        self._set_bounds(bounds)

    @property
    def entries(self) -> tuple[str, ...]:
        """The origin."""
        return ("x0", "y0")

    def identity(self) -> Float[Tensor, "P"]:
        """Return the neutral start, the origin at the centre: no θ keeps all points in place."""
        return torch.zeros(2, device="cpu", dtype=torch.float32)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return where the origin is, in percent of the source's extent from its centre."""
        x0, y0 = (50 * self.values(theta)).unbind(-1)
        return {"origin x (%)": x0, "origin y (%)": y0}

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points to radius and angle, in closed form, the angle's y in [-1, 1)."""
        theta, points = self._checked(theta, points)
        with without_autocast(theta.device):
            dx, dy = (points - self.values(theta)[:, None]).unbind(-1)
            dy = dy / self.aspect
            squared = dx * dx + dy * dy
            away = squared != 0  # at the origin, roots and angles have no gradient
            radius = squared.where(away, 1).sqrt()
            x = 2 * self._share(radius, away) - 1
            turn = torch.atan2(dy.where(away, 0), dx.where(away, 1)) / math.pi  # in [-1, 1]
            y = turn + (1 - 2 * (turn >= 0).to(turn))
            y = y.where(y != 1, y - 2)  # rounded up from just below a full turn
            return torch.stack((x, y), -1)

    def _radius(self, share: Tensor) -> Tensor:
        """Return the radius at a share of the target's width."""
        return share * self.radius

    def _share(self, radius: Tensor, away: Tensor) -> Tensor:
        """Undo `_radius`; where not `away`, the radius is 0, whatever `radius` holds."""
        return (radius / self.radius).where(away, 0)

    def _evaluate(
        self, theta: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        x, y = over_extents(positions, extents)
        origin = self.values(theta).reshape(-1, 2, *[1] * (x.ndim - 1)).unbind(1)
        radius, angle = self._radius((x + 1) / 2), (y + 1) * math.pi
        ray = (radius * angle.cos(), radius * angle.sin() * self.aspect)
        axes = [
            (o + r) * scale + centre
            for o, r, scale, centre in zip(origin, ray, *source, strict=True)
        ]
        return torch.stack(axes, -1)

    def _require_positive(self, name: str) -> None:
        value = getattr(self, name)
        if not 0 < value < math.inf:
            raise InputError(
                f"{type(self).__name__}({name}={value:g}) was asked for; give a finite {name} "
                "above 0"
            )

    def extra_repr(self) -> str:
        """Show what differs from the defaults."""
        options = {"radius": self.radius, "aspect": self.aspect}
        shown = [f", {name}={value:g}" for name, value in options.items() if value != 1]
        return super().extra_repr() + "".join(shown)
