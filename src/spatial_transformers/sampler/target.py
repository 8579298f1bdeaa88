"""Where an image is sampled: at coordinates that are given, or at T_θ(G) for a target of a size."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .._types import InputError, require_tensor
from ..grid import Linear, Transformation
from ..grid.regular import Frame, normalised_frame, pixel_frame, unnormalise
from .antialias import spacing

Operation = Literal["sample", "warp"]


class Target(ABC):
    """The points at which an image is sampled, one for every pixel of the output."""

    #: The public function that has such a target.
    operation: ClassVar[Operation]
    align_corners: bool

    @property
    @abstractmethod
    def batch(self) -> int:
        """How many maps there are; 1 serves every image."""

    @abstractmethod
    def grid(self) -> Tensor:
        """Return normalised coordinates (N, *target, ndim)."""

    @abstractmethod
    def pixels(self, source: Sequence[int]) -> Tensor:
        """Return pixel indices of an image of size `source`: (N, *target, ndim)."""

    @abstractmethod
    def spacing(self, source: Sequence[int]) -> Tensor:
        """Return the source pixels that a target pixel covers: (N, *target, ndim, ndim)."""

    @abstractmethod
    def detached(self) -> "Target":
        """Return the target without a gradient."""


@dataclass(frozen=True, eq=False)
class Given(Target):
    """Coordinates that are given: (N, *target, ndim), normalised, in float32 or better."""

    operation = "sample"
    coordinates: Tensor
    align_corners: bool

    @property
    def batch(self) -> int:
        """The batch of the coordinates."""
        return self.coordinates.shape[0]

    def grid(self) -> Tensor:
        """Return the coordinates."""
        return self.coordinates

    def pixels(self, source: Sequence[int]) -> Tensor:
        """Return the coordinates in pixels."""
        pixels = unnormalise(self.coordinates, source, self.align_corners)
        return saturated(pixels, self.coordinates.isfinite())

    def spacing(self, source: Sequence[int]) -> Tensor:
        """Return differences between neighbours."""
        return spacing(self.coordinates, source, self.align_corners)

    def detached(self) -> "Given":
        """Return the target without a gradient."""
        return replace(self, coordinates=self.coordinates.detach())


@dataclass(frozen=True, eq=False)
class Mapped(Target):
    """T_θ(G): the values of θ (N, P), what they mean, and the size of the target."""

    operation = "warp"
    values: Tensor
    transformation: Transformation
    size: tuple[int, ...]
    align_corners: bool

    @property
    def batch(self) -> int:
        """The batch of θ."""
        return self.values.shape[0]

    def grid(self) -> Tensor:
        """Return T_θ(G)."""
        return self._on_lattice(normalised_frame(self.transformation.ndim))

    def pixels(self, source: Sequence[int]) -> Tensor:
        """Return T_θ(G) in pixels, without a detour over [-1, 1]."""
        pixels = self._on_lattice(pixel_frame(source, self.align_corners))
        numbers, transformation = self.values, self.transformation
        if isinstance(transformation, Linear):
            numbers = transformation._matrix(numbers)
        return saturated(pixels, finite_maps(numbers, transformation.ndim))

    def spacing(self, source: Sequence[int]) -> Tensor:
        """Return how far apart the two edges of a target pixel are mapped."""
        frame = pixel_frame(source, self.align_corners)
        return self.transformation._spacing(self.values, self.size, self.align_corners, frame)

    def detached(self) -> "Mapped":
        """Return the target without a gradient."""
        return replace(self, values=self.values.detach())

    def _on_lattice(self, source: Frame) -> Tensor:
        return self.transformation._on_lattice(self.values, self.size, self.align_corners, source)


def saturated(pixels: Tensor, finite: Tensor) -> Tensor:
    """Return the largest number, without a gradient, where `finite` numbers give infinite pixels.

    So what is finite stays so: padding decides what is read there.
    """
    largest = torch.finfo(pixels.dtype).max
    overflows = pixels.isinf() & finite
    return pixels.where(~overflows, pixels.detach().clamp(-largest, largest))


def finite_maps(numbers: Tensor, ndim: int) -> Tensor:
    """Return which maps' numbers (N, ...) are all finite, to go with points (N, *target, ndim)."""
    return numbers.flatten(1).isfinite().all(1).reshape(-1, *[1] * (ndim + 1))


def check_image(image: Tensor) -> None:
    """Refuse what is no tensor, an image of no pixels, and one that PyTorch cannot compute with."""
    require_tensor(image, "sampling", "image")
    _check_pixels(image)


def _check_pixels(image: Tensor) -> None:
    if image.ndim < 3 or any(n == 0 for n in image.shape[2:]):
        raise InputError(
            f"an image of shape {tuple(image.shape)} was given; give (N, C, *spatial) with at "
            "least one pixel along every spatial axis"
        )
    if image.dtype.itemsize == 1 and image.dtype.is_floating_point:
        raise InputError(
            f"an image of {image.dtype} was given; give float16, bfloat16, float32 or float64"
        )


def check_dimensions(image: Tensor, transformation: Transformation) -> None:
    """Refuse an image of other dimensions than the transformation's, or of no pixels."""
    if not isinstance(transformation, Transformation):
        raise InputError(f"{transformation!r} was given as a transformation; give one as Affine()")
    require_tensor(image, transformation, "image")
    if image.ndim != transformation.ndim + 2:
        axes = {1: "W", 2: "H, W", 3: "D, H, W"}[transformation.ndim]
        raise InputError(
            f"{transformation} was asked to warp an image of shape {tuple(image.shape)}; "
            f"give (N, C, {axes})"
        )
    _check_pixels(image)
