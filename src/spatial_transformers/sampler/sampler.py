"""The sampler (section 3.3), as a module and as functions: check, select a backend, run it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from .._config import Configured
from .._context import Context, context, is_traced, without_autocast
from .._types import Grid, Image, Size, Theta, Thetas, Warped, Warps
from ..grid import Transformation
from . import dispatch
from .backends import BACKENDS
from .fill import Fill, as_fill, check_fill
from .kernels import Kernel, Numbers
from .names import BackendName, Gradient, Mode
from .options import Options, remembered
from .padding import Padding
from .slopes import with_slopes
from .target import Target, given, mapped


class Sampler(Configured):
    """The sampler as an object: its options are checked once, when it is made.

    `sampler(image, grid)` is `sample`, and `sampler.warp(image, theta, transformation)` is `warp`;
    the first says more about the options. A fill, or a kernel's Φ, that is an `nn.Parameter` is
    learned.

    Args:
        mode: the kernel: `nearest`, `bilinear`, `bicubic` and others by name, or a `Kernel`.
        padding_mode: what lies outside: `zeros`, `constant`, `border`, `reflection`, `wrap` or
            `renormalise`; or one for each of the image's axes.
        fill_value: what lies outside with `constant`: a number, or one per channel.
        align_corners: whether ±1 are the centres of the border pixels instead of their edges.
        antialias: whether the kernel widens where the map shrinks, or how far it does at most.
        gradient: to the coordinates: `exact`, `straight-through`, `linearized` or `multi-scale`.
        backend: a backend's name, instead of the fastest that can run.

    Raises:
        InputError: for a wrong option, and a fill without `padding_mode="constant"`.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, Sampler
        >>> sampler = Sampler("nearest", padding_mode="constant", fill_value=9.0)
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> sampler(image, torch.tensor([[[[-0.2, 0.0], [3.0, 0.0]]]]))  # at (1, 1, 2, 2)
        tensor([[[[1., 9.]]]])
        >>> move = torch.tensor([[1.0, 0.0, 0.5, 0.0, 1.0, 0.0]])
        >>> sampler.warp(image, move, Affine())
        tensor([[[[1., 2., 3., 9.]]]])
        >>> sampler(torch.rand(2, 3, 5, 6), torch.zeros(2, 7, 8, 2)).shape
        torch.Size([2, 3, 7, 8])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.3 and figure 2.

    """

    def __init__(
        self,
        mode: Mode | Kernel = "bilinear",
        *,
        padding_mode: Padding = "zeros",
        fill_value: Fill | None = None,
        align_corners: bool = False,
        antialias: bool | float = False,
        gradient: Gradient = "exact",
        backend: BackendName | None = None,
    ):
        super().__init__()
        self.options = Options(mode, padding_mode, align_corners, antialias, gradient, backend)
        check_fill(fill_value, padding_mode)
        self.mode = mode  # a `Kernel` is a part of the module, with its Φ
        self.fill_value = fill_value

    def forward(self, image: Image, grid: Grid) -> Warped | Warps:
        """Sample (N, C, *source) at normalised coordinates (N, *target, ndim); see `sample`."""
        return _run(
            self.options, image, given(image, grid, self.options.align_corners), self.fill_value
        )

    def warp(
        self,
        image: Image,
        theta: Theta | Thetas,
        transformation: Transformation,
        *,
        size: Size | None = None,
        **changes: Any,
    ) -> Warped | Warps:
        """Warp (N, C, *source) by θ (N, P); see the function `warp`.

        Further options, by their names, replace the sampler's in this call.
        """
        options, fill_value = self.options, self.fill_value
        if changes:
            given = "fill_value" in changes
            fill_value = changes.pop("fill_value", None)
            options = options.changed(**changes)
            if not given and options.padding_mode == self.options.padding_mode:
                fill_value = self.fill_value
            check_fill(fill_value, options.padding_mode)
        target = mapped(image, theta, transformation, size, options.align_corners)
        return _run(options, image, target, fill_value)

    def _argument(self, name: str) -> Any:
        if name not in ("mode", "fill_value"):
            return getattr(self.options, name)
        value = super()._argument(name)
        plain = isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
        return value.flatten() if plain else value


def sample(
    image: Image,
    grid: Grid,
    *,
    mode: Mode | Kernel = "bilinear",
    padding_mode: Padding = "zeros",
    fill_value: Fill | None = None,
    align_corners: bool = False,
    antialias: bool | float = False,
    gradient: Gradient = "exact",
    backend: BackendName | None = None,
) -> Warped | Warps:
    """Sample an image at given coordinates: (U, T_θ(G)) → V (eqs. 3 to 7).

    Agrees with `torch.nn.functional.grid_sample`, at kinks too, and goes further: any kernel in any
    number of spatial dimensions, integer images with `nearest`, half-precision images with a
    float32 grid, more paddings, antialiasing, second derivatives and `torch.func`. A coordinate
    that is not finite gives the fill value (0 unless given) and no gradient.

    Args:
        image: U, (N, C, H, W), (N, C, D, H, W) or any number of spatial axes.
        grid: normalised coordinates, (N, *target, ndim), x first; `normalise` computes them from
            pixel coordinates. A batch of 1 in either image or grid serves every element of the
            other, without being copied. Or (N, K, *target, ndim), K grids of every image.
        mode: the kernel: `nearest` (halves to the even pixel), `bilinear` (linear in every
            dimension), `bicubic`, `mitchell`, `lanczos2`, `lanczos3`, `lanczos5`, `bspline0` to
            `bspline7` (interpolating), `gaussian`, or a `Kernel`, which carries its Φ:
            `KERNELS["gaussian"].with_phi(0.7)`.
        padding_mode: what lies outside, of a row of pixels `a b c d`:
            `zeros` (0 0 a b c d 0 0), `constant` (f f a b c d f f), `border` (a a a b c d d d),
            `reflection` (b a a b c d d c; with `align_corners` c b a b c d c b),
            `wrap` (c d a b c d a b), or `renormalise` (no pixel: the weights inside are scaled to
            sum to 1, and the result is 0 where they are less than a thousandth of all).
            Axes may differ: `("border", "wrap")`, in the order of the image's axes, continues a
            panorama around; of `zeros`, `constant` and `renormalise` one at most.
        fill_value: a number or one per channel, or a tensor, which gets a gradient; only with
            `constant`.
        align_corners: whether ±1 are the centres of the border pixels instead of their edges.
        antialias: widen the kernel where points lie more than a pixel apart, in the direction in
            which they do. For axis-aligned scales this equals `interpolate(antialias=True)`, whose
            bicubic kernel is `KERNELS["bicubic"].with_phi(-0.5)`. A number is the largest widening,
            which is 8 for True; graphs of the backend `reference`, as exported ones are, always pay
            for it. Derivatives take the widening into account.
        gradient: the gradient to the coordinates: `exact`; `straight-through`, which is that of
            bilinear sampling; or `linearized` or `multi-scale`, which look further away; see
            `sampler/slopes.py`.
        backend: a backend's name, instead of the fastest that can run.

    Returns:
        V, (N, C, *target), in the image's dtype, and in channels-last format if the image is;
        (N, K, C, *target) of K grids per image.

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
        >>> sample(torch.rand(2, 3, 4, 5, 6), torch.zeros(2, 7, 8, 9, 3)).shape
        torch.Size([2, 3, 7, 8, 9])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.3.

    """
    options = _options(mode, padding_mode, align_corners, antialias, gradient, backend)
    check_fill(fill_value, padding_mode)
    return _run(options, image, given(image, grid, options.align_corners), fill_value)


def warp(
    image: Image,
    theta: Theta | Thetas,
    transformation: Transformation,
    *,
    size: Size | None = None,
    mode: Mode | Kernel = "bilinear",
    padding_mode: Padding = "zeros",
    fill_value: Fill | None = None,
    align_corners: bool = False,
    antialias: bool | float = False,
    gradient: Gradient = "exact",
    backend: BackendName | None = None,
) -> Warped | Warps:
    """Warp an image by θ: grid and sampler in one, V_i = U(T_θ(G_i)).

    Pixel coordinates are computed directly, so that at the identity the result is the image bit for
    bit, and its gradient the right-hand slope at every pixel. That is the start of training.

    Args:
        image: U, (N, C, H, W) or (N, C, D, H, W).
        theta: θ, (N, P), mapping target to source; taken in float32 or better. A batch of 1 in
            either image or theta serves every element of the other. Or (N, K, P), K maps of every
            image, which is not copied for them.
        transformation: what θ means, for instance `Affine()`.
        size: the target's (H, W) or (D, H, W); the image's own if None.
        mode: see `sample`, as for all further options.
        padding_mode: see `sample`.
        fill_value: see `sample`.
        align_corners: see `sample`.
        antialias: see `sample`.
        gradient: see `sample`.
        backend: see `sample`.

    Returns:
        V, (N, C, *size), or (N, K, C, *size) where θ is (N, K, P), in the image's dtype.

    Raises:
        InputError: a wrong shape, dtype or option, or no backend that can run it.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, warp
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> mirror = torch.tensor([[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
        >>> warp(image, mirror, Affine())
        tensor([[[[3., 2., 1., 0.]]]])
        >>> warp(torch.rand(2, 3, 4, 5, 6), torch.zeros(2, 12), Affine(3), size=(7, 8, 9)).shape
        torch.Size([2, 3, 7, 8, 9])
        >>> warp(torch.rand(2, 3, 8, 8), torch.zeros(2, 5, 6), Affine()).shape  # five of each
        torch.Size([2, 5, 3, 8, 8])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, sections 3.2 and 3.3.

    """
    options = _options(mode, padding_mode, align_corners, antialias, gradient, backend)
    check_fill(fill_value, padding_mode)
    return _run(
        options,
        image,
        mapped(image, theta, transformation, size, options.align_corners),
        fill_value,
    )


def explain(
    image: Image,
    coordinates: Grid | Theta | Thetas,
    transformation: Transformation | None = None,
    *,
    size: Size | None = None,
    fill_value: Fill | None = None,
    **options: Any,
) -> str:
    """Say which backend runs a call of `warp` or `sample`, and why others do not.

    Args:
        image: the image of the call; the other arguments are those of the call, too.
        coordinates: θ for `warp`, a grid for `sample`.
        transformation: of `warp`.
        size: of `warp`.
        fill_value: see `sample`.
        **options: see `sample`.

    Raises:
        InputError: as the call would raise it, except where no backend can run it.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, explain
        >>> image, affine = torch.zeros(1, 1, 8, 8, dtype=torch.uint8), Affine()
        >>> reasons = explain(image, affine.identity()[None], affine, mode="nearest")
        >>> reasons.splitlines()[3]
        '  aten: grid_sample takes floating images only'
        >>> explain(image, torch.zeros(1, 4, 4, 2), mode="nearest").splitlines()[0]
        'sample of a 2-D uint8 image on cpu, mode nearest, padding zeros, context eager: reference'

    """
    asked = Options(**options)
    check_fill(fill_value, asked.padding_mode)
    if transformation is None:
        target: Target = given(image, coordinates, asked.align_corners)
    else:
        target = mapped(image, coordinates, transformation, size, asked.align_corners)
    spec = dispatch.Spec(target.operation, *_facts(image, context(image)), options=asked)
    return dispatch.report(spec, asked.backend, BACKENDS)


def _options(mode: Mode | Kernel, *others: Any) -> Options:
    """Return the options of a call, made once for all calls that are alike."""
    if isinstance(mode, str) and context() == "eager":
        try:
            return remembered(mode, *others)
        except TypeError:  # of what cannot be hashed: a list of paddings, or what is no option
            pass
    return Options(mode, *others)


def _run(options: Options, image: Tensor, target: Target, fill_value: Fill | None) -> Tensor:
    """Run a call whose parts are checked, on the backend that is selected for it."""
    fill, surrounding = as_fill(fill_value, image), context(image)
    spec, backend = _resolve(options, image, target, surrounding)
    if surrounding == "export":
        image = _kept_apart(image, target)
    phi = _phi(spec, image, target)
    with without_autocast(image.device):
        if options.gradient == "exact" or surrounding == "export" or not image.is_floating_point():
            values = backend.run(spec, image, target, fill, phi)
        else:
            values = backend.run(spec, image, target.detached(), fill, phi)
            values = with_slopes(spec, values, image, target, fill)
    values = _formatted(values, image, surrounding)
    if target.per_image is None:
        return values
    return torch.unflatten(values, 0, (-1, target.per_image))


def _kept_apart(image: Tensor, target: Target) -> Tensor:
    """Give each of many maps an image to itself where a trace would keep that there is one only."""
    if not is_traced() or image.shape[0] != 1 or target.batch == 1:
        return image
    if target.per_image is not None and target.batch == target.per_image:
        return image.repeat_interleave(target.per_image, 0)
    return image.expand(target.batch, *image.shape[1:])


def _phi(spec: dispatch.Spec, image: Tensor, target: Target) -> Numbers:
    """Return Φ for every map: of several maps of an image, all have the image's."""
    per_image = target.per_image or 1
    phi = spec.kernel.check_phi(max(image.shape[0], target.batch // per_image), spec.ndim)
    if per_image == 1 or not isinstance(phi, Tensor) or phi.ndim == 1 or phi.shape[0] == 1:
        return phi
    return phi.repeat_interleave(per_image, 0)


def _facts(image: Tensor, surrounding: Context) -> tuple[Any, ...]:
    """Return the facts besides options that selection reads."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    return image.ndim - 2, image.dtype, image.device.type, surrounding, deterministic


def _resolve(
    options: Options, image: Tensor, target: Target, surrounding: Context
) -> tuple[dispatch.Spec, dispatch.Backend]:
    """Choose a backend, once for all calls that are alike."""
    remember = surrounding == "eager" and isinstance(options.mode, str)
    resolve = _resolved if remember else _resolved.__wrapped__
    return resolve(target.operation, _facts(image, surrounding), options, BACKENDS)


@lru_cache(maxsize=1024)
def _resolved(
    operation: dispatch.Operation,
    facts: tuple[Any, ...],
    options: Options,
    backends: Sequence[dispatch.Backend],
) -> tuple[dispatch.Spec, dispatch.Backend]:
    spec = dispatch.Spec(operation, *facts, options=options)
    return spec, dispatch.select(spec, options.backend, backends)


def _formatted(values: Tensor, image: Tensor, surrounding: Context) -> Tensor:
    """Return the values in channels-last format if the image has it, and otherwise as they are."""
    if surrounding in ("export", "transform") or image.is_contiguous():
        return values
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(image.ndim)
    if last is None:
        return values
    return (
        values.contiguous(memory_format=last) if image.is_contiguous(memory_format=last) else values
    )
