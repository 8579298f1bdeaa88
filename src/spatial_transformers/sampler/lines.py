"""Lines of text in one batch: a common height, and to each the width that its own length gives."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from .._context import context
from .._errors import InputError, shown
from .._types import Image, Theta, Thetas, Warped, Warps
from ..grid import Transformation
from ..grid.regular import pixel_frame
from .fill import as_fill
from .sampler import Sampler, _formatted
from .target import Mapped, check_dimensions, joint_batch, mapped

_ACROSS, _ALONG = 33, 65  # points at which a line is measured: chords of a half circle err by 1e-4
_TICKS = 64  # per pixel, to which a width is exact before it is rounded to pixels
_PLAIN = Sampler()


def warp_lines(
    images: Image,
    theta: Theta | Thetas,
    transformation: Transformation,
    *,
    height: int = 32,
    widths: Sequence[int] | Int[Tensor, "*lines"] | None = None,
    min_width: int = 1,
    max_width: int = 2048,
    multiple_of: int = 1,
    sampler: Sampler | None = None,
) -> tuple[Warped | Warps, Int[Tensor, "*lines"]]:
    """Warp lines of text to a common height, each to its own width: V (N, C, height, W), widths.

    A line's width is its length on the image over its height there, both in the image's pixels,
    times `height`: letters keep their aspect, and a longer line gets more pixels. The length is
    that of the curves to which the target's rows are mapped, and the height that of its columns,
    each the mean over the line. So an image that is read as it is, at its own height, comes out at
    its own width, bit for bit.

    Lines are padded at their right to the widest. The first `widths[n]` columns of line n are, to
    the bit, what `warp` gives for it alone with `size=(height, widths[n])`; the rest is the fill
    value, 0 unless the sampler has another. Gradients flow through what is read, not through the
    width.

    Each line is warped by itself, which costs more than one `warp` of a batch of one size. Widths
    that are measured are read on the CPU, once per batch.

    A spatial transformer's θ is what `stn(images, return_theta=True)` returns; its own output has
    one size for all, and costs nothing to speak of with `size=1`.

    Args:
        images: U, (N, C, H, W); one image serves all lines.
        theta: θ, (N, P), a line each; or (N, K, P), K lines of every image.
        transformation: what θ means, such as `stn.transformation`; any family in 2-D.
        height: of all lines, in pixels.
        widths: the width of every line in pixels, where it is known; it is not measured then.
        min_width: the smallest width that is measured. A line gets it, too, that has no length or
            no height, or a point that is not finite.
        max_width: the largest width that is measured. A longer line is compressed.
        multiple_of: W is a multiple of it, from the widest line up, for networks that halve it
            several times. With `max_width=W, multiple_of=W` all batches are of width W.
        sampler: how the images are read, such as `Sampler(antialias=True)`; `Sampler()` if None.

    Returns:
        V, (N, C, height, W) in the images' dtype, and the widths (N,), whole numbers on their
        device; (N, K, C, height, W) and (N, K) where θ is (N, K, P).

    Raises:
        InputError: for volumes, numbers of pixels below 1, another number of widths than of lines,
            and what `warp` refuses. In exported graphs `widths` must be given.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, warp_lines
        >>> image = torch.rand(1, 1, 40, 100)
        >>> whole = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
        >>> left = torch.tensor([0.5, 0.0, -0.5, 0.0, 1.0, 0.0])  # the left half
        >>> v, widths = warp_lines(image, torch.stack((whole, left)), Affine(), height=20)
        >>> v.shape, widths
        (torch.Size([2, 1, 20, 50]), tensor([50, 25]))
        >>> v[1, :, :, 25:].count_nonzero().item()
        0

    """
    sampler = _PLAIN if sampler is None else sampler
    _check(images, transformation, sampler)
    _require_pixels(height=height, multiple_of=multiple_of)
    target = mapped(images, theta, transformation, (height, 1), sampler.options.align_corners)
    per_image = target.per_image
    if per_image is not None:
        theta = theta.expand(target.batch // per_image, -1, -1).flatten(0, 1)
    count = joint_batch(images, theta)
    if widths is None:
        measured = _measured(target, images, min_width, max_width)
        found = measured * (count // max(target.batch, 1))
    else:
        found = _given(widths, count)
    room = -(-max(found, default=min_width) // multiple_of) * multiple_of
    fill = as_fill(sampler.fill_value, images)
    lines = [images.new_zeros(0, images.shape[1], height, room)]
    for n, width in enumerate(found):
        image, own = (_share(given, n, count) for given in (images, theta))
        line = sampler.warp(image, own, transformation, size=(height, width))
        lines.append(_padded(line, room - width, fill))
    values = _formatted(torch.cat(lines), images, context(images))
    numbers = torch.tensor(found, dtype=torch.int64, device=images.device)
    if per_image is None:
        return values, numbers
    shape = (count // per_image, per_image)
    return torch.unflatten(values, 0, shape), numbers.view(shape)


def _measured(target: Mapped, images: Tensor, least: int, most: int) -> list[int]:
    """Return the width of every map's line, in pixels."""
    _require_pixels(min_width=least, max_width=most)
    if least > most:
        raise InputError(f"min_width={least} and max_width={most} were given; give less, and more")
    if context(target.values) == "export":
        raise InputError(
            "warp_lines was exported without widths, and a graph cannot have sizes that follow "
            "from theta; give widths"
        )
    corners = target.align_corners
    with torch.no_grad():
        ratio = _ratio(target, images.shape[2:])
        wide = int(corners) + (target.size[0] - int(corners)) * ratio
        # whole numbers of pixels and a half are common: rounding errors must not decide there
        wide = ((wide * _TICKS).round() / _TICKS + 0.5).floor()
        return [int(w) for w in wide.where(ratio.isfinite(), least).clamp(least, most).tolist()]


def _ratio(target: Mapped, source: Sequence[int]) -> Tensor:
    """Return length over height of every map's line, (N,); not finite where it has no height."""
    frame = pixel_frame(source, target.align_corners)
    family = target.transformation
    points = family._on_lattice(target.values, (_ACROSS, _ALONG), True, frame)  # (N, …, …, 2)
    length, height = (
        _mean(torch.hypot(*points.diff(dim=axis).unbind(-1)).sum(axis)) for axis in (2, 1)
    )
    return length / height


def _mean(values: Tensor) -> Tensor:
    """Return the mean over evenly spaced places (N, places) from end to end."""
    return torch.trapezoid(values) / (values.shape[1] - 1)


def _given(widths: Any, count: int) -> list[int]:
    found = widths.flatten().tolist() if isinstance(widths, Tensor) else widths
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != count:
        raise InputError(
            f"widths {shown(widths)} were given to warp_lines for {count} lines; give one for each"
        )
    for width in found:
        _require_pixels(widths=width)
    return [int(width) for width in found]


def _share(given: Tensor, n: int, count: int) -> Tensor:
    """Return what line n of so many has of a batch, each of whose elements serves as many lines."""
    index = n * len(given) // count
    return given[index : index + 1]


def _padded(line: Tensor, missing: int, fill: Tensor | None) -> Tensor:
    if not missing:
        return line
    shape = (*line.shape[:3], missing)
    right = line.new_zeros(shape) if fill is None else fill.view(1, -1, 1, 1).expand(shape)
    return torch.cat((line, right), 3)


def _check(images: Tensor, transformation: Transformation, sampler: Sampler) -> None:
    check_dimensions(images, transformation)
    if transformation.ndim != 2:
        raise InputError(
            f"{transformation} was given to warp_lines; give a transformation of images, in 2-D"
        )
    if not isinstance(sampler, Sampler):
        raise InputError(f"sampler={shown(sampler)} was given to warp_lines; give a Sampler")


def _require_pixels(**numbers: Any) -> None:
    for name, n in numbers.items():
        if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:  # pyright: ignore
            raise InputError(
                f"{name}={shown(n)} was given to warp_lines; give whole numbers, at least 1"
            )
