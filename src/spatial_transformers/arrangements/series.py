"""Transformers one after another: each sees what those before it made, and improves on it.

The maps are composed and the image itself is read, once, with the result: an output that is read
again and again would blur, and lose what was outside an earlier one.
"""

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from .._errors import InputError
from .._types import Image, Theta, Warped
from ..grid import AffineExponential, Compose, Transformation
from ..protection.reach import Reach
from ..sharing.shared import Shared
from ..transformer import SpatialTransformer
from .parallel import require_transformers


class Series(Shared):
    """Transformers in series, whose maps are composed: V = U(T_1 ∘ T_2 ∘ … (G)).

    The first sees the image, the second what the first made of it, and so on. Where all have one
    family that is closed under composition (`Affine`, `Projective`, …), the result is a θ of that
    family; otherwise it is one of `Compose`, all θ joined. The last transformer's sampler and size
    make the output; without a size it has the image's.

    Composed maps stay within the reach of the transformer that made them, and each single step
    within its bounds. What observes a transformer in training, such as a `monitor`, sees the θ that
    it predicts for the image it is applied to first.

    Args:
        *transformers: one or more.

    Raises:
        InputError: for none, for what is no `SpatialTransformer`, for different numbers of
            dimensions, and in a call for localisation networks that predict several θ per image.

    Attributes:
        families: what θ means behind each of the transformers.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, LocalisationCNN, Series, SpatialTransformer
        >>> affine = Affine()
        >>> def transformer():
        ...     return SpatialTransformer(LocalisationCNN(affine, in_channels=1), affine)
        >>> series = Series(transformer(), transformer())
        >>> image = torch.rand(4, 1, 32, 32)
        >>> v, thetas = series(image, return_theta=True)
        >>> torch.equal(v, image), [theta.shape[1] for theta in thetas]
        (True, [6, 6])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.4; composed as by
    Lin and Lucey, Inverse Compositional Spatial Transformer Networks, CVPR 2017, section 4.

    """

    steps: int = 1  # how often the transformers are applied, one after another

    def __init__(self, *transformers: SpatialTransformer):
        super().__init__()
        require_transformers(transformers, type(self).__name__)
        self.transformers = nn.ModuleList(transformers)
        stages = self._stages()
        self.families = _families([stn.transformation for stn in stages])
        self._reaches = nn.ModuleDict(
            {
                str(number): Reach(family, stn.reach.reach.value)
                for number, (stn, family) in enumerate(zip(stages, self.families, strict=True))
                if stn.reach is not None and family is not stn.transformation
            }
        )

    extra_repr, __repr__ = nn.Module.extra_repr, nn.Module.__repr__  # as of a printed model

    @property
    def transformation(self) -> Transformation:
        """What the last θ means, that of V."""
        return self.families[-1]

    @overload
    def forward(self, image: Image, *, return_theta: Literal[False] = False) -> Warped: ...
    @overload
    def forward(
        self, image: Image, *, return_theta: Literal[True]
    ) -> tuple[Warped, list[Theta]]: ...
    def forward(self, image, *, return_theta=False):
        """Return V, and with `return_theta` also θ of the composed map behind each transformer.

        `families[k]` says what the θ of the k-th means; the last is that of V. What was seen behind
        it is `series.warp(image, thetas[k], step=k)`, with the sampler's fill outside.
        """
        thetas: list[Tensor] = []
        seen, stages = image, self._stages()
        for stn in dict.fromkeys(stages):
            stn._begin(image)
        for number, stn in enumerate(stages):
            theta = stn._theta(seen) if stn in stages[:number] else stn._predicted(seen)
            if theta.ndim != 2:
                raise InputError(
                    f"{type(self).__name__} was given a localisation network that predicts theta "
                    f"of shape {tuple(theta.shape)}; give one that predicts one map of each image"
                )
            thetas.append(self._composed(thetas[-1], theta, number) if thetas else theta)
            seen = stn._read(image, thetas[-1], self.families[number])
        return (seen, thetas) if return_theta else seen

    def warp(self, other: Image, theta: Theta, *, step: int = -1, **changes: object) -> Warped:
        """Warp a mask or a second image by a θ found before; see `SpatialTransformer.warp`.

        Args:
            other: the image.
            theta: one of those that a call returned.
            step: which of them: the transformer behind which it holds, the last by default.
            **changes: options of the function `warp`.

        """
        count = len(self.families)
        if step not in range(-count, count):
            raise InputError(
                f"step={step!r} of {count} was asked for; give a number from 0 to {count - 1}"
            )
        return self._stages()[step]._warp(other, theta, self.families[step], **changes)

    def _stages(self) -> Sequence[SpatialTransformer]:
        return [*self.transformers] * self.steps  # pyright: ignore[reportReturnType]

    def _composed(self, outer: Tensor, inner: Tensor, number: int) -> Tensor:
        """Return θ of T_outer ∘ T_inner behind a stage, within its reach."""
        family, reach = self.families[number], self._stages()[number].reach
        joined = isinstance(family, Compose)
        theta = torch.cat((outer, inner), 1) if joined else family.compose(outer, inner)
        if str(number) in self._reaches:
            reach = self._reaches[str(number)]
        return theta if reach is None else reach(theta, family)


class Recurrent(Series):
    """One transformer applied several times, each time to what it made of the image before.

    It is a `Series` whose members share their parameters: with every step the image is read by a
    better θ. What a single prediction gets almost right, the next corrects.

    Args:
        transformer: of any family.
        steps: how many times it is applied.

    Raises:
        InputError: for what is no `SpatialTransformer`, and for less than one step.

    Attributes:
        families: what θ means behind each step.

    Example:
        >>> import torch
        >>> from spatial_transformers import LocalisationCNN, Projective, Recurrent
        >>> from spatial_transformers import SpatialTransformer
        >>> family = Projective()
        >>> localisation = LocalisationCNN(family, in_channels=1)
        >>> recurrent = Recurrent(SpatialTransformer(localisation, family, size=28), steps=4)
        >>> v, thetas = recurrent(torch.rand(2, 1, 28, 28), return_theta=True)
        >>> v.shape, len(thetas)
        (torch.Size([2, 1, 28, 28]), 4)

    Source: Lin and Lucey, Inverse Compositional Spatial Transformer Networks, CVPR 2017.

    """

    def __init__(self, transformer: SpatialTransformer, steps: int):
        if type(steps) is not int or steps < 1:
            raise InputError(f"steps={steps!r} was given to Recurrent; give 1 or more")
        self.steps = steps  # which the series asks for its stages
        super().__init__(transformer)

    def extra_repr(self) -> str:
        """Show the number of steps."""
        return f"steps={self.steps}"

    def _argument(self, name: str) -> Any:
        return self.transformers[0] if name == "transformer" else super()._argument(name)


def _families(parts: list[Transformation]) -> list[Transformation]:
    """Return what the composed θ means behind each of several transformations."""
    first = parts[0]
    if all(_alike(first, part) for part in parts) and (len(parts) == 1 or _is_closed(first)):
        return [first] * len(parts)
    return [first, *(Compose(*parts[:count]) for count in range(2, len(parts) + 1))]


def _alike(one: Transformation, other: Transformation) -> bool:
    """Say whether a θ means the same to both."""
    return one is other or (type(one) is type(other) and repr(one) == repr(other))


@torch.no_grad()
def _is_closed(family: Transformation) -> bool:
    """Say whether a family composes any two of its maps to a third."""
    if isinstance(family, AffineExponential):
        return False  # two turns may make one without a logarithm
    theta = family.identity()[None]
    steps = 0.1 * torch.linspace(-1, 1.3, theta.shape[1], device=theta.device).to(theta)
    try:
        family.compose(theta + steps, theta + steps.flip(0).square())
    except InputError:
        return False
    return True
