"""Where an image is sampled: at coordinates that are given, or at T_θ(G) for a target of a size."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from .._types import InputError
from ..grid import Transformation
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
        return unnormalise(self.coordinates, source, self.align_corners)

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
        return self._on_lattice(pixel_frame(source, self.align_corners))

    def spacing(self, source: Sequence[int]) -> Tensor:
        """Return how far apart the two edges of a target pixel are mapped."""
        frame = pixel_frame(source, self.align_corners)
        return self.transformation._spacing(self.values, self.size, self.align_corners, frame)

    def detached(self) -> "Mapped":
        """Return the target without a gradient."""
        return replace(self, values=self.values.detach())

    def _on_lattice(self, source: Frame) -> Tensor:
        return self.transformation._on_lattice(self.values, self.size, self.align_corners, source)


def check_image(image: Tensor) -> None:
    """Refuse an image of no pixels."""
    if image.ndim < 3 or any(n == 0 for n in image.shape[2:]):
        raise InputError(
            f"an image of shape {tuple(image.shape)} was given; give (N, C, *spatial) with at "
            "least one pixel along every spatial axis"
        )


def check_dimensions(image: Tensor, transformation: Transformation) -> None:
    """Refuse an image of other dimensions than the transformation's, or of no pixels."""
    if not isinstance(transformation, Transformation):
        raise InputError(f"{transformation!r} was given as a transformation; give one as Affine()")
    if image.ndim != transformation.ndim + 2:
        axes = {1: "W", 2: "H, W", 3: "D, H, W"}[transformation.ndim]
        raise InputError(
            f"{transformation} was asked to warp an image of shape {tuple(image.shape)}; "
            f"give (N, C, {axes})"
        )
    check_image(image)
