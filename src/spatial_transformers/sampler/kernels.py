"""The paper's generic kernel k(·; Φ) (eq. 3), and those that have a name.

A kernel is a function, with a finite support, of the signed distance x − m from a pixel along one
axis; the weights of all axes are multiplied. Functions take the right-hand slope at a kink, as
eqs. 6 and 7 and PyTorch do.

Sources: Keys, Cubic convolution interpolation for digital image processing, 1981; Mitchell and
Netravali, Reconstruction filters in computer graphics, 1988; Duchon, Lanczos filtering in one and
two dimensions, 1979; Unser, Splines: a perfect fit for signal and image processing, 1999.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from .._config import Configured, as_code, decoded, encoded, require_keys
from .._context import at_least_float32
from .._errors import InputError, shown
from .names import Mode

Phi: TypeAlias = float | Sequence[float] | Tensor
Numbers: TypeAlias = tuple[float, ...] | Tensor
Entry: TypeAlias = float | Tensor

_LARGEST_SUPPORT = 16  # pixels: 32 taps per axis


class Kernel(Configured):
    """A separable sampling kernel k(x − m; Φ) with a finite support: a `mode` of your own.

    A gradient reaches the image, the coordinates and Φ. Put into a `SpatialTransformer`, a Φ that
    is an `nn.Parameter`, or a weight function that is a module, is learned with the network.

    Args:
        weight: k, a function of signed distances in pixels (any shape) and of the entries of Φ,
            each a number or a tensor that broadcasts with the distances.
        support: pixels, at most 16 and rounded up to halves, beyond which the kernel is 0 on either
            side.
        phi: Φ, its default: numbers, or a tensor (P,), (N, P), or (N, ndim, P) for (Φx, Φy, …).
        normalise: divide the weights by their sum, so that constants stay what they are.
        prefilter: make the kernel interpolate, as for B-splines: it then weighs coefficients
            instead of pixels, whose weighted sums at the pixels are the image. Φ must be numbers.
        name: what messages call it; the function's own name if None.

    Raises:
        InputError: a support out of range, Φ of a wrong shape, or a kernel without a prefilter.

    Example:
        >>> import torch
        >>> from spatial_transformers import Kernel, sample
        >>> def exponential(distance, rate):
        ...     return torch.exp(-rate * distance.abs())
        >>> kernel = Kernel(exponential, support=2, phi=nn.Parameter(torch.tensor([3.0])))
        >>> image = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> sample(image, torch.zeros(1, 1, 1, 2), mode=kernel).item()
        7.5
        >>> sample(torch.rand(2, 3, 4, 5, 6), torch.zeros(2, 7, 8, 9, 3), mode=kernel).shape
        torch.Size([2, 3, 7, 8, 9])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, section 3.3, eq. 3.

    """

    def __init__(
        self,
        weight: Callable[..., Tensor],
        support: float,
        *,
        phi: Phi = (),
        normalise: bool = True,
        prefilter: bool = False,
        name: str | None = None,
    ):
        super().__init__()
        self.weight = weight
        self.name = name or _own_name(weight)
        if not isinstance(support, Real) or not 0 < support <= _LARGEST_SUPPORT:
            raise InputError(
                f"a support of {support!r} was given for kernel {self.name!r}; give a number of "
                f"pixels above 0, at most {_LARGEST_SUPPORT}"
            )
        #: The pixels visited along one axis, twice the support. A compiler would trace a fraction.
        self.count = math.ceil(2 * support)
        self.normalise = normalise
        self.phi: Numbers
        if isinstance(phi, Tensor) and not phi.is_floating_point():
            raise InputError(f"phi of {phi.dtype} was given for kernel {self.name!r}; give floats")
        if isinstance(phi, Tensor) and not isinstance(phi, nn.Parameter):
            self.register_buffer("phi", phi)
        else:
            self.phi = phi if isinstance(phi, nn.Parameter) else _numbers(phi)
        #: The inverse filter at distances 0, 1, …, down to 2^-60; None: the kernel weighs pixels.
        self.inverse_filter = _inverse_filter(self) if prefilter else None

    @property
    def num_parameters(self) -> int:
        """P, the width of Φ."""
        return self.phi.shape[-1] if isinstance(self.phi, Tensor) else len(self.phi)

    @property
    def narrow(self) -> bool:
        """Whether the point itself may be moved inside the image: nothing beyond it has weight."""
        return self.count == 1 or self.weight is _triangle

    @property
    def offsets(self) -> range:
        """The pixels visited, relative to `base`."""
        first = -((self.count - 1) // 2)
        return range(first, first + self.count)

    def base(self, x: Tensor) -> Tensor:
        """Return the pixel that offsets start from: below x, or for an odd count the nearest."""
        return (x.floor() if self.count % 2 == 0 else x.round()).detach()

    def forward(self, distance: Tensor, entries: Sequence[Entry] = ()) -> Tensor:
        """Return k(distance; Φ), not normalised, and 0 beyond the support."""
        weights = self.weight(distance, *entries)
        fits = isinstance(weights, Tensor) and weights.shape[1:] == distance.shape[1:]
        if not fits or weights.ndim != distance.ndim:  # Φ may widen a batch of 1
            raise InputError(
                f"kernel {self.name!r} returned {getattr(weights, 'shape', type(weights))} for "
                f"distances of shape {tuple(distance.shape)}; return a tensor of that shape"
            )
        return weights.where(distance.abs() * 2 <= self.count, 0)

    def check_phi(self, batch: int, ndim: int) -> Numbers:
        """Return Φ for a batch of `ndim`-D images: numbers, or a tensor in float32 or better.

        Raises:
            InputError: for a wrong shape, naming it.

        """
        given = self.phi
        if not isinstance(given, Tensor):
            return given
        shape = given.shape
        p, fits = self.num_parameters, {1: (), 2: (batch,), 3: (batch, ndim)}.get(len(shape))
        right = fits is not None and shape[-1] == p
        right = right and all(n in (1, m) for n, m in zip(shape[:1], fits or (), strict=False))
        if not right or (len(shape) == 3 and shape[1] != ndim):
            raise InputError(
                f"phi of shape {tuple(shape)} was given for kernel {self.name!r}, whose Φ is "
                f"({', '.join(self._entry_names())}); give ({p},), or per image ({batch}, {p}) or "
                f"({batch}, {ndim}, {p})"
            )
        return at_least_float32(given)

    def with_phi(self, phi: Phi) -> "Kernel":
        """Return this kernel with another Φ.

        Args:
            phi: a number, (P,), (N, P) for one Φ per image, or (N, ndim, P) for one per image and
                axis. `bicubic` has a (-0.75), `mitchell` has b and c (1/3, 1/3), and `gaussian` has
                the standard deviation in pixels (0.5). A tensor gets a gradient.

        Raises:
            InputError: for another number of entries, or a kernel whose prefilter fixes Φ.

        Example:
            >>> import torch
            >>> from spatial_transformers import KERNELS, sample
            >>> image, grid = torch.rand(2, 3, 5, 5), torch.zeros(2, 4, 4, 2)
            >>> sample(image, grid, mode=KERNELS["bicubic"].with_phi(-0.5)).shape
            torch.Size([2, 3, 4, 4])
            >>> widths = torch.tensor([[0.5], [2.0]], requires_grad=True)  # one per image
            >>> sample(image, grid, mode=KERNELS["gaussian"].with_phi(widths)).shape
            torch.Size([2, 3, 4, 4])

        """
        given = phi if isinstance(phi, Tensor) else _numbers(phi)
        shape = tuple(given.shape) if isinstance(given, Tensor) else (len(given),)
        if len(shape) not in (1, 2, 3) or shape[-1] != self.num_parameters:
            p = self.num_parameters
            raise InputError(
                f"phi of shape {shape} was given for kernel {self.name!r}, whose Φ is "
                f"({', '.join(self._entry_names())}); give ({p},), or per image (N, {p}) or "
                f"(N, ndim, {p})"
            )
        if self.inverse_filter is not None:
            raise InputError(f"phi was given for kernel {self.name!r}, whose prefilter fixes it")
        return Kernel(
            self.weight, self.count / 2, phi=given, normalise=self.normalise, name=self.name
        )

    def learnable(self) -> "Kernel":
        """Return a copy whose Φ is an `nn.Parameter` that starts at this one's values.

        Example:
            >>> from spatial_transformers import KERNELS
            >>> KERNELS["gaussian"].learnable().phi
            Parameter containing:
            tensor([0.5000], requires_grad=True)
            >>> KERNELS["mitchell"].learnable().phi.shape  # b and c
            torch.Size([2])

        """
        if self.num_parameters == 0 or self.inverse_filter is not None:
            raise InputError(f"kernel {self.name!r} has no Φ to learn")
        start = self.phi.detach().clone() if isinstance(self.phi, Tensor) else self.phi
        return self.with_phi(nn.Parameter(torch.as_tensor(start)))

    def __repr__(self) -> str:
        if not self._is_named():
            return super().__repr__()
        named, tensor = f"KERNELS[{self.name!r}]", isinstance(self.phi, Tensor)
        if not tensor and self.phi == KERNELS[self.name].phi:
            return named
        plain = tensor and not isinstance(self.phi, nn.Parameter)
        phi = as_code(self.phi)
        return f"{named}.with_phi({f'torch.tensor({phi})' if plain else phi})"

    def _argument(self, name: str) -> Any:
        if name == "name":
            return None if self.name == _own_name(self.weight) else self.name
        found = {"support": self.count / 2, "prefilter": self.inverse_filter is not None}
        return found[name] if name in found else super()._argument(name)

    def _config(self) -> dict[str, Any]:
        """Return the name and Φ: no config holds the code of a weight function."""
        if not self._is_named():
            raise InputError(
                f"a config was asked for of kernel {self.name!r}, whose weight function is code of "
                "your own; give one of KERNELS, or keep that code"
            )
        return {"class": "Kernel", "name": self.name, "phi": encoded(self.phi, "Φ")}

    @classmethod
    def _from_arguments(cls, given: Mapping[str, Any]) -> "Kernel":
        require_keys("Kernel", given, {"name": True, "phi": False})
        named = find_kernel(given["name"])
        phi = decoded(given.get("phi", ()))
        return named if phi in ((), named.phi) else named.with_phi(phi)

    def _is_named(self) -> bool:
        """Say whether it is one of `KERNELS`, but perhaps for its Φ."""
        named = KERNELS.get(self.name)
        return named is not None and _facts(self) == _facts(named)

    def _entry_names(self) -> list[str]:
        names = list(inspect.signature(self.weight).parameters)[1:]
        return names if len(names) == self.num_parameters else [f"{self.num_parameters} numbers"]


def _own_name(weight: Callable[..., Tensor]) -> str:
    return getattr(weight, "__name__", type(weight).__name__)


def _facts(kernel: Kernel) -> tuple[Any, ...]:
    """Return what a kernel is beside its name and Φ; copies of partial functions differ."""
    weight = kernel.weight
    made = (weight.func, weight.keywords) if isinstance(weight, partial) else weight
    return made, kernel.count, kernel.normalise, kernel.inverse_filter


def _numbers(phi: float | Sequence[float]) -> tuple[float, ...]:
    given = phi if isinstance(phi, Sequence) and not isinstance(phi, str) else (phi,)
    if not all(isinstance(n, Real) and math.isfinite(n) for n in given):  # pyright: ignore
        raise InputError(f"phi {shown(phi)} was given; give finite numbers, or a tensor")
    return tuple(map(float, given))


def _inverse_filter(kernel: Kernel) -> tuple[float, ...]:
    """Invert the filter of the kernel's values at whole pixels (Unser 1999, eqs. 14 and 15)."""
    values, inner = filter_poles(kernel)
    if len(inner) == 0:
        return (1 / float(values[0]),)
    reach = np.arange(math.ceil(-60 * math.log(2) / math.log(np.abs(inner).max())))
    response = np.zeros(len(reach), dtype=complex)
    for pole in inner:  # partial fractions
        others = [p for p in (*inner, *(1 / inner)) if p != pole]
        response += pole ** (reach + len(inner) - 1) / (values[-1] * np.prod(pole - others))
    return tuple(np.real(response).tolist())


def filter_poles(kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel's values at 0, 1, … pixels, and its inverse filter's poles inside |z| = 1.

    Raises:
        InputError: for a kernel that has no inverse filter.

    """
    if isinstance(kernel.phi, Tensor):
        raise InputError(f"a prefilter was asked for kernel {kernel.name!r}; give Φ as numbers")
    distances = torch.arange(kernel.count // 2 + 1, dtype=torch.float64, device="cpu")
    values = kernel.forward(distances, kernel.phi).numpy()
    rounding = 1e-12 * np.abs(values).max()
    values = np.trim_zeros(np.where(np.abs(values) > rounding, values, 0), "b")
    if kernel.normalise and len(values):
        values = values / (2 * values.sum() - values[0])
    poles = np.roots([*values[::-1], *values[1:]])
    inner = poles[np.abs(poles) < 1 - 1e-6]
    if len(values) == 0 or 2 * len(inner) != len(poles):
        raise InputError(f"kernel {kernel.name!r} cannot interpolate: it has no inverse filter")
    return values, inner


def _magnitude(d: Tensor) -> Tensor:
    """|d|, with the slope +1 at 0."""
    return d.where(d >= 0, -d)


def _box(d: Tensor) -> Tensor:
    return d * 0 + 1


def _triangle(d: Tensor) -> Tensor:
    return 1 - _magnitude(d)


def _cubic(d: Tensor, b: Entry, c: Entry) -> Tensor:
    """Mitchell and Netravali's family, factored to be exactly 0 at ±2, and at ±1 too for b = 0."""
    x = _magnitude(d)
    near, far = 1 - x, 2 - x
    inner = near * near * (1 + 2 * x) + c * (x * x * near) + b * (x * x * (2 - 1.5 * x) - 1 / 3)
    outer = far * far * (c * near + b * far / 6)
    return inner.where((d >= -1) & (d < 1), outer)


def _bicubic(d: Tensor, a: Entry) -> Tensor:
    return _cubic(d, 0.0, -a)


def _sinc(d: Tensor) -> Tensor:
    """sin(πd)/(πd): exactly 0 at whole distances, and smooth at 0."""
    series, squared = torch.ones_like(d), (d.clamp(-0.5, 0.5) * math.pi).square()
    for k in range(18, 0, -2):
        series = 1 - series * squared * (1 / (k * (k + 1)))
    whole = d.round().detach()
    sign = 1 - 2 * whole.remainder(2)
    small = d.abs() < 0.25
    return series.where(
        small, sign * ((d - whole) * math.pi).sin() / (d.where(~small, 1) * math.pi)
    )


def _lanczos(d: Tensor, *, lobes: int) -> Tensor:
    return _sinc(d) * _sinc(d / lobes)


def _bspline(d: Tensor, *, order: int) -> Tensor:
    """β^n as truncated powers, counted from the near end (Unser 1999, eq. 2)."""
    inside = (order + 1) / 2 - _magnitude(d)
    total = torch.zeros_like(d)
    for k in range(order // 2 + 1):
        share = (-1) ** k * math.comb(order + 1, k) / math.factorial(order)
        total = total + share * (inside - k).clamp(min=0) ** order
    return total


def _gaussian(d: Tensor, sigma: Entry) -> Tensor:
    """exp(−d²/2σ²); σ below 0.04 pixel, where only one weight is left, counts as 0.04."""
    sigma = sigma.clamp(min=0.04) if isinstance(sigma, Tensor) else max(sigma, 0.04)
    return (-0.5 * (d / sigma).square()).exp()


def _named() -> dict[str, Kernel]:
    exact = partial(Kernel, normalise=False)
    kernels = [
        exact(_box, 0.5, name="nearest"),  # eq. 4; halves go to the even pixel
        exact(_triangle, 1, name="bilinear"),  # eq. 5
        exact(_bicubic, 2, phi=-0.75, name="bicubic"),
        exact(_cubic, 2, phi=(1 / 3, 1 / 3), name="mitchell"),
    ]
    kernels += [Kernel(partial(_lanczos, lobes=n), n, name=f"lanczos{n}") for n in (2, 3, 5)]
    kernels += [exact(_box, 0.5, name="bspline0"), exact(_triangle, 1, name="bspline1")]
    for order in range(2, 8):
        weight = partial(_bspline, order=order)
        kernels.append(exact(weight, (order + 1) / 2, prefilter=True, name=f"bspline{order}"))
    kernels.append(Kernel(_gaussian, 3, phi=0.5, name="gaussian"))
    return {kernel.name: kernel for kernel in kernels}


#: The kernels that have a name, which is their `mode`.
KERNELS = _named()


def find_kernel(mode: Mode | Kernel) -> Kernel:
    """Return the kernel of a mode.

    Raises:
        InputError: for an unknown name, listing the known ones.

    """
    if isinstance(mode, Kernel):
        return mode
    if not isinstance(mode, str) or mode not in KERNELS:
        raise InputError(
            f"mode {mode!r} was asked for; known modes: {', '.join(KERNELS)}, or a Kernel"
        )
    return KERNELS[mode]
