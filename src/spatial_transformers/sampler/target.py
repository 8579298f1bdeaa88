"""Where an image is sampled: at coordinates that are given, or at T_θ(G) for a target of a size."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .._context import at_least_float32
from .._errors import InputError
from .._types import Size, require_same_batch, require_same_device, require_tensor
from ..grid import Linear, Transformation
from ..grid.regular import Frame, as_target, normalised_frame, pixel_frame, unnormalise
from .antialias import spacing

Operation = Literal["sample", "warp"]


class Target(ABC):
    """The points at which an image is sampled, one for every pixel of the output."""

    #: The public function that has such a target.
    operation: ClassVar[Operation]
    align_corners: bool
    #: How many maps every image has; None where that axis was not given.
    per_image: int | None

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
    per_image: int | None = None

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
    per_image: int | None = None

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


def given(image: Tensor, grid: Tensor, align_corners: bool) -> Given:
    """Check an image and a grid, and return the target."""
    check_image(image)
    require_tensor(grid, "sampling", "grid")
    ndim = image.ndim - 2
    wrong = grid.ndim - image.ndim not in (0, 1) or grid.shape[-1] != ndim
    if wrong or not grid.is_floating_point() or any(n == 0 for n in grid.shape[1:]):
        raise InputError(
            f"sampling an image of shape {tuple(image.shape)} was asked with a grid of shape "
            f"{tuple(grid.shape)} and {grid.dtype}; give floating coordinates (N, *target, {ndim}) "
            f"or (N, K, *target, {ndim}) with {ndim} target axes of at least one pixel each"
        )
    require_same_batch(image, grid, "sampling an image by grid")
    require_same_device(image, grid, "a grid")
    grid, per_image = _flat(at_least_float32(grid), image, image.ndim)
    return Given(grid, align_corners, per_image)


def mapped(
    image: Tensor,
    theta: Tensor,
    transformation: Transformation,
    size: Size | None,
    align_corners: bool,
) -> Mapped:
    """Check an image, θ and a size, and return the target."""
    check_dimensions(image, transformation)
    require_tensor(theta, transformation, "theta")
    fits = theta.shape[-1:] == (transformation.num_parameters,)
    flat, per_image = _flat(theta, image, 2) if fits else (theta, None)
    values = transformation.values(flat)
    target = tuple(image.shape[2:]) if size is None else as_target(size, transformation.ndim)
    require_same_batch(image, theta, "sampling an image by theta")
    require_same_device(image, values, "theta")
    return Mapped(values, transformation, target, align_corners, per_image)


def _flat(maps: Tensor, image: Tensor, axes: int) -> tuple[Tensor, int | None]:
    """Return maps (N, …) of so many axes, and K if they are (N, K, …): K to every image."""
    if maps.ndim != axes + 1:
        return maps, None
    per_image = maps.shape[1]
    if per_image == 0:
        raise InputError("0 maps per image were given; give (N, K, …) with K at least 1")
    if maps.shape[0] == 1:
        maps = maps.expand(image.shape[0], *maps.shape[1:])
    return maps.flatten(0, 1), per_image


def joint_batch(image: Tensor, maps: Tensor) -> int:
    """Return how many outputs there are, of which each image or the one map may serve several."""
    images, count = image.shape[0], maps.shape[0]
    if images == 1:
        return count
    return images if count in (1, images) else count


def saturated(pixels: Tensor, finite: Tensor) -> Tensor:
    """Return the largest number, without a gradient, where `finite` numbers give infinite pixels.

    So what is finite stays so: padding decides what is read there.
    """
    largest = torch.full_like(finite, torch.finfo(pixels.dtype).max, dtype=pixels.dtype)
    limit = largest.where(finite, torch.inf)
    return pixels.clamp(-limit, limit)


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
