"""Looks at θ now and then in training: says once what is wrong, and starts anew what is lost."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..grid import Transformation
from ..localisation import RegressionHead
from .measures import each_map, local_scale, outside, spread

EVERY = 50  # training steps from one look to the next
PATIENCE = 10  # looks during which θ may be the same for all samples
FEW, FAR = 0.2, 4.0  # least share inside the image, and largest factor of the grid's scale
_SAME, _STILL = 1e-4, 1e-3  # half extents: grids that lie nearer are alike, or have not moved

#: What is said of each fault: what was found, and the cure.
CURES = {
    "not finite": "theta is not finite, and the output is the fill: look for a loss or weights "
    "that are not finite, lower the learning rate, or clip gradients",
    "outside": "less than 20% of the sampling grid lies inside the image, whose gradient is 0 out "
    "there: lower the localisation network's learning rate (parameter_groups), or keep theta near "
    "the image (reach=2)",
    "scale": "the sampling grid has shrunk or grown by more than 4: lower the localisation "
    "network's learning rate (parameter_groups), or keep theta near the image (reach=2)",
    "constant": "theta is the same for every image: its localisation network sees no difference "
    "(dead units?); lower its learning rate (parameter_groups), or normalise its batches",
    "still": "theta has not left its start: raise the localisation network's learning rate "
    "(lr_multiplier, parameter_groups), or start slightly off the identity (perturbation=0.1)",
}


def faults(
    transformation: Transformation, theta: Tensor, starts: Sequence[Tensor] = ()
) -> list[str]:
    """Return which of `CURES` hold of θ (N, P): most serious first, none if all is well.

    Scale and movement are relative to the `starts` (P,), the θ predicted at first. Of θ (N, K, P)
    each of the K maps is looked at; they have a start each, or one for all. Where there is another
    number of starts, the identity stands for them.
    """
    maps = each_map(theta)
    known = [start for start in starts if start.shape == theta.shape[-1:]]
    if len(known) not in (1, len(maps)):
        known = [transformation.identity()]
    pairs = zip(maps, known * (len(maps) // len(known)), strict=True)
    of_any = {fault for pair in pairs for fault in _faults(transformation, *pair)}
    return [fault for fault in CURES if fault in of_any]


def _faults(transformation: Transformation, theta: Tensor, start: Tensor) -> list[str]:
    first = start.to(theta)[None]
    if not theta.isfinite().all():
        return ["not finite"]
    found = []
    if 1 - outside(transformation, theta).mean() < FEW:
        found.append("outside")
    scale = local_scale(transformation, theta) / local_scale(transformation, first)
    if not 1 / FAR <= scale.nanmedian() <= FAR:
        found.append("scale")
    if len(theta) > 1 and spread(transformation, theta) < _SAME:
        moved = torch.cat((theta[:1], first))
        found.append("still" if spread(transformation, moved) < _STILL else "constant")
    return found


@dataclass
class Watch:
    """What is known about a transformer in training."""

    steps: int = 0
    looks_alike: int = 0  # looks in a row at which θ was the same for every sample
    last: Tensor | None = None  # θ to look at, at the beginning of the next step
    warned: set[str] = field(default_factory=set)

    def keep(self, theta: Tensor) -> None:
        """Count a step, and keep θ now and then."""
        self.steps += 1
        if self.steps % EVERY == 0:
            self.last = theta.detach()

    def look(self, transformation: Transformation, localisation: nn.Module) -> None:
        """Judge the θ that was kept; to be called before anything of a step is computed."""
        theta, self.last = self.last, None
        if theta is None:
            return
        found = faults(transformation, theta, starts_of(localisation))
        alike = {"constant", "still"} & {*found}
        self.looks_alike = self.looks_alike + 1 if alike else 0
        if self.looks_alike < PATIENCE:
            found = [fault for fault in found if fault not in alike]
        if found:
            self._answer(found[0], localisation)

    def _answer(self, fault: str, localisation: nn.Module) -> None:
        lost = fault in ("outside", "scale")
        again = lost and not _shared() and _start_anew(localisation)
        if fault not in self.warned:
            self.warned.add(fault)
            also = "; it was started anew, as it will be whenever that is found" if again else ""
            warnings.warn(f"a spatial transformer: {CURES[fault]}{also}", stacklevel=2)


def _shared() -> bool:
    """Say whether other processes hold the same weights, which one must not change alone."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def starts_of(localisation: nn.Module) -> list[Tensor]:
    """Return every θ (P,) that a localisation network begins with, in its heads' order."""
    heads = [m for m in localisation.modules() if isinstance(m, RegressionHead)]
    return [start for head in heads for start in head.start.view(-1, head.start.shape[-1])]


def _start_anew(localisation: nn.Module) -> bool:
    """Draw a localisation network's weights anew; say whether it could be done."""
    if not starts_of(localisation):
        return False  # its last layer would predict anything
    for module in localisation.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return True
