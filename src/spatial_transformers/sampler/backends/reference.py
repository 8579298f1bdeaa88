"""Equations 3 to 7 in plain PyTorch: this backend defines what is correct for all others.

It takes any number of spatial dimensions, and any dtype, kernel and padding. It is differentiable
any number of times, in reverse and forward mode and under `torch.func`. Eqs. 6 and 7 are what
autograd makes of the lines below.

Tensors per point are (N, ...) with the target flattened: (N, M), and (N, T, M) for T taps.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from itertools import product
from math import ceil
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..antialias import Stretch, reach, stretch
from ..dispatch import Backend, Spec
from ..fill import filled_share
from ..kernels import Entry, Kernel, Numbers
from ..padding import FILLING, move_inside
from ..prefilter import coefficients
from ..target import Target

_Result = TypeVar("_Result")

_PORTION = 1 << 19  # values that antialiasing reads at once
#: Dtypes that PyTorch cannot gather, and those of the same size that are gathered in their place.
_GATHERED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


class Reference(Backend):
    """Plain PyTorch; slow is fine."""

    name = "reference"
    tolerance: ClassVar[Mapping[torch.dtype, float]] = {}

    def why_not(self, spec: Spec) -> list[str]:
        """Return the reasons against this backend."""
        if spec.dtype.is_floating_point or (spec.mode == "nearest" and spec.max_shrink is None):
            return []
        return ["integer images have no weighted sums: use mode='nearest', not antialiased"]

    def run(
        self, spec: Spec, image: Tensor, target: Target, fill: Tensor | None, phi: Numbers
    ) -> Tensor:
        """Sample at the points in pixels."""
        source = image.shape[2:]
        pixels = target.pixels(source)
        steps = None if spec.max_shrink is None else target.spacing(source)
        return sample_pixels(spec, image, pixels, fill, phi, steps)


class _Field(NamedTuple):
    """What is sampled, and how."""

    spec: Spec
    flat: Tensor  # pixels or coefficients, (N, C, source)
    finite: bool  # whether all of them are known to be finite
    lengths: tuple[int, ...]  # (W, H[, D]), in the order of coordinates
    margins: Sequence[int]
    coverage: tuple[Tensor, ...] | None
    phi: Numbers

    def entries(self, axis: int) -> tuple[Entry, ...]:
        """Return the entries of Φ for an axis, which broadcast with (N, T, M)."""
        if not isinstance(self.phi, Tensor):
            return self.phi
        phi = self.phi[:, axis] if self.phi.ndim == 3 else self.phi
        return tuple(entry.reshape(-1, 1, 1) for entry in phi.unbind(-1))


class _Taps(NamedTuple):
    """The pixels that the kernel visits along one axis, per target point: (N, T, M) each."""

    read: Tensor  # the pixel that is read; a padding may read another than the one visited
    inside: Tensor  # 1 where a pixel is read, 0 where nothing lies outside the image
    covered: Tensor  # what would be read if the axis held ones


class _Sums(NamedTuple):
    """Sums over taps: of weighted values (N, C, M), of weights inside (N, M), of all weights."""

    values: Tensor
    inside: Tensor
    total: Tensor


def sample_pixels(
    spec: Spec,
    image: Tensor,
    pixels: Tensor,
    fill: Tensor | None,
    phi: Numbers = (),
    steps: Tensor | Stretch | None = None,
) -> Tensor:
    """Sample (N, C, *source) at pixel coordinates (N, *target, ndim): eq. 3.

    If `steps` is given, antialias: the spacing of the points (N, *target, ndim, ndim), or a stretch
    that is known per point of the flattened target.
    """
    finite = pixels.isfinite().all(-1)  # (N, *target)
    pixels = pixels.where(finite[..., None], 0).flatten(1, -2)  # (N, M, ndim)
    inside, target = finite.flatten(1)[:, None], finite.shape[1:]
    outside = image.new_zeros(1, 1, 1) if fill is None else fill.reshape(1, -1, 1)
    if not image.is_floating_point():  # `nearest`, whose weights are 1
        stored = _GATHERED.get(image.dtype, image.dtype)
        outside = _viewed(outside.to(image.dtype), stored)
        sampled = _picked(_field(spec, _viewed(image, stored), ()), pixels.unbind(-1), outside)
        return _viewed(torch.unflatten(sampled.where(inside, outside), 2, target), image.dtype)
    work = torch.promote_types(image.dtype, pixels.dtype)
    pixels, outside = pixels.to(work), outside.to(work)
    field = _field(spec, image.to(work), phi.to(work) if isinstance(phi, Tensor) else phi)
    sampled = _filled(spec, _plain(field, pixels.unbind(-1)), outside)
    if isinstance(steps, Tensor):
        steps = steps.where(finite[..., None, None], 0).flatten(1, -3).to(work)
        steps = stretch(steps, spec.max_shrink or 1)
    if steps is not None:
        sampled = _antialiased(field, pixels.unbind(-1), steps, outside, sampled)
    return torch.unflatten(sampled.where(inside, outside), 2, target).to(image.dtype)


def _field(spec: Spec, image: Tensor, phi: Numbers) -> _Field:
    finite = spec.context == "eager" and bool(image.isfinite().all())
    values, margins, coverage = coefficients(
        image, spec.kernel, spec.paddings, spec.align_corners, finite=finite
    )
    return _Field(spec, values.flatten(2), finite, values.shape[:1:-1], margins, coverage, phi)


def _filled(spec: Spec, sums: _Sums, outside: Tensor) -> Tensor:
    """Account for the weights outside the image; all weights, inside and outside, sum to 1."""
    if "constant" in spec.paddings:
        return sums.values + filled_share(outside, (sums.total - sums.inside)[:, None])
    if "renormalise" in spec.paddings:
        some = sums.inside > 1e-3  # as documented
        divided = sums.values / sums.inside.where(some, 1)[:, None]
        return divided.where(some[:, None], 0)
    return sums.values


def _picked(field: _Field, pixels: Sequence[Tensor], outside: Tensor) -> Tensor:
    kernel, axes = field.spec.kernel, []
    for axis, x in enumerate(pixels):
        axes.append(_taps(field, axis, kernel.base(_moved(field, axis, x)), x.new_zeros(1)))
    inside = reduce(torch.mul, [taps.inside for taps in axes])
    values = _read(field.flat, _flat_index(field, [taps.read for taps in axes]))
    return values.where(inside[:, None] > 0, outside[..., None])[:, :, 0]


def _plain(field: _Field, pixels: Sequence[Tensor]) -> _Sums:
    """Sum over the kernel's own support, one axis after the other."""
    kernel, axes, weights = field.spec.kernel, [], []
    for axis, x in enumerate(pixels):
        x = _moved(field, axis, x)
        base = kernel.base(x)
        first, last = kernel.offsets[0], kernel.offsets[-1]
        offsets = torch.arange(first, last + 1, dtype=x.dtype, device=x.device)
        distance = _apart(x, base)[:, None] - offsets[:, None]
        weights.append(_kept_small(field, _normalised)(kernel, distance, field.entries(axis)))
        axes.append(_taps(field, axis, base, offsets))
    inside = [w * taps.inside for w, taps in zip(weights, axes, strict=True)]
    values = _weighted(field, inside, [taps.read for taps in axes])
    covered = [(w * taps.covered).sum(1) for w, taps in zip(inside, axes, strict=True)]
    return _Sums(values, reduce(torch.mul, covered), reduce(torch.mul, [w.sum(1) for w in weights]))


def _apart(x: Tensor, base: Tensor) -> Tensor:
    """Return x - base; where rounding gives 1, which begins the next interval, just less."""
    apart = x - base
    return apart.where(apart < 1, apart - torch.finfo(x.dtype).eps / 2)


def _normalised(kernel: Kernel, distance: Tensor, entries: tuple[Entry, ...]) -> Tensor:
    weight = kernel(distance, entries)
    return _over(weight, weight.sum(1, keepdim=True)) if kernel.normalise else weight


def _antialiased(
    field: _Field, pixels: Sequence[Tensor], stretched: Stretch, outside: Tensor, plain: Tensor
) -> Tensor:
    """Sample with kernels as wide as points are apart, where that is more than a pixel."""
    spec = field.spec
    widest = reach(spec.max_shrink or 1, len(pixels))
    if spec.context == "eager":  # values can be read: leave out taps that are 0 everywhere
        if not stretched.shrinks.any():
            return plain
        widest = stretched.spans.amax().item()
    sums = _stretched(field, pixels, stretched.inverse, ceil(spec.kernel.count / 2 * widest))
    values = _over(sums.values, sums.total[:, None])
    inside, total = _over(sums.inside, sums.total), torch.ones_like(sums.total)
    sampled = _filled(spec, _Sums(values, inside, total), outside)
    return sampled.where(stretched.shrinks[:, None], plain)


def _stretched(
    field: _Field, pixels: Sequence[Tensor], inverse: Sequence[Sequence[Tensor]], radius: int
) -> _Sums:
    """Sum over all taps up to `radius` away, in portions: all at once would take much memory."""
    kernel, context = field.spec.kernel, field.spec.context
    bases = [x.round().detach() for x in pixels]
    first = bases[0]
    along = torch.arange(-radius, radius + 1, dtype=first.dtype, device=first.device)
    offsets = [axis.flatten() for axis in torch.meshgrid(*[along] * len(pixels), indexing="ij")]

    def portion(*chosen: Tensor) -> _Sums:
        """Sum over some taps, given by an offset per axis each."""
        axes = [_taps(field, axis, bases[axis], o) for axis, o in enumerate(chosen)]
        apart = [
            (x - base)[:, None] - o[:, None]
            for x, base, o in zip(pixels, bases, chosen, strict=True)
        ]
        weight = inside = covered = torch.ones_like(apart[0])
        for axis, taps in enumerate(axes):
            turned = [p[:, None] * d for p, d in zip(inverse[axis], apart, strict=True)]
            weight = weight * kernel(reduce(torch.add, turned), field.entries(axis))
            inside, covered = inside * taps.inside, covered * taps.covered
        within = weight * inside
        values = _read(field.flat, _flat_index(field, [taps.read for taps in axes]))
        values = _weighing(field, values, within)
        return _Sums((values * within[:, None]).sum(2), (within * covered).sum(1), weight.sum(1))

    if context == "compile":  # which fuses sums
        count = len(offsets[0])
    elif context == "export":  # sizes are not known
        count = len(along)
    else:
        count = max(1, _PORTION // max(1, first.numel() * field.flat.shape[1]))
    portion = _kept_small(field, portion)
    starts = range(0, len(offsets[0]), count)
    parts = (portion(*(o[k : k + count] for o in offsets)) for k in starts)
    return reduce(lambda a, b: _Sums(*map(torch.add, a, b)), parts)


def _kept_small(field: _Field, function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let backward compute the values of many taps anew, instead of keeping them."""
    wide = field.spec.kernel.count > 2 or field.spec.max_shrink is not None
    if not wide or field.spec.context != "eager" or not torch.is_grad_enabled():
        return function
    return partial(checkpoint, function, use_reentrant=False, preserve_rng_state=False)


def _moved(field: _Field, axis: int, x: Tensor) -> Tensor:
    """Move the point itself inside for a narrow kernel, as `grid_sample` does."""
    spec = field.spec
    if not spec.kernel.narrow:
        return x
    return move_inside(x, field.lengths[axis], spec.paddings[axis], spec.align_corners)


def _taps(field: _Field, axis: int, base: Tensor, offsets: Tensor) -> _Taps:
    spec, length = field.spec, field.lengths[axis]
    padding_mode = spec.paddings[axis]
    pixel = base[:, None] + (offsets + field.margins[axis])[:, None]
    inside = torch.ones_like(pixel)
    if padding_mode in FILLING:
        inside = ((pixel >= 0) & (pixel <= length - 1)).to(pixel)
    pixel = move_inside(pixel, length, padding_mode, spec.align_corners)
    index = pixel.clamp(0, length - 1).long()
    if field.coverage is None:
        return _Taps(index, inside, torch.ones_like(pixel))
    return _Taps(index, inside, field.coverage[axis][index])


def _flat_index(field: _Field, indices: Sequence[Tensor]) -> Tensor:
    """Number the pixels of the image with x running fastest."""
    flat = indices[-1]
    for index, length in zip(reversed(indices[:-1]), reversed(field.lengths[:-1]), strict=True):
        flat = flat * length + index
    return flat


def _weighted(field: _Field, weights: Sequence[Tensor], indices: Sequence[Tensor]) -> Tensor:
    """Sum weighted values (N, C, M), one row of taps along x at a time, to save memory."""

    def row(outer: tuple[int, ...]) -> Tensor:
        chosen = [i[:, k : k + 1] for i, k in zip(indices[1:], outer, strict=True)]
        values = _read(field.flat, _flat_index(field, [indices[0], *chosen]))  # (N, C, T, M)
        across = [w[:, k : k + 1] for w, k in zip(weights[1:], outer, strict=True)]
        values = _weighing(field, values, weights[0], *across)
        values = (values * weights[0][:, None]).sum(2)
        for w in across:
            values = values * w
        return values

    row = _kept_small(field, row)
    return reduce(torch.add, map(row, product(*(range(w.shape[1]) for w in weights[1:]))))


def _weighing(field: _Field, values: Tensor, *weights: Tensor) -> Tensor:
    """Return values (N, C, T, M), but 0 for those not finite where a weight (N, T, M) is 0."""
    if field.finite:
        return values
    weighs = reduce(torch.logical_and, [w != 0 for w in weights])
    return values.where(weighs[:, None] | values.isfinite(), 0)


def _read(flat: Tensor, index: Tensor) -> Tensor:
    """Read (N, C, source) at (N, ..., M) for every channel alike: (N, C, ..., M)."""
    n, batch = index.shape[0], flat.shape[0]
    if n == batch or n == 1:
        spread = index.flatten(1)[:, None].expand(batch, flat.shape[1], -1)
        return torch.unflatten(flat.gather(2, spread), 2, index.shape[1:])
    if batch == 1:  # one image, many grids: no copies of it
        values = flat[0].index_select(1, index.flatten())
        return torch.unflatten(values, 1, index.shape).movedim(1, 0)
    # a few grids of each image: to `gather` they are one that is as much longer
    spread = index.reshape(batch, -1)[:, None].expand(batch, flat.shape[1], -1)
    values = torch.unflatten(flat.gather(2, spread), 2, (-1, *index.shape[1:]))
    return values.movedim(2, 1).flatten(0, 1)


def _viewed(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the same bits as another dtype; `torch.jit.trace` has no such views."""
    return tensor if tensor.dtype == dtype else tensor.view(dtype)


def _over(a: Tensor, b: Tensor) -> Tensor:
    """Return a / b, and 0 where b is 0."""
    return (a / b.where(b != 0, 1)).where(b != 0, 0)
