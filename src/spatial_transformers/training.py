"""For training loops of one's own: parameter groups, a way from coarse to fine, a diagnosis."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from ._errors import InputError
from ._types import Image
from .localisation.resize import resize
from .protection.measures import each_map, local_scale, outside, spread
from .protection.watch import CURES, faults, starts_of
from .sampler.names import Gradient
from .sampler.target import check_dimensions
from .transformer import SpatialTransformer, evaluated, require_transformer


def parameter_groups(
    model: nn.Module,
    lr: float,
    *,
    localisation_lr: float | None = None,
    weight_decay: float = 0.0,
) -> list[dict[str, Any]]:
    """Return the parameter groups of a model for any optimiser of `torch.optim`.

    The first group has all that is not a spatial transformer's. The second has the transformers'
    parameters, each once, without weight decay: that would draw θ to a constant.

    Args:
        model: with any number of `SpatialTransformer`, or none.
        lr: the learning rate.
        localisation_lr: that of the transformers. If None, it is `lr` for layers of localisation
            networks that slow themselves down (`lr_multiplier`), and for what a sampler or a
            transformation learns. All other layers of localisation networks are then a third
            group, at a tenth of it.
        weight_decay: of the first group.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from spatial_transformers import Attention, SpatialTransformer, parameter_groups
        >>> localisation = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        >>> model = nn.Sequential(SpatialTransformer(localisation, Attention()), nn.Conv2d(1, 4, 3))
        >>> groups = parameter_groups(model, 0.01, weight_decay=1e-4)
        >>> [(len(g["params"]), g["lr"], g["weight_decay"]) for g in groups]
        [(2, 0.01, 0.0001), (2, 0.001, 0.0)]
        >>> optimiser = torch.optim.AdamW(groups)

    """
    plain: list[nn.Parameter] = []
    slow: list[nn.Parameter] = []
    for transformer in (m for m in model.modules() if isinstance(m, SpatialTransformer)):
        plain += transformer.parameters()
        slow += _at_full_rate(transformer.localisation) if localisation_lr is None else ()
    slow = _once(slow)
    late = {id(p) for p in slow}
    plain = [p for p in _once(plain) if id(p) not in late]
    theirs = {id(p) for p in (*plain, *slow)}
    others = [p for p in model.parameters() if id(p) not in theirs]
    groups = [{"params": others, "lr": lr, "weight_decay": weight_decay}]
    rate = lr if localisation_lr is None else localisation_lr
    groups += [{"params": plain, "lr": rate, "weight_decay": 0.0}] if plain else []
    groups += [{"params": slow, "lr": lr / 10, "weight_decay": 0.0}] if slow else []
    return groups


def _at_full_rate(localisation: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that no layer slows down."""
    layers = [m for m in localisation.modules() if getattr(m, "lr_multiplier", 1) != 1]
    slowed = {id(p) for layer in layers for p in layer.parameters()}
    return [p for p in localisation.parameters() if id(p) not in slowed]


def _once(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Return each parameter once, also those of a shared localisation network."""
    return list({id(p): p for p in parameters}.values())


def coarse_to_fine(
    stn: SpatialTransformer,
    images: Image,
    progress: float,
    *,
    coarsest: float = 4.0,
    gradient: Gradient = "multi-scale",
) -> Image:
    """Let a transformer see further at first, and exactly in the end.

    Bilinear sampling sees a pixel or two about every point, so that what lies further away does not
    draw θ there. Call this before every step of training. While `progress` is below 1, images lose
    their details, and the sampler's gradient looks further. From 1 on the images are returned as
    they are, and the gradient is `exact`.

    Args:
        stn: whose sampler's `gradient` is set.
        images: floating (N, C, *size).
        progress: how much of the way is done, from 0 on: the step over the number of steps.
        coarsest: the size of the pixels at progress 0, in the images' own; 1 leaves the images as
            they are. Half way it is the square root of that.
        gradient: until then; `linearized` and `exact` are others.

    Raises:
        InputError: for a transformer that is none, numbers out of range, images of another shape
            or of integers, and an unknown gradient.

    Example:
        >>> import torch
        >>> from spatial_transformers import (
        ...     Attention, LocalisationCNN, SpatialTransformer, coarse_to_fine
        ... )
        >>> stn = SpatialTransformer(LocalisationCNN(Attention(), in_channels=1), Attention())
        >>> for step in range(3):
        ...     images = coarse_to_fine(stn, torch.rand(2, 1, 32, 32), step / 2)
        ...     print(f"{images.std():.1f}", stn.sampler.options.gradient)
        0.0 multi-scale
        0.1 multi-scale
        0.3 exact

    """
    require_transformer(stn, "coarse_to_fine")
    numbers = all(isinstance(x, Real) for x in (progress, coarsest))
    if not numbers or not 0 <= progress < inf or not 1 <= coarsest < inf:
        raise InputError(
            f"progress={progress!r} and coarsest={coarsest!r} were given; give numbers, from 0 on "
            "and from 1 on"
        )
    check_dimensions(images, stn.transformation)
    if not images.is_floating_point():
        raise InputError(f"images of {images.dtype} were given; give floating images")
    until_then = stn.sampler.options.changed(gradient=gradient)
    wanted = until_then.changed(gradient="exact") if progress >= 1 else until_then
    if stn.sampler.options.gradient != wanted.gradient:  # which compilers look at
        stn.sampler.options = wanted
    pixel = coarsest ** max(0.0, 1 - progress)
    size = tuple(images.shape[2:])
    if pixel == 1:
        return images
    return resize(resize(images, tuple(max(1, round(n / pixel)) for n in size)), size)


@dataclass(frozen=True)
class Diagnosis:
    """What a transformer does to a batch of images.

    Args:
        values: of every sample (N,), or of every map of every sample: θ in human units;
            `outside (%)`, the share of the sampling grid beyond the image's edges; `local scale`, 1
            at the identity; and `apart (%)`, how far the samples' grids lie apart, in half extents
            (1,), or of every map (K,).
        advice: what is wrong and what to try, a sentence each; empty if all is well.

    """

    values: Mapping[str, Tensor]
    advice: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{name}: {v.nanmean().item():.3g} ± {_deviation(v):.2g}"
            for name, v in self.values.items()
        ]
        return "\n".join([*lines, *(self.advice or ("Nothing seems wrong.",))])

    def means(self) -> dict[str, float]:
        """Return the mean over the samples of every value, as logs want it."""
        return {name: value.nanmean().item() for name, value in self.values.items()}


def _deviation(values: Tensor) -> float:
    known = values[values.isfinite()]
    return known.std(correction=0).item() if len(known) else 0.0


@torch.no_grad()
def diagnose(stn: SpatialTransformer, images: Image) -> Diagnosis:
    """Say in numbers and words what a spatial transformer does to images, and what to try.

    Args:
        stn: in whatever mode; it is left in it, and so are its statistics.
        images: (N, C, *size), as the transformer gets them: normalised, if it gets them so.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from spatial_transformers import Attention, RegressionHead, SpatialTransformer, diagnose
        >>> far = RegressionHead(4, Attention(), start=torch.tensor([1.0, 3.0, 0.0]))
        >>> stn = SpatialTransformer(nn.Sequential(nn.Flatten(), far), Attention(), reach=None)
        >>> print(diagnose(stn, torch.rand(8, 1, 2, 2)))  # doctest: +ELLIPSIS
        scale: 1 ± 0
        translation x (%): 150 ± 0
        translation y (%): 0 ± 0
        outside (%): 100 ± 0
        local scale: 1 ± 0
        apart (%): 0 ± 0
        less than 20% of the sampling grid lies inside the image, ...

    """
    _, theta = evaluated(stn, images, "diagnose")
    return _diagnosed(stn, theta, [*_of_images(stn, images)])


def _diagnosed(stn: SpatialTransformer, theta: Tensor, also: Iterable[str] = ()) -> Diagnosis:
    family, every = stn.transformation, theta.flatten(0, -2)
    apart = torch.stack([spread(family, one) for one in each_map(theta)])
    values = {
        **family.describe(every),
        "outside (%)": 100 * outside(family, every),
        "local scale": local_scale(family, every),
        "apart (%)": 100 * apart,
    }
    found = [CURES[fault] for fault in faults(family, theta, starts_of(stn.localisation))]
    return Diagnosis(values, (*found, *also))


def _of_images(stn: SpatialTransformer, images: Tensor) -> Iterator[str]:
    """Say what speaks against the fill and the padding."""
    options = stn.sampler.options
    if stn.background is not None or options.padding_mode != "zeros":
        return
    border = torch.cat([images[..., i].flatten() for i in (0, -1)]).float()
    if border.median().abs() > 0.1 * images.float().std():
        yield (
            f"zeros are outside, but the images' border is {border.median():.2g}: a frame that is "
            "in no image teaches the transformer to show or to avoid it; leave the sampler out, or "
            "give it padding_mode='constant' and the background's fill_value"
        )


def monitor(
    stn: SpatialTransformer,
    log: Callable[[dict[str, float], int], object] | None = None,
    *,
    every: int = 50,
) -> "Monitor":
    """Look at a spatial transformer every so many steps of training, in eager mode.

    Args:
        stn: the transformer.
        log: called with the means of `Diagnosis.values`, and with the number of steps so far, as
            `lambda values, step: wandb.log(values, step)` would be. None: nothing is called.
        every: steps from one look to the next.

    Returns:
        A monitor, whose `latest` is the last `Diagnosis`, and whose `close()` ends it.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, LocalisationCNN, SpatialTransformer, monitor
        >>> stn = SpatialTransformer(LocalisationCNN(Affine(), in_channels=1), Affine())
        >>> log = lambda values, step: print(step, values["outside (%)"])
        >>> watching = monitor(stn, log, every=2)
        >>> for _ in range(4):
        ...     _ = stn(torch.rand(8, 1, 20, 20))
        2 0.0
        4 0.0
        >>> watching.latest.advice[0][:31]
        'theta has not left its start: r'
        >>> watching.close()

    """
    require_transformer(stn, "monitor")
    if type(every) is not int or every < 1:
        raise InputError(f"every={every!r} was given; give a number of steps, at least 1")
    return Monitor(stn, log, every)


class Monitor:
    """What `monitor` returns."""

    def __init__(
        self,
        stn: SpatialTransformer,
        log: Callable[[dict[str, float], int], object] | None,
        every: int,
    ):
        self.stn, self.log, self.every, self.steps = stn, log, every, 0
        self.latest: Diagnosis | None = None
        stn.observers.append(self)

    def __call__(self, theta: Tensor) -> None:
        """Count a step, and look at its θ if it is time."""
        self.steps += 1
        if self.steps % self.every == 0:
            self.latest = _diagnosed(self.stn, theta.detach())
            if self.log is not None:
                self.log(self.latest.means(), self.steps)

    def close(self) -> None:
        """Stop looking."""
        self.stn.observers.remove(self)
