"""The sampler's public functions (section 3.3): check, select a backend, run it."""

from collections.abc import Sequence
from functools import lru_cache, partial
from math import inf
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .._context import Context, at_least_float32, context, without_autocast
from .._types import (
    Grid,
    Image,
    InputError,
    Size,
    Theta,
    Warped,
    require_same_batch,
    require_same_device,
)
from ..grid import Transformation
from ..grid.regular import as_size, unnormalise
from . import dispatch
from .antialias import spacing
from .backends import BACKENDS
from .kernels import Kernel, Phi, find_kernel
from .padding import PADDING_MODES
from .slopes import GRADIENTS, with_slopes

Fill: TypeAlias = float | Sequence[float] | Tensor

_WIDEST = 64  # largest max_shrink


def sample(
    image: Image,
    grid: Grid,
    *,
    mode: str | Kernel = "bilinear",
    phi: Phi | None = None,
    padding_mode: str = "zeros",
    fill_value: Fill | None = None,
    align_corners: bool = False,
    antialias: bool = False,
    max_shrink: float = 8,
    gradient: str = "exact",
    backend: str | None = None,
) -> Warped:
    """Sample an image at given coordinates: (U, T_θ(G)) → V (eqs. 3 to 7).

    Agrees with `torch.nn.functional.grid_sample`, at kinks too, and goes further: any kernel in any
    number of spatial dimensions, integer images with `nearest`, half-precision images with a
    float32 grid, more paddings, antialiasing, second derivatives and `torch.func`. A coordinate
    that is not finite gives the fill value (0 unless given) and no gradient.

    Args:
        image: U, (N, C, H, W), (N, C, D, H, W) or any number of spatial axes.
        grid: normalised coordinates, (N, *target, ndim), x first; `normalise` makes them of pixel
            coordinates. A batch of 1 in either image or grid serves every element of the other,
            without being copied.
        mode: the kernel: `nearest` (halves to the even pixel), `bilinear` (linear in every
            dimension), `bicubic`, `mitchell`, `lanczos2`, `lanczos3`, `lanczos5`, `bspline0` to
            `bspline7` (interpolating), `gaussian`, or a `Kernel`.
        phi: Φ, the kernel's parameters, instead of its own: a number, (P,), (N, P), or
            (N, ndim, P) for one per axis: `bicubic` a (-0.75), `mitchell` b and c (1/3, 1/3),
            `gaussian` the standard deviation in pixels (0.5). A tensor gets a gradient.
        padding_mode: what lies outside, of a row of pixels `a b c d`:
            `zeros` (0 0 a b c d 0 0), `constant` (f f a b c d f f), `border` (a a a b c d d d),
            `reflection` (b a a b c d d c; with `align_corners` c b a b c d c b),
            `wrap` (c d a b c d a b), or `renormalise` (no pixel: the weights inside sum to 1, and
            the result is 0 where less than a thousandth of them is).
        fill_value: a number or one per channel, or a tensor, which gets a gradient; only with
            `constant`.
        align_corners: whether ±1 are the centres of the border pixels instead of their edges.
        antialias: widen the kernel where points lie more than a pixel apart, in the direction in
            which they do. As `interpolate(antialias=True)` for axis-aligned scales (whose bicubic
            kernel has `phi=-0.5`). Derivatives count the widening.
        max_shrink: how far kernels widen at most; without eager execution, their cost.
        gradient: to the coordinates: `exact`, or in its place `straight-through` (that of bilinear
            sampling), `linearized` or `multi-scale`, which see further; see `sampler/slopes.py`.
        backend: a backend's name, instead of the fastest that can run.

    Returns:
        V, (N, C, *target), in the image's dtype, and in channels-last format if the image is.

    Raises:
        InputError: a wrong shape, dtype or option, or no backend that can run it.

    Example:
        >>> import torch
        >>> from spatial_transformers import sample
        >>> image = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
        >>> sample(image, torch.zeros(1, 1, 1, 2))
        tensor([[[[1.5000]]]])
        >>> outside = torch.full((1, 1, 1, 2), 9.0)
        >>> sample(image, outside, padding_mode="constant", fill_value=7.0)
        tensor([[[[7.]]]])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.3.

    """
    _check_image(image)
    ndim = image.ndim - 2
    wrong = grid.ndim != image.ndim or grid.shape[-1] != ndim or not grid.is_floating_point()
    if wrong or any(n == 0 for n in grid.shape[1:]):
        raise InputError(
            f"sampling an image of shape {tuple(image.shape)} was asked with a grid of shape "
            f"{tuple(grid.shape)} and {grid.dtype}; give floating coordinates (N, *target, {ndim}) "
            f"with {ndim} target axes of at least one pixel each"
        )
    batch = require_same_batch(image, grid, "sampling an image by grid")
    require_same_device(image, grid, "a grid")
    check_fill(fill_value, padding_mode)
    fill, source = _as_fill(fill_value, image), image.shape[2:]
    named = (mode, phi is not None, padding_mode, align_corners, antialias, max_shrink, gradient)
    spec, chosen = _resolve("sample", image, named, backend)
    entries = spec.kernel.check_phi(phi, batch, ndim)
    with without_autocast(image.device):
        grid = at_least_float32(grid)
        if gradient == "exact" or spec.context == "export" or not image.is_floating_point():
            return _formatted(chosen.sample(spec, image, grid, fill, entries), image)
        values = chosen.sample(spec, image, grid.detach(), fill, entries)
        pixels = unnormalise(grid, source, align_corners)
        steps = partial(spacing, grid, source, align_corners)
        return _formatted(with_slopes(gradient, spec, values, image, pixels, steps, fill), image)


def warp(
    image: Image,
    theta: Theta,
    transformation: Transformation,
    *,
    size: Size | None = None,
    mode: str | Kernel = "bilinear",
    phi: Phi | None = None,
    padding_mode: str = "zeros",
    fill_value: Fill | None = None,
    align_corners: bool = False,
    antialias: bool = False,
    max_shrink: float = 8,
    gradient: str = "exact",
    backend: str | None = None,
) -> Warped:
    """Warp an image by θ: grid and sampler in one, V_i = U(T_θ(G_i)).

    Pixel coordinates are computed directly, so that at the identity the result is the image bit for
    bit, and its gradient the right-hand slope at every pixel. That is the start of training.

    Args:
        image: U, (N, C, H, W) or (N, C, D, H, W).
        theta: θ, (N, P), mapping target to source; taken in float32 or better. A batch of 1 in
            either image or theta serves every element of the other.
        transformation: what θ means, for instance `Affine()`.
        size: the target's (H, W) or (D, H, W); the image's own if None.
        mode: see `sample`, as for all further options.
        phi: see `sample`.
        padding_mode: see `sample`.
        fill_value: see `sample`.
        align_corners: see `sample`.
        antialias: see `sample`.
        max_shrink: see `sample`.
        gradient: see `sample`.
        backend: see `sample`.

    Returns:
        V, (N, C, *size), in the image's dtype.

    Raises:
        InputError: a wrong shape, dtype or option, or no backend that can run it.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, warp
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> mirror = torch.tensor([[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
        >>> warp(image, mirror, Affine())
        tensor([[[[3., 2., 1., 0.]]]])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, sections 3.2 and 3.3.

    """
    check_dimensions(image, transformation)
    theta = transformation.check(theta)
    source = image.shape[2:]
    target = as_size(source if size is None else size, transformation.ndim)
    batch = require_same_batch(image, theta, "sampling an image by theta")
    require_same_device(image, theta, "theta")
    check_fill(fill_value, padding_mode)
    fill = _as_fill(fill_value, image)
    named = (mode, phi is not None, padding_mode, align_corners, antialias, max_shrink, gradient)
    spec, chosen = _resolve("warp", image, named, backend)
    entries = spec.kernel.check_phi(phi, batch, transformation.ndim)
    with without_autocast(image.device):
        if gradient == "exact" or spec.context == "export" or not image.is_floating_point():
            values = chosen.warp(spec, image, theta, transformation, target, fill, entries)
            return _formatted(values, image)
        values = chosen.warp(spec, image, theta.detach(), transformation, target, fill, entries)
        pixels = transformation.pixels(theta, target, source, align_corners=align_corners)
        steps = partial(transformation.spacing, theta, target, source, align_corners=align_corners)
        return _formatted(with_slopes(gradient, spec, values, image, pixels, steps, fill), image)


def explain(
    image: Image,
    *,
    operation: dispatch.Operation = "warp",
    mode: str | Kernel = "bilinear",
    phi: Phi | None = None,
    padding_mode: str = "zeros",
    align_corners: bool = False,
    antialias: bool = False,
    backend: str | None = None,
) -> str:
    """Say which backend runs `warp` (or `sample`) with these options, and why others do not.

    Example:
        >>> import torch
        >>> from spatial_transformers import explain
        >>> reasons = explain(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), mode="nearest")
        >>> reasons.splitlines()[3]
        '  aten: grid_sample takes floating images only'

    """
    _check_image(image)
    named: tuple[Any, ...] = (mode, phi is not None, padding_mode, align_corners, antialias, 1.0)
    spec = _spec(*_facts(operation, image), *named)
    return dispatch.report(spec, backend, BACKENDS)


def _check_image(image: Tensor) -> None:
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
    _check_image(image)


def check_fill(fill_value: Fill | None, padding_mode: str) -> None:
    """Refuse a fill that the padding does not take, and one that it lacks."""
    if fill_value is None:
        if padding_mode == "constant":
            raise InputError("padding_mode 'constant' was asked for without a fill_value; give one")
        return
    if isinstance(fill_value, Real) and not abs(fill_value) < inf:  # pyright: ignore
        raise InputError(f"fill_value {fill_value} was given; give a finite number")
    if padding_mode != "constant":
        raise InputError(
            f"fill_value was given with padding_mode {padding_mode!r}; it goes with 'constant'"
        )


def check_options(
    mode: str | Kernel, padding_mode: str, max_shrink: float = 1.0, gradient: str = "exact"
) -> Kernel:
    """Return the kernel; refuse an unknown name, and a number out of its place."""
    kernel = find_kernel(mode)
    if padding_mode not in PADDING_MODES:
        known = ", ".join(PADDING_MODES)
        raise InputError(f"padding_mode {padding_mode!r} was asked for; known: {known}")
    if not isinstance(max_shrink, Real) or not 1 <= max_shrink <= _WIDEST:
        raise InputError(f"max_shrink {max_shrink!r} was given; give a number from 1 to {_WIDEST}")
    if gradient not in GRADIENTS:
        raise InputError(f"gradient {gradient!r} was asked for; known: {', '.join(GRADIENTS)}")
    return kernel


def _resolve(
    operation: dispatch.Operation, image: Tensor, named: tuple[Any, ...], backend: str | None
) -> tuple[dispatch.Spec, dispatch.Backend]:
    """Check the options and choose a backend, once for all calls that are alike."""
    facts = _facts(operation, image)
    remember = facts[-1] == "eager" and isinstance(named[0], str)
    resolve = _resolved if remember else _resolved.__wrapped__
    return resolve(facts, named, backend, BACKENDS)


def _facts(operation: dispatch.Operation, image: Tensor) -> tuple[Any, ...]:
    """Return what else than options a choice depends on."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    return operation, image.ndim - 2, image.dtype, image.device.type, deterministic, context()


@lru_cache(maxsize=1024)
def _resolved(
    facts: tuple[Any, ...],
    named: tuple[Any, ...],
    backend: str | None,
    backends: tuple[dispatch.Backend, ...],
) -> tuple[dispatch.Spec, dispatch.Backend]:
    spec = _spec(*facts, *named)
    return spec, dispatch.select(spec, backend, backends)


def _spec(
    operation: dispatch.Operation,
    ndim: int,
    dtype: torch.dtype,
    device: str,
    deterministic: bool,
    surrounding: Context,
    mode: str | Kernel,
    own_phi: bool,
    padding_mode: str,
    align_corners: bool,
    antialias: bool,
    max_shrink: float,
    gradient: str = "exact",
) -> dispatch.Spec:
    """Check the options of a call and return its static facts."""
    kernel = check_options(mode, padding_mode, max_shrink, gradient)
    return dispatch.Spec(
        operation=operation,
        ndim=ndim,
        kernel=kernel,
        padding_mode=padding_mode,
        align_corners=align_corners,
        dtype=dtype,
        device=device,
        context=surrounding,
        own_phi=own_phi or isinstance(kernel.phi, Tensor),
        max_shrink=max_shrink if antialias else None,
        deterministic=deterministic,
    )


def _formatted(values: Tensor, image: Tensor) -> Tensor:
    """Return the values in channels-last format if the image is in it, and in no other."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(image.ndim)
    if last is None or context() in ("export", "transform") or image.is_contiguous():
        return values
    return (
        values.contiguous(memory_format=last) if image.is_contiguous(memory_format=last) else values
    )


def _as_fill(fill_value: Fill | None, image: Tensor) -> Tensor | None:
    """Return the fill as (C,), or None where it is zero."""
    if fill_value is None:
        return None
    channels = image.shape[1]
    if isinstance(fill_value, Real) and image.is_floating_point():
        if abs(float(fill_value)) > torch.finfo(image.dtype).max:
            raise InputError(f"fill_value {fill_value} was given; {image.dtype} cannot hold it")
        return image.new_full((channels,), float(fill_value))
    precise = image.dtype if image.is_floating_point() else None
    given = torch.as_tensor(fill_value, device=image.device, dtype=precise).flatten()
    fill = given.to(image.dtype)
    if not image.is_floating_point() and context() == "eager" and (fill != given).any():
        raise InputError(
            f"fill_value {fill_value!r} was given for an image of {image.dtype}, which cannot hold "
            "it; give numbers of the image's kind"
        )
    if fill.shape[0] not in (1, channels):
        raise InputError(
            f"{fill.shape[0]} fill values were given for an image of {channels} channels; give "
            "one number or one per channel"
        )
    return fill.expand(channels)
