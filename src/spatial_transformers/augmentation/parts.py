"""The parts of a sample that a warp applies to: images, masks, boxes and points.

In a dict they have names. In a tuple or list they have an order: image, mask, boxes, points; a dict
among them has names again. Labels pass as they are: numbers, texts, tensors of fewer than two axes,
and what a dict has under other names.
"""

from collections.abc import Callable, Iterator, Mapping
from numbers import Number
from typing import Any, Literal, TypeAlias

from torch import Tensor

from .._errors import InputError, shown

Kind: TypeAlias = Literal["image", "mask", "boxes", "points"]

_ORDER: tuple[Kind, ...] = ("image", "mask", "boxes", "points")
_NAMES: Mapping[Any, Kind] = {
    "image": "image",
    "images": "image",
    "mask": "mask",
    "masks": "mask",
    "boxes": "boxes",
    "points": "points",
    "keypoints": "points",
}


def replaced(sample: Any, replace: Callable[[Kind, Any], Any]) -> Any:
    """Return a sample with `replace(kind, part)` in place of each part that has a kind."""
    if isinstance(sample, Mapping):
        return {name: _named(name, part, replace) for name, part in sample.items()}
    if not isinstance(sample, (tuple, list)):
        return replace("image", sample)
    order = iter(_ORDER)
    parts = [_ordered(part, order, replace) for part in sample]
    if hasattr(sample, "_fields"):  # a named tuple
        return type(sample)(*parts)
    return type(sample)(parts)


def first_image(sample: Any) -> Any:
    """Return the first image of a sample.

    Raises:
        InputError: if there is none.

    """
    images: list[Any] = []
    replaced(sample, lambda kind, part: images.append(part) if kind == "image" else None)
    if not images:
        raise InputError(
            f"RandomWarp was given {shown(sample)}, which has no image; give an image, a tuple "
            "that begins with one, or a dict with one under 'image'"
        )
    return images[0]


def _named(name: Any, part: Any, replace: Callable[[Kind, Any], Any]) -> Any:
    if isinstance(part, Mapping):
        return replaced(part, replace)
    kind = _NAMES.get(name)
    return part if kind is None or part is None else replace(kind, part)


def _ordered(part: Any, order: Iterator[Kind], replace: Callable[[Kind, Any], Any]) -> Any:
    if isinstance(part, Mapping):
        return replaced(part, replace)
    is_label = isinstance(part, (Number, str, bytes)) or (
        isinstance(part, Tensor) and part.ndim < 2
    )
    if is_label:
        return part
    kind = next(order, None)
    if kind is None:
        raise InputError(
            "RandomWarp was given a tuple of more than image, mask, boxes and points; give what "
            "else there is in a dict, under names of its own"
        )
    return part if part is None else replace(kind, part)
