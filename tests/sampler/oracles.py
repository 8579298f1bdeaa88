"""Oracles of the sampler, and inputs on and off its kinks."""

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformers.sampler.backends import BACKENDS

#: Of the backends that run on the CPU; others have tests of their own.
NAMES = tuple(b.name for b in BACKENDS if getattr(b, "device", "cpu") == "cpu")
TORCH_PADDINGS = ("zeros", "border", "reflection")
PADDINGS = (*TORCH_PADDINGS, "constant")
SOURCES = {1: (7,), 2: (5, 7), 3: (4, 3, 6)}
TARGETS = {1: (9,), 2: (6, 4), 3: (3, 2, 5)}
MARGIN = 64  # pixels by which `equation_3` continues an image: 0.54^64, of a bspline7, is 1e-17
PADS = {"zeros": "constant", "constant": "constant", "renormalise": "constant", "border": "edge"}
PHI = {"bicubic": (-0.75,), "mitchell": (1 / 3, 1 / 3), "gaussian": (0.5,)}


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


def unnormalise(grid: Tensor, source: Sequence[int], align_corners: bool) -> Tensor:
    """Turn normalised coordinates (..., ndim), x first, into pixel indices."""
    lengths = torch.tensor(source[::-1], dtype=grid.dtype)
    return (grid + 1) * (lengths - 1) / 2 if align_corners else (grid + 1) * lengths / 2 - 0.5


def assert_near(found: Sequence[Tensor], due: Sequence[Tensor], tolerance: float) -> None:
    """Compare each tensor in float64, relative to its own largest number where that is above 1."""
    for k, (a, b) in enumerate(zip(found, due, strict=True)):
        scale = max(1.0, b.abs().max().item())
        assert a.shape == b.shape
        off = (a.double() - b.double()).abs().max().item() / scale
        assert off <= tolerance, f"tensor {k} is off by {off:.2e}"  # NaN is off


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
    image: Tensor,
    pixels: Tensor,
    mode: str | Callable[..., Tensor],
    padding_mode: str,
    corners: bool,
    fill: float | Tensor = 0.0,
    phi: Tensor | None = None,
) -> Tensor:
    """Sum eq. 3 over every pixel of an image that `numpy.pad` continues, by textbook formulas.

    Differentiable. `phi` is (P,), (N, P) or (N, ndim, P). Weights of a `mode` that is a function,
    of Lanczos and of the Gaussian are divided by their sum. B-splines solve for coefficients.
    """
    batch, ndim = max(len(image), len(pixels)), pixels.shape[-1]
    points = pixels.flatten(1, -2).expand(batch, -1, -1)
    phi = pixels.new_tensor(PHI.get(mode, ())) if phi is None else phi
    phi = (phi[:, None] if phi.ndim == 2 else phi).expand(batch, ndim, -1)
    axes = []
    for axis, length in enumerate(reversed(image.shape[2:])):
        entries = phi[:, axis, :, None, None].unbind(1)
        weights = _axis_weights(mode, points[..., axis], length, entries)
        axes.append(weights @ _continued(length, padding_mode, corners))
    names = "wzyx"[-ndim:]
    terms = f"nc{names},{','.join(f'nm{a}' for a in names)}->ncm"
    summed = torch.einsum(terms, image.expand(batch, *image.shape[1:]), *axes[::-1])
    inside = reduce(torch.mul, [w.sum(-1) for w in axes])[:, None]
    if padding_mode == "constant":
        summed = summed + (1 - inside) * torch.as_tensor(fill, dtype=summed.dtype).reshape(1, -1, 1)
    if padding_mode == "renormalise":
        some = inside > 1e-3
        summed = (summed / inside.where(some, 1)).where(some, 0)
    return summed.unflatten(2, pixels.shape[1:-1])


def _axis_weights(
    mode: str | Callable[..., Tensor], x: Tensor, length: int, entries: Sequence[Tensor]
) -> Tensor:
    """Return the weights (N, M, continued) of every pixel of the continued axis at x (N, M)."""
    weight = mode if callable(mode) else textbook(mode)
    near = torch.arange(-MARGIN, length + MARGIN, dtype=x.dtype)
    weights = weight(x[..., None] - near, *entries)
    if callable(mode) or mode.startswith(("lanczos", "gaussian")):
        weights = weights / weights.sum(-1, keepdim=True)
    if not callable(mode) and mode.startswith("bspline") and mode not in ("bspline0", "bspline1"):
        collocation = weight(near[:, None] - near)  # coefficients c solve A c = u
        weights = torch.linalg.solve(collocation, weights, left=False)
    return weights


def _continued(length: int, padding_mode: str, corners: bool) -> Tensor:
    """Return the matrix (continued, length) of which pixel stands where, by `numpy.pad`."""
    how = PADS.get(padding_mode, "reflect" if corners else "symmetric")
    how = "wrap" if padding_mode == "wrap" else how
    if how == "reflect" and length == 1:
        how = "edge"  # there numpy has nothing to reflect
    return torch.from_numpy(np.pad(np.eye(length), ((MARGIN, MARGIN), (0, 0)), mode=how))


def textbook(mode: str) -> Callable[..., Tensor]:
    """Return the formula of a kernel as its source prints it, away from kinks."""
    if mode.startswith("lanczos"):
        lobes = int(mode[-1])
        return lambda d: (d.sinc() * (d / lobes).sinc()).where(d.abs() < lobes, 0)
    if mode.startswith("bspline"):
        return lambda d: _bspline(d, int(mode[-1]))
    return {
        "nearest": lambda d: _bspline(d, 0),  # eq. 4
        "bilinear": lambda d: (1 - d.abs()).clamp(min=0),  # eq. 5
        "bicubic": _keys,
        "mitchell": _mitchell,
        "gaussian": lambda d, s: (-(d**2) / (2 * s**2)).exp().where(d.abs() < 3, 0),
    }[mode]


def _keys(d: Tensor, a: Tensor) -> Tensor:
    """Keys 1981, eq. 15 (there a = −1/2)."""
    x = d.abs()
    outer = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return ((a + 2) * x**3 - (a + 3) * x**2 + 1).where(x < 1, outer.where(x < 2, 0))


def _mitchell(d: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Mitchell and Netravali 1988, eq. 8."""
    x = d.abs()
    inner = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + (6 - 2 * b)
    outer = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + 8 * b + 24 * c
    return inner.where(x < 1, outer.where(x < 2, 0)) / 6


def _bspline(d: Tensor, order: int) -> Tensor:
    """De Boor's recursion."""
    if order == 0:
        return (torch.floor(d + 0.5) == 0).to(d) + 0 * d  # with a slope, of 0
    reach = (order + 1) / 2
    left, right = (_bspline(d + shift, order - 1) for shift in (0.5, -0.5))
    return ((reach + d) * left + (reach - d) * right) / order
