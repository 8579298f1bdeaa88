"""The sampler's options, checked once: how an image is sampled, but not which image nor where."""

from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Real
from typing import Any

from .._errors import InputError
from .._hints import names_of
from .kernels import Kernel, find_kernel
from .names import BackendName, Gradient, Mode
from .padding import Padding, check_padding

GRADIENTS = names_of(Gradient)  # see slopes.py
MAX_SHRINK = 8.0  # the widening that `antialias=True` allows
_WIDEST = 64  # the largest widening that may be asked for


@dataclass(frozen=True, eq=False)
class Options:
    """The options of `sample` and `warp`, whose docstrings describe them.

    Raises:
        InputError: for an unknown name, and a number out of range.

    """

    mode: Mode | Kernel = "bilinear"
    padding_mode: Padding = "zeros"
    align_corners: bool = False
    antialias: bool | float = False
    gradient: Gradient = "exact"
    backend: BackendName | None = None

    def __post_init__(self):
        find_kernel(self.mode)
        if not isinstance(self.align_corners, bool):
            raise InputError(f"align_corners {self.align_corners!r} was given; give True or False")
        check_padding(self.padding_mode)
        if not isinstance(self.antialias, bool) and not _is_widening(self.antialias):
            raise InputError(
                f"antialias {self.antialias!r} was given; give True, False, or how far kernels "
                f"widen at most, a number from 1 to {_WIDEST}"
            )
        if self.gradient not in GRADIENTS:
            known = ", ".join(GRADIENTS)
            raise InputError(f"gradient {self.gradient!r} was asked for; known: {known}")

    @property
    def kernel(self) -> Kernel:
        """The kernel of `mode`."""
        return find_kernel(self.mode)

    @property
    def max_shrink(self) -> float | None:
        """How far kernels widen at most; None where they do not."""
        if isinstance(self.antialias, bool):
            return MAX_SHRINK if self.antialias else None
        return self.antialias

    def changed(self, **changes: Any) -> "Options":
        """Return these options with some of them changed."""
        return replace(self, **changes) if changes else self


def _is_widening(number: Any) -> bool:
    return isinstance(number, Real) and bool(1 <= number <= _WIDEST)  # pyright: ignore


#: The options of calls that are alike are made, and checked, once.
remembered = lru_cache(maxsize=1024, typed=True)(Options)
