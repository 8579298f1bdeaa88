"""What the compiled backends share: grid and sampler in one, for every T_θ = M_θ B.

A fused call is a `Plan` and five tensors. Coordinates are computed where they are used, in the
order of operations of `grid/linear.py`, and never stored. Transformations of another form, and
grids that are given, are passed as points.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from ...grid.linear import Linear, apply_matrix
from ...grid.regular import centred_axes, half_extents, pixel_frame
from ..antialias import packed, stretch, unpacked
from ..autograd import Operator, run
from ..dispatch import Backend, Spec
from ..kernels import Numbers
from ..padding import PADDING_MODES
from ..target import Given, Mapped, Target, finite_maps, joint_batch, saturated
from .functions import functions_of
from .reference import sample_pixels

Form = Literal["matrix", "perspective", "normalised", "pixels"]
Gradients: TypeAlias = tuple[Tensor | None, ...]

#: Taps along an axis, of the modes that every compiled backend has.
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
_MOST_FUNCTIONS = 1 << 24  # values of the functions of B that are held at once
_MOST_ROWS = 512  # functions of B for which the tasks of a backend have memory

# What compilers see. Tensors and the `Plan` are the same as those of `Fused.forward`.
_TENSORS = "Tensor image, Tensor coordinates, Tensor? functions, Tensor? fill, Tensor? stretch"
_PLAN = (
    "SymInt[] size, str mode, str padding_mode, bool align_corners, str form, float[] phi, "
    "float? max_shrink"
)
_COUNT = 5  # of tensors
_OPERATIONS = torch.library.Library("spatial_transformers", "FRAGMENT")
_OPERATIONS.define(f"fused({_TENSORS}, {_PLAN}) -> Tensor")
_OPERATIONS.define(f"fused_backward(Tensor grad, bool[] needed, {_TENSORS}, {_PLAN}) -> Tensor[]")


class Plan(NamedTuple):
    """The static facts of a fused call."""

    size: tuple[int, ...]  # of the target
    mode: str  # the name of a kernel
    padding_mode: str
    align_corners: bool
    form: Form  # of the coordinates: M_θ, with a row w if "perspective", or points in either unit
    phi: tuple[float, ...] = ()  # of the kernel
    max_shrink: float | None = None  # how far a kernel widens at most, with antialiasing

    def factors(self, source: Sequence[int], columns: int) -> list[list[float]]:
        """Return what every entry of M_θ (rows, columns) is multiplied by, to map to pixels."""
        extents = half_extents(self.size, self.align_corners)
        scales = [*pixel_frame(source, self.align_corners).scale]
        scales += [1.0] * (self.form == "perspective")
        rest = columns - len(extents)
        return [[*(scale / e for e in extents), *[scale] * rest] for scale in scales]

    def units(self, source: Sequence[int]) -> list[tuple[float, float, float]]:
        """Return (add, scale, offset) per axis: p lies at pixel `(p + add) · scale - offset`."""
        if self.form == "pixels":
            return [(0.0, 1.0, 0.0)] * len(source)
        offset = 0.0 if self.align_corners else 0.5
        return [(1.0, s, offset) for s in pixel_frame(source, self.align_corners).scale]


class Fused(Backend):
    """A backend that runs a `Plan`."""

    #: The type of device that it runs on.
    device: ClassVar[str]
    #: Whether it runs plans with a `max_shrink`.
    antialiases: ClassVar[bool] = False
    tolerance: ClassVar[Mapping[torch.dtype, float]] = {
        torch.float64: 1e-12,
        torch.float32: 2e-5,
        torch.bfloat16: 1e-2,
        torch.float16: 2e-3,
    }

    @abstractmethod
    def forward(
        self,
        plan: Plan,
        image: Tensor,
        coordinates: Tensor,
        functions: Tensor | None,
        fill: Tensor | None,
        stretch: Tensor | None,
    ) -> Tensor:
        """Return V (N, C, *size) in the image's dtype, N being the larger batch.

        Args:
            plan: the static facts.
            image: (N or a divisor of N, C, *source), of any strides; each serves as many maps, one
                after the other.
            coordinates: (N or 1, rows, columns) or points (N or 1, *size, ndim); float64 if the
                image is, and otherwise float32.
            functions: the rows of B below the homogeneous coordinates, (K, *size), if any.
            fill: (C,) in the image's dtype, for `constant`.
            stretch: with `max_shrink` how kernels are stretched, as `antialias.packed` gives it,
                (N or 1, ndim² + 1, M) like coordinates; None for affine maps, whose M_θ tells.

        """

    @abstractmethod
    def backward(
        self,
        plan: Plan,
        grad: Tensor,
        needed: Sequence[bool],
        image: Tensor,
        coordinates: Tensor,
        functions: Tensor | None,
        fill: Tensor | None,
        stretch: Tensor | None,
    ) -> Gradients:
        """Return the vector–Jacobian products to the five tensors, None where not needed."""

    def why_not(self, spec: Spec) -> list[str]:
        """Return the reasons against this backend."""
        reasons = [] if spec.device == self.device else [f"it runs on {self.device} only"]
        if spec.ndim not in (2, 3):
            reasons.append("it has 2-D and 3-D only")
        if spec.dtype not in self.tolerance:
            reasons.append("it takes floating images only")
        reasons += self.why_not_kernel(spec)
        if spec.padding_mode not in PADDING_MODES:
            reasons.append("it pads all axes alike")
        if spec.max_shrink is not None and not self.antialiases:
            reasons.append("it does not antialias")
        if spec.context == "transform":
            reasons.append("it has no forward mode, and transforms need it")
        if spec.context == "export":
            reasons.append("exported graphs hold PyTorch's own operations only")
        return reasons

    def why_not_kernel(self, spec: Spec) -> list[str]:
        """Return the reasons against the kernel."""
        if spec.named and spec.mode in TAPS:
            return []
        return [f"its modes are {', '.join(TAPS)}"]

    def run(
        self, spec: Spec, image: Tensor, target: Target, fill: Tensor | None, phi: Numbers
    ) -> Tensor:
        """Sample at the points; those of a map M_θ B are never stored."""
        if isinstance(target, Mapped):
            return self._warp(spec, image, target, fill)
        grid, given = target.grid(), _Given(image, fill, target)
        size = tuple(grid.shape[1:-1])
        if image.dtype == torch.float64 and grid.dtype != torch.float64:  # rounded as the reference
            pixels = target.pixels(image.shape[2:]).double()
            return self._run(spec, _plan(spec, size, "pixels"), given, pixels)
        return self._run(spec, _plan(spec, size, "normalised"), given, grid)

    def _warp(self, spec: Spec, image: Tensor, target: Mapped, fill: Tensor | None) -> Tensor:
        values, transformation, size = target.values, target.transformation, target.size
        given = _Given(image, fill, target)
        corners, precise = spec.align_corners, image.dtype == torch.float64
        if isinstance(transformation, Linear) and values.dtype.itemsize >= 4 + 4 * precise:
            matrix, functions = transformation._matrix(values), None
            rows = matrix.shape[2] - spec.ndim - 1
            few = spec.context != "eager" or rows * prod(size) <= _MOST_FUNCTIONS
            if rows and few and rows <= _MOST_ROWS:
                functions = functions_of(transformation, size, corners, values, spec.context)
            if not rows or functions is not None:
                form = "perspective" if transformation.perspective else "matrix"
                return self._run(spec, _plan(spec, size, form), given, matrix, functions)
        pixels = target.pixels(image.shape[2:])
        pixels = pixels.double() if precise else pixels
        return self._run(spec, _plan(spec, size, "pixels"), given, pixels)

    def _run(
        self,
        spec: Spec,
        plan: Plan,
        given: "_Given",
        coordinates: Tensor,
        functions: Tensor | None = None,
    ) -> Tensor:
        image, fill, target = given
        dtype, stretched = image.dtype, None
        if spec.max_shrink is not None and (plan.form != "matrix" or functions is not None):
            steps = target.spacing(image.shape[2:])
            stretched = packed(stretch(steps.to(coordinates.dtype), spec.max_shrink))
        if coordinates.dtype == torch.float64 != dtype:
            image, fill = image.double(), None if fill is None else fill.double()

        tensors = (image, coordinates, functions, fill, stretched)
        if spec.context == "compile":
            return torch.ops.spatial_transformers.fused(*tensors, *plan).to(dtype)

        operator = Operator(
            forward=lambda *tensors: self.forward(plan, *tensors),
            backward=partial(_backward, self, plan),
            reference=partial(_by_reference, spec, plan),
        )
        values = run(operator, *tensors)
        values = values if values.dtype == dtype else values.to(dtype)
        if has_torch_function_variadic(image, coordinates):
            return handle_torch_function(_of, (image, coordinates), values, image, coordinates)
        return values


class _Given(NamedTuple):
    """What a call was given, beside its facts."""

    image: Tensor
    fill: Tensor | None
    target: Target


def _by_reference(
    spec: Spec,
    plan: Plan,
    image: Tensor,
    coordinates: Tensor,
    functions: Tensor | None,
    fill: Tensor | None,
    stretched: Tensor | None,
) -> Tensor:
    """Run a plan in plain PyTorch, which is differentiable any number of times."""
    source = tuple(image.shape[2:])
    pixels, steps = _pixels(plan, coordinates, functions, source), None
    if stretched is not None:
        steps = unpacked(stretched)
    elif plan.max_shrink is not None:
        ndim = len(source)
        factors = coordinates.new_tensor(plan.factors(source, coordinates.shape[2]))[:, :ndim]
        matrix = coordinates[:, :, :ndim] * factors
        steps = matrix.reshape(-1, *[1] * ndim, ndim, ndim).expand(*pixels.shape, ndim)
    return sample_pixels(spec, image, pixels, fill, spec.kernel.phi, steps)


def _of(values: Tensor, *inputs: Tensor) -> Tensor:
    """Return values that were computed of inputs, whose subclasses say what becomes of them."""
    del inputs
    return values


def _backward(
    backend: Fused, plan: Plan, grad: Tensor, needed: Sequence[bool], *tensors: Tensor | None
) -> Gradients:
    """Return the gradients in the dtypes of the tensors."""
    grads = backend.backward(plan, grad, needed, *tensors)  # pyright: ignore[reportArgumentType]
    pairs = zip(grads, tensors, strict=True)
    return tuple(
        None if g is None or t is None else g if g.dtype == t.dtype else g.to(t.dtype)
        for g, t in pairs
    )


def _plan(spec: Spec, size: tuple[int, ...], form: Form) -> Plan:
    phi = spec.kernel.phi
    numbers = () if isinstance(phi, Tensor) else phi
    return Plan(
        size, spec.mode, spec.padding_mode, spec.align_corners, form, numbers, spec.max_shrink
    )


def _pixels(
    plan: Plan, coordinates: Tensor, functions: Tensor | None, source: tuple[int, ...]
) -> Tensor:
    """Return pixel coordinates (N, *size, ndim), in plain PyTorch."""
    if plan.form == "pixels":
        return coordinates
    if plan.form == "normalised":
        return Given(coordinates, plan.align_corners).pixels(source)
    pixels = apply_matrix(
        coordinates,
        centred_axes(plan.size, dtype=coordinates.dtype, device=coordinates.device),
        half_extents(plan.size, plan.align_corners),
        pixel_frame(source, plan.align_corners),
        () if functions is None else functions.unbind(0),
    )
    return saturated(pixels, finite_maps(coordinates, len(source)))


def regular(image: Tensor) -> tuple[Tensor, torch.memory_format]:
    """Return the image in one of two memory formats, copied if it is in neither, and the format."""
    if not image.is_contiguous():
        last = torch.channels_last if image.ndim == 4 else torch.channels_last_3d
        if image.is_contiguous(memory_format=last):
            return image, last
    return image.contiguous(), torch.contiguous_format


def register(backend: Fused) -> None:
    """Let compiled code run a backend on its device."""

    def fused(*arguments: Any) -> Tensor:
        return backend.forward(_planned(arguments[_COUNT:]), *arguments[:_COUNT])

    def fused_backward(grad: Tensor, needed: Sequence[bool], *arguments: Any) -> list[Tensor]:
        plan, tensors = _planned(arguments[_COUNT:]), arguments[:_COUNT]
        grads = _backward(backend, plan, grad, needed, *tensors)
        return [g for g in grads if g is not None]

    key = {"cpu": "CPU", "cuda": "CUDA"}[backend.device]
    _OPERATIONS.impl("fused", fused, key)
    _OPERATIONS.impl("fused_backward", fused_backward, key)


def _planned(plan: Sequence[Any]) -> Plan:
    size, mode, padding_mode, align_corners, form, phi, max_shrink = plan
    return Plan(tuple(size), mode, padding_mode, align_corners, form, tuple(phi), max_shrink)


@torch.library.register_fake("spatial_transformers::fused", lib=_OPERATIONS)
def _fake(image: Tensor, coordinates: Tensor, *rest: Any) -> Tensor:
    layout = regular(image)[1]
    shape = (joint_batch(image, coordinates), image.shape[1], *rest[_COUNT - 2])
    return torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=layout)


@torch.library.register_fake("spatial_transformers::fused_backward", lib=_OPERATIONS)
def _fake_backward(grad: Tensor, needed: Sequence[bool], *arguments: Any) -> list[Tensor]:
    layouts = (regular(arguments[0])[1], *[torch.contiguous_format] * (_COUNT - 1))
    return [
        torch.empty_like(tensor, memory_format=layout)
        for tensor, need, layout in zip(arguments[:_COUNT], needed, layouts, strict=True)
        if need
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:_COUNT])
    ctx.plan = inputs[_COUNT:]


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needed = ctx.needs_input_grad[:_COUNT]
    operation = torch.ops.spatial_transformers.fused_backward
    found = iter(operation(grad, needed, *ctx.saved_tensors, *ctx.plan))
    return *(next(found) if need else None for need in needed), *[None] * len(ctx.plan)


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(
        "a second derivative of a compiled warp or sample was asked for; give "
        "backend='reference' to differentiate again, or do not compile"
    )


torch.library.register_autograd(
    "spatial_transformers::fused", _differentiate, setup_context=_keep, lib=_OPERATIONS
)
torch.library.register_autograd("spatial_transformers::fused_backward", _refuse, lib=_OPERATIONS)
