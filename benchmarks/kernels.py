"""Kernels and antialiasing, each against our own bilinear sampling and against rivals.

`ours` is bilinear in every case, so that a ratio says what another kernel costs. Kernels differ in
what they give: what must be equal, a kernel and its rival, is verified before anything is timed.
"""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformers import KERNELS, Affine, unnormalise, warp

from .measure import UnequalError
from .registry import Case, Contender, Inputs, Rival

SIZE, MARGIN = 224, 48  # black pixels around, so that every padding continues the image alike
TURN, SCALE = math.radians(10), 1.1  # of θ: the picture turns and shrinks a little
TOLERANCE = 1e-4  # of a rival, relative to the largest value
SPLINES = {f"bspline{order}": order for order in (3, 5, 7)}  # of torch-interpol


def _warp(mode: str, image: Tensor, theta: Tensor, **options: object) -> Tensor:
    return warp(image, theta, Affine(), mode=mode, **options)  # type: ignore[arg-type]


def _grid(image: Tensor, theta: Tensor) -> Tensor:
    return F.affine_grid(theta.unflatten(1, (2, 3)), list(image.shape), align_corners=False)


def _grid_sample(mode: str, image: Tensor, theta: Tensor) -> Tensor:
    return F.grid_sample(image, _grid(image, theta), mode=mode, align_corners=False)


def _grid_pull(order: int, image: Tensor, theta: Tensor) -> Tensor:
    """Sample by torch-interpol, which prefilters by reflection and counts in pixels, y first."""
    from interpol import grid_pull

    pixels = unnormalise(_grid(image, theta), image.shape[2:]).flip(-1)
    options = {"bound": "dct2", "extrapolate": True, "prefilter": True}
    return grid_pull(image, pixels, interpolation=order, **options)


def _shrink(by: int, mode: str, image: Tensor, theta: Tensor, **options: object) -> Tensor:
    return _warp(mode, image, theta, size=image.shape[-1] // by, **options)


def _interpolate(by: int, mode: str, image: Tensor, theta: Tensor) -> Tensor:
    size = [n // by for n in image.shape[2:]]
    return F.interpolate(image, size, mode=mode, antialias=True, align_corners=False)


def _gradients(forward: Contender, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients to image and θ of what a fixed cotangent weighs."""
    *leaves, cotangent = inputs
    found = torch.autograd.grad(forward(*leaves), leaves, cotangent, allow_unused=True)
    return tuple(
        torch.zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=True)
    )


def _image_gradient(forward: Contender, *inputs: Tensor) -> Tensor:
    return _gradients(forward, *inputs)[0]


def _inner_gradients(forward: Contender, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return both, without the image's margin: what continues it differs there."""
    image, theta = _gradients(forward, *inputs)
    return image[..., MARGIN:-MARGIN, MARGIN:-MARGIN], theta


def _values(forward: Contender, *inputs: Tensor) -> tuple[Tensor, ...]:
    return (forward(*inputs[:2]),)


def _inputs(
    case: str, pairs: Mapping[str, tuple[Contender, Contender]], turned: bool, gradient: bool
) -> Inputs:
    """Return image, θ and a cotangent, on which every pair was found equal.

    Raises:
        UnequalError: naming the rival and the difference.

    """
    random = torch.Generator().manual_seed(0)
    inner = torch.rand(8, 3, SIZE - 2 * MARGIN, SIZE - 2 * MARGIN, generator=random)
    image = F.pad(inner, [MARGIN] * 4).requires_grad_(gradient)
    turn, scale = (TURN, SCALE) if turned else (0.0, 1.0)
    c, s = scale * math.cos(turn), scale * math.sin(turn)
    theta = torch.tensor([[c, -s, 0, s, c, 0]]).repeat(8, 1).requires_grad_(gradient)
    inputs = image, theta, torch.randn(image.shape, generator=random)
    for name, contenders in pairs.items():
        of = _inner_gradients if gradient else _values
        expected, found = (of(run, *inputs) for run in contenders)
        _require_equal(f"{case}: {name}", expected, found)
    return inputs if gradient else inputs[:2]


def _require_equal(name: str, expected: Iterable[Tensor], found: Iterable[Tensor]) -> None:
    for ours, theirs in zip(expected, found, strict=True):
        if ours.shape != theirs.shape:
            shapes = tuple(theirs.shape), tuple(ours.shape)
            raise UnequalError(f"{name} gave shape {shapes[0]}, ours is {shapes[1]}")
        difference = ((theirs - ours).abs().max() / ours.abs().max().clamp(min=1)).item()
        if not difference <= TOLERANCE:
            raise UnequalError(
                f"{name} differs from ours by {difference:.2g} of the largest value, more than "
                f"{TOLERANCE:.2g}; nothing was compared"
            )


def _absent() -> str:
    """Return why torch-interpol cannot be imported, or nothing."""
    try:
        __import__("interpol")
    except ImportError as error:
        return f"torch-interpol is not installed ({error})"
    return ""


def _case(
    name: str,
    kernels: Mapping[str, Contender],
    rivals: Mapping[str, tuple[str, Contender]],
    *,
    absent: Mapping[str, str] | None = None,
    turned: bool = True,
    gradient: bool = False,
) -> Case:
    """Return a case of kernels, the first of which is bilinear, and rivals of some of them."""
    pairs = {rival: (kernels[kernel], run) for rival, (kernel, run) in rivals.items()}
    ours, *others = {**kernels, **{rival: run for rival, (_, run) in rivals.items()}}.items()
    timed = {n: partial(_image_gradient, run) if gradient else run for n, run in (ours, *others)}
    contenders = {n: Rival(run) for n, run in timed.items() if n != ours[0]}
    missing = {n: Rival(None, reason) for n, reason in (absent or {}).items()}
    return Case(
        name,
        partial(_inputs, name, pairs, turned, gradient),
        timed[ours[0]],
        contenders | missing,
        tolerance=math.inf,  # from bilinear sampling, which is another kernel
    )


def _all_kernels(name: str, *, gradient: bool = False) -> Case:
    names = sorted(KERNELS, key=lambda mode: mode != "bilinear")
    rivals: dict[str, tuple[str, Contender]] = {
        f"grid_sample {mode}": (mode, partial(_grid_sample, mode))
        for mode in ("nearest", "bilinear", "bicubic")
    }
    pulled = {f"torch-interpol {n}": (n, partial(_grid_pull, k)) for n, k in SPLINES.items()}
    reason = _absent()
    return _case(
        name,
        {mode: partial(_warp, mode) for mode in names},
        rivals if reason else rivals | pulled,
        absent=dict.fromkeys(pulled, reason) if reason else {},
        gradient=gradient,
    )


def _antialias(name: str, by: int) -> Case:
    kernels: dict[str, Contender] = {"bilinear": partial(_shrink, by, "bilinear")}
    rivals: dict[str, tuple[str, Contender]] = {}
    for mode, options in {"bilinear": {}, "bicubic": {"phi": -0.5}}.items():
        widened = f"{mode}, antialiased"
        kernels[widened] = partial(_shrink, by, mode, antialias=True, **options)
        rivals[f"interpolate {widened}"] = widened, partial(_interpolate, by, mode)
    return _case(name, kernels, rivals, turned=False)


CASES = (
    _all_kernels("kernels"),
    _all_kernels("kernels-gradient", gradient=True),
    _antialias("kernels-antialias-2", 2),
    _antialias("kernels-antialias-4", 4),
)


def tables(found: Mapping[str, Any]) -> str:
    """Return what `docs/choose/kernel.md` shows of the cases' JSON: two tables of ratios."""
    cases = {case["case"]: case for case in found["cases"]}
    turned = "kernels", "kernels-gradient"
    shrunk = "kernels-antialias-2", "kernels-antialias-4"
    return "\n\n".join(
        _table([cases[name] for name in names], heads)
        for names, heads in ((turned, ("forward", "and backward")), (shrunk, ("by 2", "by 4")))
    )


def _table(cases: list[Any], heads: tuple[str, ...]) -> str:
    titles = [f"{head}: {what}" for head in heads for what in ("median", "best", "MiB")]
    lines = [f"| | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(titles)}"]
    for name in ("ours", *cases[0]["rivals"]):
        cells = []
        for case in cases:
            row = case["ours"] if name == "ours" else case["rivals"][name]
            ratios = row.get("ratio", 1.0), row.get("ratio of the best runs", 1.0)
            cells += [f"{r:.1f}" if r < 10 else f"{r:.0f}" for r in ratios]
            cells.append(f"{row['peak beyond the output (MiB)']:.0f}")
        lines.append(f"| {'bilinear' if name == 'ours' else name} | {' | '.join(cells)} |")
    return "\n".join(lines)
