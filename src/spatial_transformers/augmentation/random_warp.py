"""Data augmentation by the library's own transformations: a θ per sample, and one resampling."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._config import Configured
from .._context import at_least_float32
from .._draws import as_normal, unit
from .._errors import InputError, shown
from .._types import Size, Theta, require_tensor
from ..grid import (
    Affine,
    Compose,
    Homogeneous,
    Projective,
    ThinPlateSpline,
    Transformation,
    make_transformation,
)
from ..grid.regular import as_target, half_extents, regular_grid
from ..sampler import Sampler
from ..sampler.names import PaddingName
from ..sampler.padding import Padding, fills
from .keys import MOST, Key, as_keys
from .located import ORIGINS, Coordinates, Units, moved
from .parts import Kind, first_image, replaced
from .placement import Placement, Range, Ranges, is_number, is_share

_PLAIN = Sampler()


class RandomWarp(Configured):
    """Turns, scales, moves, mirrors, tilts and bends images at random: each by a θ of its own.

    It takes an image (C, H, W), a batch (N, C, H, W), volumes with `ndim=3`, or a tuple or dict of
    images, masks, boxes and points, which all go the same way; see `forward`. Every image is read
    once, however much is done to it. In eval mode nothing is drawn: images are brought to `size`.

    Ranges are pairs (lowest, highest), of uniform numbers. They say what happens to the content,
    about the image's centre and in its pixels, so that a turn is a turn in images of any aspect.
    Where a range is of every axis, it is one pair for all, or a pair for each, x first.

    Args:
        rotation: degrees, counter-clockwise. In 3-D the sampling grid turns about an axis times an
            angle, as `Rigid(3)` says, with a range for each of its three numbers.
        scale: factor by which the content grows; its logarithm is uniform.
        stretch: a further such factor for every axis by itself.
        shear: degrees by which axes lean; three in 3-D: xy, xz and yz.
        translation: shares of the image's side, right and down, for every axis.
        flip: the probability of a mirror image along each axis: `(0.5, 0)` is left and right.
        perspective: for every axis, how much nearer the image's edge is than its centre, as a share
            of the distance.
        bend: how far the entries of `family` are drawn from its identity: the standard deviation,
            in shares of the image's side. So the points of a spline move; those of a velocity
            field are as fast. Above 0.05 a thin plate spline may fold.
        family: what bends the image, in 2-D also by name: `ThinPlateSpline(4)` if None.
        p: the probability that a sample is changed at all.
        ndim: 2 for images, 3 for volumes.
        size: the output's (H, W) or (D, H, W), or one number for all axes; the input's if None.
        sampler: how images are read; `Sampler()` if None. Integer images are rounded.
        mask_sampler: how masks are read; by `nearest` if None, with the images' padding, and 0
            where that is constant.
        coordinates: of boxes and points: `normalised`; `pixels`, where the first pixel's centre is
            0, as in `normalise`; or `edges`, where the image's edge is 0, as in COCO's boxes.
        seed: with a `key`, what is drawn depends on both.

    Raises:
        InputError: for a range or an option out of bounds, and a family that does not fit.

    Attributes:
        transformation: what the drawn θ means: `Affine`, `Projective` with a perspective, the
            family, or `Compose` of a matrix and the family.

    Example:
        >>> import torch
        >>> from spatial_transformers import RandomWarp
        >>> augment = RandomWarp(rotation=(-30, 30), scale=(0.8, 1.25), flip=(0.5, 0), bend=0.02)
        >>> augment(torch.rand(8, 3, 60, 80)).shape
        torch.Size([8, 3, 60, 80])
        >>> image, mask = torch.rand(3, 60, 80), torch.ones(60, 80, dtype=torch.long)
        >>> (image, mask, label), theta = augment((image, mask, 7), key=5, return_theta=True)
        >>> image.shape, mask.dtype, label, theta.shape
        (torch.Size([3, 60, 80]), torch.int64, 7, torch.Size([1, 38]))
        >>> mirror = RandomWarp(flip=(1, 0), coordinates="edges")
        >>> found = mirror({"image": image, "boxes": torch.tensor([[0.0, 0.0, 10.0, 20.0]])})
        >>> found["boxes"].round().tolist()
        [[70.0, 0.0, 80.0, 20.0]]

    Source: the maps are those of the families; keys are mixed as in SplitMix64 (Steele, Lea and
    Flood, 2014).

    """

    def __init__(
        self,
        *,
        rotation: Ranges = (0.0, 0.0),
        scale: Range = (1.0, 1.0),
        stretch: Ranges = (1.0, 1.0),
        shear: Ranges = (0.0, 0.0),
        translation: Ranges = (0.0, 0.0),
        flip: Sequence[float] = (),
        perspective: Ranges = (0.0, 0.0),
        bend: float = 0.0,
        family: Transformation | str | None = None,
        p: float = 1.0,
        ndim: int = 2,
        size: Size | None = None,
        sampler: Sampler | None = None,
        mask_sampler: Sampler | None = None,
        coordinates: Coordinates = "normalised",
        seed: int = 0,
    ):
        super().__init__()
        self.rotation, self.scale, self.stretch, self.shear = rotation, scale, stretch, shear
        self.translation, self.flip, self.perspective = translation, flip, perspective
        self.bend, self.family, self.p, self.ndim, self.size = bend, family, p, ndim, size
        self.sampler, self.mask_sampler = sampler, mask_sampler
        self.coordinates: Coordinates = coordinates
        self.seed = seed
        self._check()
        ranges = {n: getattr(self, n) for n in ("rotation", "scale", "stretch", "shear")}
        ranges |= {"translation": translation, "perspective": perspective}
        self._placement = Placement(ndim, ranges, flip)
        self._families = self._parts()  # of the matrix and of the bend
        parts = [part for part in self._families if part is not None]
        self.transformation = parts[0] if len(parts) == 1 else Compose(*parts)
        self._masks = _mask_sampler(self._images) if mask_sampler is None else mask_sampler

    def forward(
        self,
        sample: Any,
        *,
        key: Key | None = None,
        generator: torch.Generator | None = None,
        return_theta: bool = False,
    ) -> Any:
        """Return a sample like the one given, warped, and with `return_theta` also its θ (N, P).

        Args:
            sample: an image (C, *size) or a batch (N, C, *size). Or a tuple or list of images,
                masks, boxes and points in this order, None for one that is missing. Or a dict with
                some of `image`, `mask`, `boxes` and `points` (or `images`, `masks`, `keypoints`).
                Masks have channels or none; boxes are (N, K, 4) and points (N, K, 2), or in a dict
                a list of a tensor for each image. One image's parts have no N.
                Labels pass as they are: numbers, texts, tensors of fewer than two axes, and what a
                dict has under other names.
            key: a number per image, as that of the sample in an epoch. The same key draws the same
                θ, in whatever batch, process and order. None draws from torch's generator, of
                which each worker of a `DataLoader` has its own.
            generator: to draw from in place of torch's.
            return_theta: (1, P) for one image. `transformation.inverse(theta)`, where the family
                has one, or `inverse_points` lead back.

        Raises:
            InputError: for a sample without an image, and parts that do not go with it.

        """
        image = first_image(sample)
        require_tensor(image, "RandomWarp", "an image")
        single = image.ndim == self.ndim + 1
        if not single and image.ndim != self.ndim + 2:
            axes = {2: "H, W", 3: "D, H, W"}[self.ndim]
            raise InputError(
                f"RandomWarp(ndim={self.ndim}) was given an image of shape {tuple(image.shape)}; "
                f"give (C, {axes}) or (N, C, {axes})"
            )
        source = tuple(image.shape[-self.ndim :])
        theta = self._theta(as_keys(key, generator, 1 if single else len(image)), source)
        theta = theta.to(_precision(image)).to(image.device)
        target = source if self.size is None else as_target(self.size, self.ndim)
        corners = self._images.options.align_corners
        units = Units(self.coordinates, corners, source, target)

        def warped(kind: Kind, part: Any) -> Any:
            if kind in ("image", "mask"):
                return self._warped(kind, part, theta, single)
            return self._located(kind, part, theta, single, units)

        found = replaced(sample, warped)
        return (found, theta) if return_theta else found

    @property
    def _images(self) -> Sampler:
        return _PLAIN if self.sampler is None else self.sampler

    def _check(self) -> None:
        """Refuse options that are out of bounds; ranges are checked where they are drawn from."""
        checks = {
            "ndim": (self.ndim in (2, 3) and type(self.ndim) is int, "2 or 3"),
            "bend": (is_number(self.bend) and self.bend >= 0, "a share of the image's side"),
            "family": (self.family is None or self.bend != 0, "bend, a number above 0, with it"),
            "p": (is_share(self.p), "a probability from 0 to 1"),
            "coordinates": (self.coordinates in (*ORIGINS,), ", ".join(ORIGINS)),
            "seed": (type(self.seed) is int and 0 <= self.seed < MOST, "0 or more, below 2^63"),
            "sampler": (isinstance(self._images, Sampler), "a Sampler"),
            "mask_sampler": (isinstance(self.mask_sampler, Sampler | None), "a Sampler"),
        }
        for name, (holds, wanted) in checks.items():
            if not holds:
                given = shown(getattr(self, name))
                raise InputError(f"RandomWarp({name}={given}) was asked for; give {wanted}")
        if self.size is not None:
            as_target(self.size, self.ndim)
        corners = [s.options.align_corners for s in (self._images, self.mask_sampler) if s]
        if len({*corners}) > 1:
            raise InputError(
                f"RandomWarp was given samplers of images and masks with align_corners={corners}; "
                "give both the same"
            )

    def _parts(self) -> tuple[Homogeneous | None, Transformation | None]:
        """Return the families of the matrix and of the bend, of which there is one at least."""
        placed = Projective(self.ndim) if self._placement.perspective else Affine(self.ndim)
        if not self.bend:
            return placed, None
        bends = ThinPlateSpline(4, ndim=self.ndim) if self.family is None else self.family
        bends = make_transformation(bends) if isinstance(bends, str) else bends
        fits = isinstance(bends, Transformation) and bends.ndim == self.ndim
        if not fits or not _is_neutral(bends):
            raise InputError(
                f"RandomWarp(ndim={self.ndim}, family={bends}) was asked for; give a "
                f"transformation of {self.ndim} dimensions whose identity moves no point"
            )
        return None if self._placement.is_neutral else placed, bends

    @torch.no_grad()
    def _theta(self, keys: Tensor, source: tuple[int, ...]) -> Theta:
        """Draw θ (N, P) in float64, where the keys are."""
        start = self.transformation.identity().to(keys.device).double().expand(len(keys), -1)
        if not self.training:
            return start
        (placed, bends), parts = self._families, []
        drawn = unit((self.seed, 0), keys, 1 + self._placement.count)
        if placed is not None:
            extents = half_extents(source, self._images.options.align_corners)
            parts.append(placed.from_matrix(self._placement.matrices(drawn[:, 1:], extents)))
        if bends is not None:
            numbers = unit((self.seed, 1), keys, bends.num_parameters)
            parts.append(start[:, -bends.num_parameters :] + 2 * self.bend * as_normal(numbers))
        return torch.cat(parts, 1).where(drawn[:, :1] < self.p, start)

    def _warped(self, kind: Kind, part: Any, theta: Tensor, single: bool) -> Tensor:
        """Warp an image or a mask, which may lack the axes of the batch and of channels."""
        require_tensor(part, "RandomWarp", f"the {kind}")
        whole = part[None] if single else part
        flat = kind == "mask" and whole.ndim == self.ndim + 1
        whole = whole[:, None] if flat else whole
        if whole.ndim != self.ndim + 2:
            raise InputError(
                f"RandomWarp was given as {kind} a tensor of shape {tuple(part.shape)} with "
                f"{_counted(theta, single)}; give one like the image, and labels in a dict"
            )
        is_mask = kind == "mask" or part.dtype == torch.bool
        warped = self._read(whole, theta, self._masks if is_mask else self._images)
        warped = warped[:, 0] if flat else warped
        return warped[0] if single else warped

    def _read(self, whole: Tensor, theta: Tensor, sampler: Sampler) -> Tensor:
        """Warp (N, C, *size); integers by rounding, unless they are picked as they are."""
        if whole.is_floating_point():
            return sampler.warp(whole, theta, self.transformation, size=self.size)
        if sampler.options.kernel.name == "nearest":
            changes = {"size": self.size, "antialias": False}
            return sampler.warp(whole, theta, self.transformation, **changes)
        numbers = whole.float() if whole.dtype.itemsize < 3 else whole.double()
        read = sampler.warp(numbers, theta, self.transformation, size=self.size)
        limits = torch.iinfo(whole.dtype)
        return read.round().clamp(limits.min, limits.max).to(whole.dtype)

    def _located(self, kind: Kind, part: Any, theta: Tensor, single: bool, units: Units) -> Any:
        """Map boxes or points of the image to the output."""
        count = _counted(theta, single)
        if isinstance(part, (list, tuple)):
            if single or len(part) != len(theta):
                raise InputError(
                    f"RandomWarp was given a list of {len(part)} {kind} with {count}; give a "
                    "tensor, or of a batch one for each image"
                )
            each = zip(part, theta.split(1), strict=True)
            return [self._located(kind, p, own, True, units) for p, own in each]
        require_tensor(part, "RandomWarp", f"the {kind}")
        numbers = 2 * self.ndim if kind == "boxes" else self.ndim
        given = part[None] if single else part
        if given.ndim != 3 or given.shape[2] != numbers or len(given) != len(theta):
            batch = "" if single else f"{len(theta)}, "
            raise InputError(
                f"RandomWarp was given {kind} of shape {tuple(part.shape)} with {count}; give "
                f"({batch}K, {numbers})"
            )
        theta = theta.to(part.device)
        found = moved(at_least_float32(given), theta, self.transformation, units)
        return found[0] if single else found


def _is_neutral(family: Transformation) -> bool:
    """Say whether the family's identity leaves points in place."""
    points = regular_grid(3, ndim=family.ndim, device="cpu").view(1, -1, family.ndim)
    identity = family.identity()[None]
    return torch.allclose(family.transform_points(identity, points), points, atol=1e-4)


def _mask_sampler(images: Sampler) -> Sampler:
    """Return how masks are read with images: the same way, but that pixels are picked."""

    def without_fill(name: PaddingName) -> PaddingName:
        return "zeros" if name == "constant" else name

    given = images.options.padding_mode
    padding: Padding = given
    if fills(given):
        padding = "zeros" if isinstance(given, str) else (*map(without_fill, given),)
    return Sampler("nearest", padding_mode=padding, align_corners=images.options.align_corners)


def _counted(theta: Tensor, single: bool) -> str:
    return "one image" if single else f"{len(theta)} images"


def _precision(image: Tensor) -> torch.dtype:
    """Return the dtype of θ."""
    return torch.float64 if image.dtype == torch.float64 else torch.float32
