"""The sampler's public functions (section 3.3): check, select a backend, run it."""

from collections.abc import Sequence
from math import isfinite
from numbers import Real
from typing import TypeAlias

import torch
from torch import Tensor

from .._context import at_least_float32, context, without_autocast
from .._types import Grid, Image, InputError, Size, Theta, Warped, require_same_batch
from ..grid import Transformation
from ..grid.regular import as_size
from . import dispatch
from .backends import BACKENDS
from .kernels import KERNELS
from .padding import PADDING_MODES

Fill: TypeAlias = float | Sequence[float] | Tensor


def sample(
    image: Image,
    grid: Grid,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    fill_value: Fill | None = None,
    align_corners: bool = False,
    backend: str | None = None,
) -> Warped:
    """Sample an image at given coordinates: (U, T_θ(G)) → V (eqs. 3 to 7).

    Agrees with `torch.nn.functional.grid_sample`, at kinks too, and goes further: any number of
    spatial dimensions, integer images with `nearest`, half-precision images with a float32 grid,
    constant fill, second derivatives and `torch.func`. A coordinate that is not finite gives the
    fill value (0 unless given) and no gradient.

    Args:
        image: U, (N, C, H, W), (N, C, D, H, W) or any number of spatial axes.
        grid: normalised coordinates, (N, *target, ndim), x first. A batch of 1 in either image or
            grid serves every element of the other.
        mode: `nearest` (halves to the even pixel) or `bilinear` (linear in every dimension).
        padding_mode: what lies outside: `zeros`, `border`, `reflection` or `constant`.
        fill_value: a number or one per channel; only with `constant`.
        align_corners: whether ±1 are the centres of the border pixels instead of their edges.
        backend: a backend's name, instead of the fastest that can run.

    Returns:
        V, (N, C, *target), in the image's dtype.

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
    check_options(mode, padding_mode, fill_value)
    fill = _as_fill(fill_value, image)
    spec = _spec("sample", image, mode, padding_mode, align_corners)
    chosen = dispatch.select(spec, backend, BACKENDS)
    image, grid = _same_batch(image, grid, "grid")
    with without_autocast(image.device):
        return chosen.sample(spec, image, at_least_float32(grid), fill)


def warp(
    image: Image,
    theta: Theta,
    transformation: Transformation,
    *,
    size: Size | None = None,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    fill_value: Fill | None = None,
    align_corners: bool = False,
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
        padding_mode: see `sample`.
        fill_value: see `sample`.
        align_corners: see `sample`.
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
    target = as_size(image.shape[2:] if size is None else size, transformation.ndim)
    check_options(mode, padding_mode, fill_value)
    fill = _as_fill(fill_value, image)
    spec = _spec("warp", image, mode, padding_mode, align_corners)
    chosen = dispatch.select(spec, backend, BACKENDS)
    image, theta = _same_batch(image, theta, "theta")
    with without_autocast(image.device):
        return chosen.warp(spec, image, theta, transformation, target, fill)


def explain(
    image: Image,
    *,
    operation: dispatch.Operation = "warp",
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    backend: str | None = None,
) -> str:
    """Say which backend runs `warp` (or `sample`) with these options, and why others do not.

    Example:
        >>> import torch
        >>> from spatial_transformers import explain
        >>> print(explain(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), mode="nearest"))
        warp of a 2-D uint8 image on cpu, mode nearest, padding zeros, context eager: reference
          aten: grid_sample takes floating images only
          reference: can run

    """
    _check_image(image)
    check_options(mode, padding_mode, 0 if padding_mode == "constant" else None)
    spec = _spec(operation, image, mode, padding_mode, align_corners)
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


def check_options(mode: str, padding_mode: str, fill_value: Fill | None) -> None:
    """Refuse an unknown name, and a fill value out of its place."""
    if mode not in KERNELS:
        raise InputError(f"mode {mode!r} was asked for; known modes: {', '.join(KERNELS)}")
    if padding_mode not in PADDING_MODES:
        known = ", ".join(PADDING_MODES)
        raise InputError(f"padding_mode {padding_mode!r} was asked for; known: {known}")
    if padding_mode == "constant" and fill_value is None:
        raise InputError("padding_mode 'constant' was asked for without a fill_value; give one")
    if isinstance(fill_value, Real) and not isfinite(fill_value):
        raise InputError(f"fill_value {fill_value} was given; give a finite number")
    if padding_mode != "constant" and fill_value is not None:
        raise InputError(
            f"fill_value was given with padding_mode {padding_mode!r}; it goes with 'constant'"
        )


def _spec(
    operation: dispatch.Operation, image: Tensor, mode: str, padding_mode: str, align_corners: bool
) -> dispatch.Spec:
    return dispatch.Spec(
        operation=operation,
        ndim=image.ndim - 2,
        mode=mode,
        padding_mode=padding_mode,
        align_corners=align_corners,
        dtype=image.dtype,
        device=image.device.type,
        context=context(),
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


def _same_batch(image: Tensor, other: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Expand whichever has a batch of 1."""
    require_same_batch(image, other, f"sampling an image by {name}")
    n, m = image.shape[0], other.shape[0]
    if n == m:
        return image, other
    if n == 1:
        return image.expand(m, *image.shape[1:]), other
    return image, other.expand(n, *other.shape[1:])
