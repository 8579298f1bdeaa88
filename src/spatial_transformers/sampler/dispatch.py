"""The one dispatch point: which backend runs a call, and why the others do not.

A `Spec` holds the static facts of a call, a `Backend` says what it cannot do with them, and
`select` takes the first backend that has nothing to say. All of it is plain Python, so that it
traces under `torch.compile(fullgraph=True)`; messages are built only when raising.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._context import Context
from .._errors import InputError
from .kernels import KERNELS, Kernel, Numbers
from .options import Options
from .padding import per_axis
from .target import Operation, Target


@dataclass(frozen=True)
class Spec:
    """The static facts of one call."""

    operation: Operation  # a given grid is sampled, or θ warps without one
    ndim: int  # spatial dimensions
    dtype: torch.dtype  # of the image
    device: str
    context: Context
    deterministic: bool  # whether every run must give the same result
    options: Options

    @property
    def kernel(self) -> Kernel:
        """The kernel."""
        return self.options.kernel

    @property
    def mode(self) -> str:
        """The kernel's name."""
        return self.kernel.name

    @property
    def paddings(self) -> tuple[str, ...]:
        """What lies outside the image along each axis, in the order of coordinates."""
        return per_axis(self.options.padding_mode, self.ndim)

    @property
    def padding_mode(self) -> str:
        """The padding of all axes; where they differ a list of names, which is no padding's."""
        if isinstance(self.options.padding_mode, str):  # quick, as every call asks for it
            return self.options.padding_mode
        paddings = self.paddings[::-1]
        return paddings[0] if len({*paddings}) == 1 else " × ".join(paddings)

    @property
    def align_corners(self) -> bool:
        """Whether ±1 are the centres of the border pixels."""
        return self.options.align_corners

    @property
    def max_shrink(self) -> float | None:
        """With antialiasing, how far a kernel widens at most."""
        return self.options.max_shrink

    @property
    def own_phi(self) -> bool:
        """Whether Φ is a tensor, or differs from that of the kernel in `KERNELS`."""
        kernel = self.kernel
        return isinstance(kernel.phi, Tensor) or KERNELS.get(kernel.name, kernel) is not kernel

    @property
    def named(self) -> bool:
        """Whether the kernel is one of those that have a name, with the Φ that it comes with."""
        return KERNELS.get(self.mode) is self.kernel and not self.own_phi

    def changed(self, **options: Any) -> "Spec":
        """Return the facts with some options changed."""
        return replace(self, options=self.options.changed(**options))

    def __str__(self) -> str:
        """Show the facts on one line, as messages do."""
        phi = " with a given Φ" if self.own_phi else ""
        corners = ", align_corners" if self.align_corners else ""
        antialias = "" if self.max_shrink is None else ", antialias"
        deterministic = ", deterministic" if self.deterministic else ""
        return (
            f"{self.operation} of a {self.ndim}-D {str(self.dtype).removeprefix('torch.')} image "
            f"on {self.device}, mode {self.mode}{phi}, padding {self.padding_mode}{corners}"
            f"{antialias}{deterministic}, context {self.context}"
        )


class Backend(ABC):
    """One implementation of the sampler, with its capabilities as data.

    `image` and target come on one device. The batch of images divides that of the maps, and each
    image serves as many maps, one after the other; or one map serves all images. Neither is copied.
    `fill` is (C,) where there is one; `phi` is Φ,
    as numbers or as a tensor (P,), (N, P) or (N, ndim, P).
    """

    name: ClassVar[str]
    #: Largest difference from the reference, relative to the image's range, that verification lets
    #: pass, per dtype of the image.
    tolerance: ClassVar[Mapping[torch.dtype, float]]

    @abstractmethod
    def why_not(self, spec: Spec) -> list[str]:
        """Return the reasons against this backend; without any, it can run."""

    @abstractmethod
    def run(
        self, spec: Spec, image: Tensor, target: Target, fill: Tensor | None, phi: Numbers
    ) -> Tensor:
        """Sample (N, C, *source) at a target's points: (N, C, *target)."""


def select(spec: Spec, name: str | None, backends: Sequence[Backend]) -> Backend:
    """Return the backend of that name, or without one the first that can run.

    Raises:
        InputError: for an unknown name, or if none can run, with every backend's reasons.

    """
    named = _named(name, backends)
    for backend in named:
        if not backend.why_not(spec):
            return backend
    reasons = "\n".join(_verdict(b, spec) for b in named)
    raise InputError(f"no backend can run this {spec}:\n{reasons}")


def report(spec: Spec, name: str | None, backends: Sequence[Backend]) -> str:
    """Return the chosen backend and every backend's reasons, a line each.

    Raises:
        InputError: for an unknown name.

    """
    able = [b.name for b in _named(name, backends) if not b.why_not(spec)]
    lines = [f"{spec}: {able[0] if able else 'none'}"]
    return "\n".join(lines + [_verdict(b, spec) for b in backends])


def _named(name: str | None, backends: Sequence[Backend]) -> list[Backend]:
    named = [b for b in backends if name is None or b.name == name]
    if not named:
        known = ", ".join(b.name for b in backends)
        raise InputError(f"backend {name!r} was asked for; known backends: {known}")
    return named


def _verdict(backend: Backend, spec: Spec) -> str:
    return f"  {backend.name}: {'; '.join(backend.why_not(spec)) or 'can run'}"
