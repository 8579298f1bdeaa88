"""Verification of a backend on this machine: does it compute what the reference does.

The reference writes eqs. 3 to 7 out and defines what is correct. Cases come from a backend's own
capabilities: every option that it does not refuse, in every situation below. What is compared are
the values, the vector–Jacobian products (eqs. 6 and 7) and, in float64, the gradients of those
products.

A kernel's slope jumps at its kinks, and rounding may move a point across one. Points therefore keep
a distance from kinks, or lie exactly on them; where they lie on them, the sizes are powers of two,
so that no operation rounds.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Literal, TypeAlias, get_args

import torch
from torch import Generator, Tensor

from ..grid import Affine
from ..grid.regular import pixel_frame
from .backends.reference import Reference
from .dispatch import Backend, Spec
from .names import Mode
from .options import Options
from .padding import PADDING_MODES
from .target import Given, Mapped, Operation, Target

Situation = Literal[
    "inside",  # coordinates in and around the image
    "kinks",  # on whole and half pixels
    "identity",  # θ is the identity, at sizes that are no power of two
    "one pixel",  # along an axis of source and target
    "one image",  # one image for several grids or θ; only these take a gradient
    "one grid",  # one grid or θ for several images; tensors are strided, the cotangent is expanded
    "outside",  # some coordinates are so far outside that numbers overflow; two maps of each image
    "not finite",  # some coordinates are NaN or infinite
]

Fill: TypeAlias = Tensor | None
Inputs: TypeAlias = tuple[Tensor, Tensor, Fill, Tensor]  # image, grid or θ, fill, cotangent

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_BATCH, _CHANNELS = 3, 2
_SMALL_SUMS = 4  # rounding of sums of weights of either sign, by which `renormalise` divides
_WHOLE = ("nearest", "bilinear", "bicubic")  # of one, of two, and of more taps
_SHARE = 12  # the other kernels, which differ in numbers only, have one case of so many
_WIDENED_SHARE = 480  # and so have all where they widen, for which the reference takes long
_WIDENING = 2.0  # at most
_QUICK = 19  # one combination of options of so many, a prime: each kind of each option remains
_MARGIN = 1e-3  # pixels between a random coordinate and the nearest kink


@dataclass(frozen=True)
class Case:
    """One comparison: the static facts of a call and the nature of its inputs."""

    spec: Spec
    situation: Situation

    def __str__(self) -> str:
        return f"{self.spec}: {self.situation}"


@dataclass(frozen=True)
class Expected:
    """The inputs of a case, and what the reference makes of them, by name."""

    inputs: Inputs
    results: list[tuple[str, Tensor]]


def cases(backend: Backend, device: str = "cpu", *, quick: bool = False) -> Iterator[Case]:
    """Yield every case that the backend says it can run, or with `quick` a sample of them.

    Of kernels that differ from `nearest`, `bilinear` or `bicubic` in numbers only there is one case
    in twelve, spread over options and situations; and of those that widen one in 480. The reference
    has no tolerances, and therefore no cases.

    Example:
        >>> from spatial_transformers.sampler.backends import BACKENDS
        >>> print(next(cases(BACKENDS[0])))
        sample of a 2-D float64 image on cpu, mode nearest, padding zeros, context eager: inside

    """
    for spec in _specs(device)[:: _QUICK if quick else 1]:
        if spec.dtype in backend.tolerance and not backend.why_not(spec):
            for situation in get_args(Situation):
                case = Case(spec, situation)
                if (spec.operation, situation) != ("sample", "identity") and _counts(case):
                    yield case


def _counts(case: Case) -> bool:
    """Whether a case is among those that are drawn."""
    spec, share = case.spec, _SHARE
    if spec.max_shrink is not None:
        share = _WIDENED_SHARE
        if spec.ndim > 2 and spec.kernel.count > 2:  # for which the reference takes very long
            return False
    elif spec.mode in _WHOLE:
        return True
    return zlib.crc32(str(case).encode()) % share == 0


def unverified(backend: Backend, device: str = "cpu") -> list[str]:
    """Return why calls on a device are not among a backend's cases.

    Reasons that hold of all calls come alone: the others would add nothing to them.

    Example:
        >>> from spatial_transformers.sampler.backends import BACKENDS
        >>> unverified(BACKENDS[0], "cuda")[0]
        'it runs on cpu only'

    """
    reasons, specs = Counter[str](), _specs(device)
    for spec in specs:
        reasons.update(backend.why_not(spec))
        if spec.dtype not in backend.tolerance:
            reasons[f"it has no tolerance for {str(spec.dtype).removeprefix('torch.')}"] += 1
    return [r for r, count in reasons.items() if count == len(specs)] or list(reasons)


@cache
def _specs(device: str) -> tuple[Spec, ...]:
    """Return every combination of options, whether or not any backend can run it."""
    asked = product(get_args(Mode), PADDING_MODES, (False, True), (False, _WIDENING))
    options = [Options(*each) for each in asked]
    calls = product(get_args(Operation), (2, 3), options, _DTYPES)
    return tuple(
        Spec(operation, ndim, dtype, device, "eager", False, each)
        for operation, ndim, each, dtype in calls
    )


def check_all(
    backends: Sequence[Backend], device: str = "cpu", *, quick: bool = False
) -> Iterator[tuple[Backend, Case, list[str]]]:
    """Check backends on all their cases; yield each with its case and what `check` found.

    With `quick` these are fewer. The reference runs once per case, and serves every backend that
    has the case.
    """
    able: dict[str, tuple[Case, list[Backend]]] = {}
    for backend in backends:
        for case in cases(backend, device, quick=quick):
            # by name: cases that are alike need not be equal
            able.setdefault(str(case), (case, []))[1].append(backend)
    for case, backends in able.values():
        expected = expect(case)
        for backend in backends:
            yield backend, case, check(backend, case, expected)


def expect(case: Case) -> Expected:
    """Draw the inputs of a case, and run the reference on them."""
    inputs = _inputs(case)
    return Expected(inputs, list(_results(Reference(), case, *inputs)))


def check(backend: Backend, case: Case, expected: Expected | None = None) -> list[str]:
    """Compare a backend with the reference: a line per disagreement, none if it agrees.

    Where values disagree, gradients are not asked for.

    Args:
        backend: the backend.
        case: one of its `cases`.
        expected: what `expect` gave for the case; without it the reference is run here.

    Example:
        >>> from spatial_transformers.sampler.backends import BACKENDS
        >>> check(BACKENDS[0], next(cases(BACKENDS[0])))
        []

    """
    expected = expect(case) if expected is None else expected
    image, _, fill, _ = expected.inputs
    scale = max(_largest(t) for t in (image, fill) if t is not None)
    tolerance, lines = backend.tolerance[case.spec.dtype], []
    if case.spec.padding_mode == "renormalise" and case.spec.kernel.count > 2:
        tolerance *= _SMALL_SUMS
    try:
        results = _results(backend, case, *expected.inputs)
        for (name, due), (_, found) in zip(expected.results, results, strict=True):
            fault = _fault(found, due, tolerance * max(scale, _largest(due)))
            lines += [f"{name}: {fault}"] if fault else []
            if lines and name == "values":
                break
    except Exception as error:  # a finding like any other, and not the end of the battery
        lines.append(f"raised {type(error).__name__}: {error}")
    return lines


def _fault(found: Tensor, due: Tensor, allowed: float) -> str | None:
    kinds = [f"{tuple(t.shape)} in {t.dtype}" for t in (found, due)]
    if kinds[0] != kinds[1]:
        return " instead of ".join(kinds)
    off = _largest(found.double() - due.double())
    return None if off <= allowed else f"off by {off:.2e}, allowed {allowed:.2e}"  # NaN is off


def _largest(tensor: Tensor) -> float:
    return tensor.double().abs().max().item()


def _results(
    backend: Backend, case: Case, image: Tensor, coordinates: Tensor, fill: Fill, cotangent: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Yield all that is compared, with its name; values first."""
    spec = case.spec
    kind = {"sample": "grid", "warp": "theta"}[spec.operation]
    constant = {"one image": "image", "one grid": kind}.get(case.situation)
    tensors = {"image": image.detach(), kind: coordinates.detach()}
    leaves = {name: t.requires_grad_() for name, t in tensors.items() if name != constant}
    image, coordinates = (t.expand(max(_BATCH, len(t)), *t.shape[1:]) for t in tensors.values())
    if spec.operation == "sample":
        target: Target = Given(coordinates, spec.align_corners)
    else:
        target = Mapped(coordinates, Affine(spec.ndim), _sizes(case)[1], spec.align_corners)
    output = backend.run(spec, image, target, fill, spec.kernel.phi)
    yield "values", output.detach()

    grads = partial(torch.autograd.grad, materialize_grads=True)
    first = grads(output, [*leaves.values()], cotangent, retain_graph=True)
    yield from ((f"gradient to {n}", g) for n, g in zip(leaves, first, strict=True))
    if spec.dtype == torch.float64:
        cotangent = cotangent.detach().requires_grad_()
        again = grads(output, [*leaves.values()], cotangent, create_graph=True)
        along = torch.stack([(g * g.detach().cos()).sum() for g in again]).sum()
        leaves["cotangent"] = cotangent
        second = grads(along, [*leaves.values()])
        yield from ((f"second derivative to {n}", g) for n, g in zip(leaves, second, strict=True))


def _inputs(case: Case) -> Inputs:
    """Draw image, grid or θ, fill and cotangent, the same ones every time."""
    spec, (source, target) = case.spec, _sizes(case)
    generator = Generator().manual_seed(zlib.crc32(str(case).encode()))
    image = torch.randn(_BATCH, _CHANNELS, *source, generator=generator)
    fill = torch.randn(_CHANNELS, generator=generator)
    cotangent = torch.randn(_BATCH, _CHANNELS, *target, generator=generator)
    coordinates = _theta(case, generator)
    if spec.operation == "sample":
        coordinates = Affine(spec.ndim).grid(coordinates, target, align_corners=spec.align_corners)
    wide = torch.promote_types(spec.dtype, torch.float32)
    largest = torch.finfo(wide).max
    # far reflections have no digits left, so that infinity takes their place
    far = (torch.inf, -torch.inf) if spec.padding_mode == "reflection" else (largest, 1e30)
    numbers = {"outside": far, "not finite": (torch.nan, -torch.inf)}.get(case.situation, ())
    # the last row of the batch stays as drawn
    for row, number in zip(coordinates, numbers, strict=False):
        row.view(-1)[1::5] = number
    image, fill, cotangent = (t.to(spec.device, spec.dtype) for t in (image, fill, cotangent))
    coordinates = coordinates.to(spec.device, wide)
    if case.situation == "outside":
        coordinates, cotangent = (torch.cat((t, t.flip(0))) for t in (coordinates, cotangent))
    if case.situation == "one image":
        image = image[:1].movedim(1, -1).contiguous().movedim(-1, 1)  # channels last
    if case.situation == "one grid":
        coordinates = coordinates[:1].repeat_interleave(2, -1)[..., ::2]
        image = image.repeat_interleave(2, -1)[..., ::2]
        cotangent = torch.ones_like(cotangent[:1, :1, :1]).expand(cotangent.shape)
    return image, coordinates, fill if spec.padding_mode == "constant" else None, cotangent


def _sizes(case: Case) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of source and target."""
    situation, ndim = case.situation, case.spec.ndim
    source, target = (6, 5, 7)[-ndim:], (1, 2, 67)[-ndim:]
    if situation == "kinks":  # powers of two between the image's ends
        source = tuple(2 ** (k + 1) + case.spec.align_corners for k in range(ndim))
    if situation in ("one pixel", "not finite"):
        source = (*source[:-1], 1)
    return source, source if situation in ("kinks", "identity", "one pixel") else target


def _theta(case: Case, generator: Generator) -> Tensor:
    """Draw affine maps that keep samples away from kinks, or put them on kinks."""
    affine, corners = Affine(case.spec.ndim), case.spec.align_corners
    source, target = _sizes(case)
    extents = torch.tensor(pixel_frame(source, corners).scale, dtype=torch.float64)
    if case.situation in ("kinks", "identity"):
        theta = affine.identity().double().repeat(_BATCH, 1)
        if case.situation == "kinks":  # the identity, mirrors, and shifts by half pixels
            steps = torch.randint(-4, 5, (_BATCH - 1, affine.ndim), generator=generator)
            matrix = torch.unflatten(theta[1:], 1, (affine.ndim, affine.ndim + 1))
            matrix *= torch.where(steps < 0, -1, 1)[..., None]
            matrix[..., -1] = steps / 2 / extents
        return theta
    found = torch.zeros(0, affine.num_parameters)
    while len(found) < _BATCH:
        drawn = torch.randn(99, affine.num_parameters, generator=generator).double() / 2
        drawn[:, affine.ndim] += 5 * (case.situation == "outside")
        pixels = affine.pixels(drawn, target, source, align_corners=corners)
        distance = (pixels * 2 - (pixels * 2).round()).abs() / 2
        apart = (distance > _MARGIN) | (extents == 0)  # a lone pixel has no kinks
        found = torch.cat((found, drawn[apart.flatten(1).all(1)]))
    return found[:_BATCH]
