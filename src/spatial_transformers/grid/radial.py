"""The maps that unroll the source about a predicted origin: rotations become shifts.

Target x is the radius and target y the angle. A family's own file says by which law the radius
grows along x.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .._context import without_autocast
from .._errors import InputError
from .._types import Points, Theta
from .regular import Frame, over_extents
from .transformation import Transformation


class Radial(Transformation):
    """x' = x0 + r cos φ, y' = y0 + aspect · r sin φ, with φ = (y + 1) π and r a function of x.

    θ is the origin `(x0, y0)`. The constructor of a family ends with `_set_bounds`.
    """

    dimensions = (2,)

    def __init__(self, ndim: int, *, radius: float, aspect: float):
        super().__init__(ndim)
        self.radius, self.aspect = float(radius), float(aspect)
        for name in ("radius", "aspect"):
            self._require_positive(name)

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
            dx, dy = (points - self._values(theta)[:, None]).unbind(-1)
            dy = dy / self.aspect
            squared = dx * dx + dy * dy
            away = squared != 0  # at the origin, roots and angles have no gradient
            radius = squared.where(away, 1).sqrt()
            x = 2 * self._share(radius, away) - 1
            turn = torch.atan2(dy.where(away, 0), dx.where(away, 1)) / math.pi  # in [-1, 1]
            y = turn + (1 - 2 * (turn >= 0).to(turn))
            y = y.where(y != 1, y - 2)  # rounded up from just below a full turn
            return torch.stack((x, y), -1)

    @abstractmethod
    def _radius(self, share: Tensor) -> Tensor:
        """Return the radius at a share of the target's width."""

    @abstractmethod
    def _share(self, radius: Tensor, away: Tensor) -> Tensor:
        """Undo `_radius`; where not `away`, the radius is 0, whatever `radius` holds."""

    def _evaluate(
        self, values: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        x, y = over_extents(positions, extents)
        origin = values.reshape(-1, 2, *[1] * (x.ndim - 1)).unbind(1)
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
