"""Several transformations one after the other, with one grid and one resampling."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..._errors import InputError
from ..._types import Points, Theta
from ..regular import Frame
from ..transformation import Transformation


class Compose(Transformation):
    """T = T_outer ∘ T_inner ∘ …: points go through the last transformation first.

    θ joins the θ of all transformations, the outer first. The name of an entry begins with the
    number of its transformation, as `0.tx`. The image is sampled once, however many maps there are:
    chained warps would blur it and lose its borders.

    Args:
        outer: the transformation that gives source coordinates.
        inner: the others; target coordinates enter the last.

    Raises:
        InputError: for a single transformation, or for different numbers of dimensions.

    Example:
        >>> from spatial_transformers import Attention, Compose, Rigid
        >>> turned_crop = Compose(Attention(), Rigid())
        >>> turned_crop.entries
        ('0.s', '0.tx', '0.ty', '1.rotation', '1.tx', '1.ty')
        >>> theta = torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.2, 0.0]])
        >>> turned_crop.transform_points(theta, torch.zeros(1, 1, 2)).tolist()
        [[[0.10000000149011612, 0.0]]]
        >>> Compose(Attention(3), Rigid(3)).grid(torch.zeros(2, 10), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.4, on several
    transformers in series.

    """

    dimensions = (1, 2, 3)

    def __init__(self, outer: Transformation, *inner: Transformation):
        parts = (outer, *inner)
        odd = [part for part in parts if not isinstance(part, Transformation)]
        if odd or not inner or len({part.ndim for part in parts}) > 1:
            given = ", ".join(map(str, parts))
            raise InputError(
                f"Compose({given}) was asked for; give two or more transformations of the same "
                "number of dimensions"
            )
        super().__init__(outer.ndim)
        self.transformations = nn.ModuleList(parts)

    @property
    def entries(self) -> tuple[str, ...]:
        """The entries of each transformation, with its number in front."""
        return tuple(f"{i}.{name}" for i, part in enumerate(self._parts) for name in part.entries)

    @property
    def num_parameters(self) -> int:
        """P, the sum over the transformations."""
        return sum(part.num_parameters for part in self._parts)

    def identity(self) -> Float[Tensor, "P"]:
        """Return the identities of all transformations, joined."""
        return torch.cat([part.identity() for part in self._parts])

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return the description of each transformation, with its number in front."""
        split = zip(self._parts, self._split(self.check(theta)), strict=True)
        return {
            f"{i}. {name}": value
            for i, (part, own) in enumerate(split)
            for name, value in part.describe(own).items()
        }

    def _values(self, theta: Tensor) -> Tensor:
        """Return the entries as the maps use them, each within its bounds."""
        split = zip(self._parts, self._split(theta), strict=True)
        return torch.cat([part._values(own) for part, own in split], 1)

    def without_bounds(self) -> Transformation:
        """Return the transformations without their bounds, joined."""
        parts = [part.without_bounds() for part in self._parts]
        same = all(a is b for a, b in zip(parts, self._parts, strict=True))
        return self if same else self._replaced(transformations=nn.ModuleList(parts))

    def inverse_points(self, theta: Theta, points: Points) -> Points:
        """Map source points back to target coordinates, by the inverse of each in turn."""
        theta, points = self._checked(theta, points)
        for part, own in zip(self._parts, self._split(theta), strict=True):
            points = part.inverse_points(own, points)
        return points

    def _argument(self, name: str) -> Any:
        return {"outer": self._parts[0], "inner": self._parts[1:]}[name]

    @property
    def _parts(self) -> list[Transformation]:
        return list(self.transformations)  # pyright: ignore[reportReturnType]

    def _split(self, theta: Tensor) -> Sequence[Tensor]:
        return theta.split([part.num_parameters for part in self._parts], 1)

    def _evaluate(
        self, values: Tensor, positions: Sequence[Tensor], extents: Sequence[float], source: Frame
    ) -> Tensor:
        """Pass points on in the units they came in, so that identities stay exact."""
        between = Frame(tuple(extents), (0.0,) * self.ndim)
        steps = list(zip(self._parts, self._split(values), strict=True))
        missing = None  # points without an image: as NaN they would spoil the next map's gradient
        for part, own in reversed(steps[1:]):
            mapped = part._evaluate(own, positions, extents, between)
            lost = ~mapped.isfinite().all(-1, keepdim=True)
            missing = lost if missing is None else missing | lost
            positions = mapped.where(~lost, 0).unbind(-1)
        outer, own = steps[0]
        assert missing is not None
        return outer._evaluate(own, positions, extents, source).where(~missing, torch.nan)
