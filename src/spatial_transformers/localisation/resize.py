"""Antialiased linear resizing to a fixed size, in 1-D to 3-D, as one matrix per axis.

The result equals `interpolate(mode="bilinear", antialias=True)`, which exists in 2-D only. Matrix
products also trace, export and differentiate like everything else, whatever the image's size.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from .._context import at_least, at_least_float32, autocasts, context, without_autocast
from .._errors import InputError
from .._types import Image, Size, require_tensor
from ..grid.regular import as_target


def fitted(image: Image, size: tuple[int, ...], channels: int, dtype: torch.dtype) -> Tensor:
    """Return an image in the size, and of the channels and the dtype, that a network takes.

    Raises:
        InputError: for an image of other axes, channels or dtype; autocast converts dtypes.

    """
    require_tensor(image, "a localisation network", "image")
    resized = resize(image, size)
    if image.shape[1] != channels or (image.dtype != dtype and not autocasts(image.device)):
        raise InputError(
            f"a localisation network of {channels} channels in {dtype} was given images of "
            f"{image.shape[1]} channels in {image.dtype}; give images, or make a network, to match"
        )
    return resized


def resize(
    image: Float[Tensor, "N C *source"], size: tuple[int, ...]
) -> Float[Tensor, "N C *target"]:
    """Resize (N, C, *source) to (N, C, *size), as with `align_corners=False`.

    Raises:
        InputError: for another number of axes, or an image of integers.

    """
    if image.ndim != len(size) + 2 or not image.is_floating_point():
        axes = ", ".join("DHW"[3 - len(size) :])
        raise InputError(
            f"a localisation network of input_size {size} was given {image.dtype} of shape "
            f"{tuple(image.shape)}; give floating images (N, C, {axes})"
        )
    eager = context(image) == "eager"
    with without_autocast(image.device):
        resized = at_least_float32(image)
        for axis, target in reversed([*enumerate(size, start=2)]):  # the last one is not copied
            if eager and image.shape[axis] == target:  # a traced graph is for all sizes
                continue
            weights = _triangle(image.shape[axis], target, resized)
            resized = (resized.movedim(axis, -1) @ weights).movedim(-1, axis)
    return resized.to(image.dtype)


def _triangle(source: int, target: int, like: Tensor) -> Float[Tensor, "source target"]:
    """Return weights of a triangle that reaches a source pixel, or if it shrinks a target pixel."""
    scale = source / target
    width = at_least(scale, 1.0)
    pixels = torch.arange(source, dtype=like.dtype, device=like.device)
    centres = (torch.arange(target, dtype=like.dtype, device=like.device) + 0.5) * scale - 0.5
    weights = (1 - (pixels[:, None] - centres).abs() / width).clamp(min=0)
    return weights / weights.sum(0)


def fixed_size(input_size: Size | None, ndim: int) -> tuple[int, ...]:
    """Return the size that a localisation network works at."""
    if input_size is None:
        input_size = {1: 64, 2: 32, 3: 16}[ndim]
    return as_target(input_size, ndim)
