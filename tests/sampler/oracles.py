"""Oracles of the sampler, and inputs on and off its kinks."""

from collections.abc import Callable, Sequence
from itertools import product
from math import floor, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformers.sampler.backends import BACKENDS

NAMES = tuple(b.name for b in BACKENDS)
TORCH_PADDINGS = ("zeros", "border", "reflection")
PADDINGS = (*TORCH_PADDINGS, "constant")
SOURCES = {2: (5, 7), 3: (4, 3, 6)}
TARGETS = {2: (6, 4), 3: (3, 2, 5)}


def grid_sample(
    image: Tensor,
    grid: Tensor,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    fill: float | Tensor | None = None,
) -> Tensor:
    """Return what torch's `grid_sample` gives, with a constant fill added by its linearity."""
    if padding_mode == "constant":
        if isinstance(fill, Tensor):
            fill = fill.reshape(1, -1, *[1] * (image.ndim - 2))
        image, padding_mode = image - fill, "zeros"
    sampled = F.grid_sample(
        image, grid, mode=mode, padding_mode=padding_mode, align_corners=align_corners
    )
    return sampled if fill is None else sampled + fill


def cotangent(output: Tensor) -> Tensor:
    """Return the one cotangent that all gradients are taken with."""
    return torch.linspace(-1, 2, output.numel()).to(output).reshape(output.shape)


def gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """Return the values and the gradient to every input."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    output = function(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, cotangent(output))]


def normalise(pixels: Tensor, source: Sequence[int], align_corners: bool) -> Tensor:
    """Turn pixel indices (..., ndim), x first, into normalised coordinates."""
    lengths = torch.tensor(source[::-1], dtype=pixels.dtype)
    if align_corners:
        return pixels * 2 / (lengths - 1).clamp(min=1) - (lengths > 1).to(pixels)
    return (pixels * 2 + 1) / lengths - 1


def off_kinks(n: int, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """Draw pixel indices (n, *target, ndim) in and around an image, 0.1 and more off any kink."""
    lengths = torch.tensor(source[::-1], dtype=torch.float64)
    uniform = torch.rand(3, n, *target, len(source), dtype=torch.float64)
    whole = (uniform[0] * (2 * lengths + 2)).floor() - (lengths / 2 + 1).floor()
    return whole + 0.1 + 0.3 * uniform[1] + (uniform[2] > 0.5) / 2


def on_kinks(n: int, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """Draw whole and half pixels (n, *target, ndim) in and around an image."""
    lengths = torch.tensor(source[::-1], dtype=torch.float64)
    halves = torch.rand(n, *target, len(source), dtype=torch.float64) * (6 * lengths + 4)
    return (halves.floor() - 2 * lengths - 2) / 2


def exact_size(ndim: int, align_corners: bool) -> tuple[int, ...]:
    """Return a source whose pixels normalise without rounding: spans are powers of two."""
    return tuple(n + align_corners for n in (2, 8, 4)[:ndim])


def slope_at_identity(
    image: Tensor, *, padding_mode: str, align_corners: bool, fill: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the gradient to an affine θ at the identity, and the sum of its terms' magnitudes.

    Every sample is on a pixel, so its slope is the right-hand difference of the image.
    """
    weights, image = cotangent(image).double(), image.double()
    lengths = image.shape[:1:-1]  # x first
    half = [(n - align_corners) / 2 for n in lengths]
    axes = [torch.arange(n).double() - (n - 1) / 2 for n in reversed(lengths)]
    positions = torch.meshgrid(*axes, indexing="ij")[::-1]
    rows = []
    for r, axis in enumerate(range(image.ndim - 1, 1, -1)):
        beyond = torch.full_like(image.narrow(axis, 0, 1), fill or 0)
        slope = torch.cat((image, beyond), axis).diff(dim=axis)
        if padding_mode in ("border", "reflection"):  # flat from the end pixels' centres on
            slope.select(axis, 0).zero_()
            slope.select(axis, -1).zero_()
        terms = weights * slope * half[r]  # of the translation
        rows += [terms * x / (h or 1) for x, h in zip(positions, half, strict=True)] + [terms]
    return torch.stack([row.sum() for row in rows]), torch.stack([r.abs().sum() for r in rows])


def equation_3(
    image: Tensor, pixels: Tensor, mode: str, padding_mode: str, corners: bool, fill: float = 0.0
) -> Tensor:
    """Sum eq. 3, in plain loops, over every pixel of an image that its padding continues."""
    values = torch.zeros(*image.shape[:2], *pixels.shape[1:-1], dtype=image.dtype)
    for n, *point in product(*map(range, pixels.shape[:-1])):
        coordinates = pixels[(n, *point)].tolist()[::-1]  # in the order of the image's axes
        axes = [_support(x, k, mode) for x, k in zip(coordinates, image.shape[2:], strict=True)]
        for taps in product(*axes):
            continued = [
                _continued(m, length, padding_mode, corners)
                for (m, _), length in zip(taps, image.shape[2:], strict=True)
            ]
            value = fill if None in continued else image[(n, slice(None), *continued)]
            values[(n, slice(None), *point)] += prod(weight for _, weight in taps) * value
    return values


def _support(x: float, length: int, mode: str) -> list[tuple[int, float]]:
    """Return the pixels along one axis, of a few lengths, where the kernel is not 0."""
    kernel = {
        "nearest": lambda d: float(floor(d + 0.5) == 0),  # eq. 4
        "bilinear": lambda d: max(0.0, 1 - abs(d)),  # eq. 5
    }[mode]
    return [(m, kernel(x - m)) for m in range(-4 * length, 5 * length) if kernel(x - m)]


def _continued(m: int, length: int, padding_mode: str, corners: bool) -> int | None:
    """Return the pixel that stands at m, or None for the fill."""
    if 0 <= m < length:
        return m
    if padding_mode == "border":
        return min(max(m, 0), length - 1)
    if padding_mode == "reflection" and corners:
        m = m % max(2 * (length - 1), 1)
        return min(m, 2 * (length - 1) - m)
    if padding_mode == "reflection":
        return min(m % (2 * length), 2 * length - 1 - m % (2 * length))
    return None
