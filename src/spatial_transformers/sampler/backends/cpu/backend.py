"""Compiled C++ (`csrc/`), through a plain C interface: fused, vectorised, deterministic.

The library is built at install where there is a compiler. It holds its code for several instruction
sets and takes the best that the machine has, runs in PyTorch's own threads, and cuts its work by
sizes only, so that results do not depend on the number of threads.
"""

import ctypes
import sys
from collections.abc import Sequence
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...._context import at_least_float32
from ...dispatch import Spec
from ...kernels import KERNELS
from ...prefilter import coefficients
from ...target import joint_batch
from ..fused import Fused, Gradients, Plan, regular
from .call import ABI, ADDRESSES, FACTS, FILTER, FLOW_ADDRESSES, FLOW_HEAD, STRETCH, facts, padded
from .tables import AxisFilter, axis_filter, poles, tables

_FAILURES = {1: "out of memory", 2: "compiled for another version; install the package anew"}
_TORCH = "libtorch_cpu.dylib" if sys.platform == "darwin" else "libtorch_cpu.so"
_WIDENING = ("stn_stretch", "stn_antialias", "stn_antialias_backward")
_FUNCTIONS = ("stn_forward", "stn_backward", "stn_filter", "stn_flow", *_WIDENING)
_NOT_FINITE = 3  # what `stn_filter` gives then
_NARROWEST = {False: 0.35, True: 0.5}  # Gaussian that polynomials follow; True: float64


class Cpu(Fused):
    """Fused C++ on the CPU."""

    name = "cpu"
    device = "cpu"
    antialiases = True
    #: Why the library was not loaded; empty if it was.
    missing: str
    #: Which of `instruction_sets()` runs; -1: the best one.
    isa: int = -1

    def __init__(self, folder: Path | None = None):
        """Load the library of a folder, by default the package's, or keep the reason why not."""
        found = _load(Path(str(files(__name__.rpartition(".")[0]))) if folder is None else folder)
        self._library = None if isinstance(found, str) else found
        self.missing = found if isinstance(found, str) else ""

    def why_not(self, spec: Spec) -> list[str]:
        """Return the reasons against this backend."""
        reasons = super().why_not(spec)
        return [*reasons, self.missing] if self.missing else reasons

    def instruction_sets(self) -> list[str]:
        """Return the names of those that are compiled and that this machine has, the best last."""
        return [] if self._library is None else self._library.instruction_sets

    def why_not_kernel(self, spec: Spec) -> list[str]:
        """Return the reasons against the kernel."""
        kernel, named = spec.kernel, KERNELS.get(spec.mode)
        if named is None or kernel.weight is not named.weight or kernel.count != named.count:
            return ["its kernels are those that have a name"]
        if isinstance(kernel.phi, Tensor):
            return ["it takes Φ as numbers only"]
        if kernel.inverse_filter is not None and spec.padding_mode == "renormalise":
            return ["it has no prefilter with renormalise, which divides by small differences"]
        if spec.mode == "gaussian" and kernel is not named:  # compilers guard Φ if it is compared
            precise = spec.dtype == torch.float64 or spec.padding_mode == "renormalise"
            narrowest = _NARROWEST[precise]
            if kernel.phi[0] < narrowest:
                return [f"it has no gaussian narrower than {narrowest} pixels"]
        return []

    def forward(
        self,
        plan: Plan,
        image: Tensor,
        coordinates: Tensor,
        functions: Tensor | None,
        fill: Tensor | None,
        stretch: Tensor | None,
    ) -> Tensor:
        """Run the forward pass; see `Fused.forward`."""
        if plan.max_shrink is not None:
            return self._widened(plan, image, coordinates, functions, fill, stretch)
        weighed = self._weighed(plan, image)
        values, dtype = weighed.values, weighed.values.dtype
        shape = (joint_batch(image, coordinates), image.shape[1], *plan.size)
        output = torch.empty(shape, dtype=dtype, device=image.device, memory_format=weighed.layout)
        fill = None if fill is None else fill.to(dtype)
        inputs = (values, coordinates, functions, fill, None)
        self._call("stn_forward", plan, weighed, inputs, output)
        return output.to(image.dtype)

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
        """Run the backward pass; see `Fused.backward`."""
        if plan.max_shrink is not None:
            tensors = (image, coordinates, functions, fill, stretch)
            return self._widened_backward(plan, grad, needed, *tensors)
        weighed = self._weighed(plan, image)
        layout, dtype = weighed.layout, weighed.values.dtype
        fill = None if fill is None else fill.to(dtype)
        inputs = (weighed.values, coordinates, functions, fill, None)
        empty = 0 in (*image.shape[:2], coordinates.shape[0])  # then nothing is written
        layouts = (layout, *[torch.contiguous_format] * 4)
        computed = (needed[0], needed[1] or needed[2], *needed[2:])  # B's comes with that of M_θ
        makers = (torch.zeros_like if empty else torch.empty_like, *[torch.zeros_like] * 4)
        grads = [
            make(t, dtype=coordinates.dtype, memory_format=to) if need and t is not None else None
            for make, t, need, to in zip(makers, inputs, computed, layouts, strict=True)
        ]
        grad = grad.to(dtype).contiguous(memory_format=layout)
        self._call("stn_backward", plan, weighed, inputs, None, grad, *grads)
        if grads[0] is not None and weighed.axes:
            grads[0] = self._unfiltered(plan, weighed, grads[0])
        return tuple(g if need else None for g, need in zip(grads, needed, strict=True))

    def _widened(
        self,
        plan: Plan,
        image: Tensor,
        coordinates: Tensor,
        functions: Tensor | None,
        fill: Tensor | None,
        stretch: Tensor | None,
    ) -> Tensor:
        """Run the forward pass of kernels that widen, and a plain one for points without."""
        plain, dtype = plan._replace(max_shrink=None), coordinates.dtype
        stretched = self._stretched(plan, image, coordinates, stretch)
        if not stretched.some:
            return self.forward(plain, image, coordinates, functions, fill, None)
        weighed = self._weighed(plan, image)
        if stretched.every:
            shape = (joint_batch(image, coordinates), image.shape[1], *plan.size)
            output = torch.empty(shape, dtype=dtype)
        else:
            output = self.forward(plain, image, coordinates, functions, fill, None)
            output = output.to(dtype).contiguous()
        own = None if fill is None else fill.to(dtype)
        planes = weighed.in_planes(dtype)
        inputs = (planes.values, coordinates, functions, own, stretched.table)
        self._call("stn_antialias", plan, planes, inputs, output)
        return output.to(image.dtype).contiguous(memory_format=weighed.layout)

    def _widened_backward(
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
        """Run the backward pass, and a plain one of the points whose kernels are not widened."""
        plain, dtype = plan._replace(max_shrink=None), coordinates.dtype
        stretched = self._stretched(plan, image, coordinates, stretch)
        rest: Gradients = (None,) * 5
        if not stretched.every:
            masked = grad.masked_fill(stretched.shrinks, 0) if stretched.some else grad
            tensors = (image, coordinates, functions, fill, None)
            rest = self.backward(plain, masked, (*needed[:4], False), *tensors)
        if not stretched.some:
            none = torch.zeros_like(stretch) if needed[4] and stretch is not None else None
            return *rest[:4], none
        weighed = self._weighed(plan, image)
        planes, own = weighed.in_planes(dtype), None if fill is None else fill.to(dtype)
        inputs = (planes.values, coordinates, functions, own, stretched.table)
        computed = (needed[0], needed[1] or needed[2] or needed[4], *needed[2:])
        grads = [
            torch.zeros_like(t, dtype=dtype, memory_format=torch.contiguous_format)
            if need and t is not None
            else None
            for t, need in zip(inputs, computed, strict=True)
        ]
        grad = grad.to(dtype).contiguous()
        self._call("stn_antialias_backward", plan, planes, inputs, None, grad, *grads)
        if grads[0] is not None:
            grads[0] = grads[0].contiguous(memory_format=weighed.layout)
            if weighed.axes:
                grads[0] = self._unfiltered(plan, weighed, grads[0])
        pairs = zip(rest, grads, needed, strict=True)
        return tuple((b if a is None or b is None else a + b) if n else None for a, b, n in pairs)

    def _stretched(
        self, plan: Plan, image: Tensor, coordinates: Tensor, stretch: Tensor | None
    ) -> "_Stretched":
        """Return where kernels widen, and how far: of affine maps as `stn_stretch` finds it."""
        shape = (-1, *[1] * (image.ndim - 1))
        table = stretch
        if stretch is None:
            table = coordinates.new_zeros(len(coordinates), STRETCH, dtype=torch.float64)
            inputs = (image, coordinates, None, None, table)
            weighed = _Weighed(image, torch.contiguous_format, [0] * (image.ndim - 2))
            self._call("stn_stretch", plan, weighed, inputs)
            shrinks = (table[:, 0] != 0).view(shape)
        else:
            shrinks = (stretch[:, 0] != 0).view(shape[0], 1, *plan.size)
        some = bool(shrinks.any())
        return _Stretched(table, shrinks, some, some and bool(shrinks.all()))

    def _call(
        self,
        function: str,
        plan: Plan,
        weighed: "_Weighed",
        inputs: tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None],
        *outputs: Tensor | None,
    ) -> None:
        image, coordinates, functions = inputs[:3]
        if 0 in image.shape[:2] or coordinates.shape[0] == 0:
            return
        count = 0 if functions is None else functions.shape[0]
        margins = tuple(weighed.margins)
        dtype = image.dtype if plan.max_shrink is None else coordinates.dtype
        looked_up = tables(plan, image.shape[:1:-1], margins, dtype == torch.float64)
        last = weighed.layout != torch.contiguous_format
        packed_facts = facts(
            plan,
            self.isa,
            *(dtype, image.shape, coordinates.shape, count, last),
            *(margins, looked_up.degree),
        )
        packed = [None if t is None else t.contiguous() for t in inputs[1:]]
        outputs = (*outputs, *[None] * (7 - len(outputs)))
        tensors = (image, *packed[:3], *looked_up[:3], packed[3], *outputs)
        self._run_compiled(function, packed_facts, tensors)

    def _run_compiled(self, function: str, facts: bytes, tensors: Sequence[Tensor | None]) -> None:
        addresses = [0 if t is None else _address(t) for t in tensors]
        library = self._library
        assert library is not None, self.missing
        call = facts + ADDRESSES.pack(*addresses, library.parallel_for)
        failed = library.functions[function](call)
        if failed:
            raise RuntimeError(f"the cpu backend: {_FAILURES.get(failed, f'error {failed}')}")

    def follow(self, precise: bool, facts: bytes, tensors: Sequence[Tensor | None]) -> None:
        """Run `stn_flow`, given the rest of its facts, and five tensors."""
        library = self._library
        assert library is not None, self.missing
        addresses = [0 if t is None else _address(t) for t in tensors]
        failed = library.functions["stn_flow"](
            FLOW_HEAD.pack(ABI, self.isa, precise)
            + facts
            + FLOW_ADDRESSES.pack(*addresses, 0, library.parallel_for)
        )
        if failed:
            raise RuntimeError(f"the cpu backend: {_FAILURES.get(failed, f'error {failed}')}")

    def _weighed(self, plan: Plan, image: Tensor) -> "_Weighed":
        """Return what the kernel weighs; by the reference's prefilter, if a pixel is not finite."""
        image, layout = regular(image)
        if KERNELS[plan.mode].inverse_filter is None:
            return _Weighed(image, layout, [0] * (image.ndim - 2))
        image = at_least_float32(image.detach())
        axes = [
            axis_filter(plan.mode, plan.padding_mode, plan.align_corners, length, image.dtype)
            for length in image.shape[:1:-1]
        ]
        margins, values, finite = [axis.margin for axis in axes], image, True
        for k, axis in enumerate(axes):
            shape = [*values.shape]
            shape[-1 - k] += 2 * axis.margin
            filtered = torch.empty(shape, dtype=image.dtype, memory_format=layout)
            finite &= self._filter(plan.mode, axis, -1 - k, values, filtered)
            values = filtered
        if finite:
            return _Weighed(values, layout, margins, axes)
        with torch.enable_grad():
            image = image.requires_grad_()
            paddings = [plan.padding_mode] * len(axes)
            found = coefficients(
                image, KERNELS[plan.mode], paddings, plan.align_corners, finite=False
            )
            values = found.values.contiguous(memory_format=layout)
        return _Weighed(values, layout, margins, axes, image)

    def _unfiltered(self, plan: Plan, weighed: "_Weighed", grad: Tensor) -> Tensor:
        """Return the gradient to the image of that to what the kernel weighs."""
        if weighed.image is not None:
            return torch.autograd.grad(weighed.values, weighed.image, grad)[0]
        for k, axis in reversed([*enumerate(weighed.axes)]):
            shape = [*grad.shape]
            shape[-1 - k] -= 2 * axis.margin
            found = torch.empty(shape, dtype=grad.dtype, memory_format=weighed.layout).zero_()
            self._filter(plan.mode, axis, -1 - k, found, grad, transposed=True)
            grad = found
        return grad

    def _filter(
        self,
        mode: str,
        axis: AxisFilter,
        dim: int,
        pixels: Tensor,
        filtered: Tensor,
        transposed: bool = False,
    ) -> bool:
        """Filter along an axis, or back with `transposed`; whether all of the result is finite."""
        library = self._library
        assert library is not None, self.missing
        if pixels.numel() == 0:
            return True
        length, inner = pixels.shape[dim], prod(pixels.shape[pixels.ndim + dim + 1 :])
        inner *= 1 if pixels.is_contiguous() else pixels.shape[1]  # channels last
        given, to = (filtered, pixels) if transposed else (pixels, filtered)
        found = poles(mode)
        call = FILTER.pack(
            *(ABI, self.isa, pixels.dtype == torch.float64, transposed),
            *(pixels.numel() // (inner * length), length, length + 2 * axis.margin, inner),
            *(len(axis.read), len(found), *padded(found, 4)),
            *map(_address, (axis.read, axis.written, given, to)),
            *(0, library.parallel_for),
        )
        failed = library.functions["stn_filter"](call)
        if failed not in (0, _NOT_FINITE):
            raise RuntimeError(f"the cpu backend: {_FAILURES.get(failed, f'error {failed}')}")
        return failed == 0


class _Weighed(NamedTuple):
    """What a kernel weighs: the image, or the coefficients that its prefilter makes of it."""

    values: Tensor
    layout: torch.memory_format
    margins: Sequence[int]  # x first
    axes: Sequence[AxisFilter] = ()  # of the prefilter, x first
    image: Tensor | None = None  # for autograd, where it does the work

    def in_planes(self, dtype: torch.dtype) -> "_Weighed":
        """Return the same as planes of a dtype."""
        return self._replace(
            values=self.values.detach().to(dtype).contiguous(), layout=torch.contiguous_format
        )


class _Stretched(NamedTuple):
    """Which points have kernels that widen."""

    table: Tensor | None  # `stretch_data` of `Call`
    shrinks: Tensor  # broadcasts with the output
    some: bool
    every: bool


def _address(tensor: Tensor) -> int:
    address = tensor.data_ptr()
    if address == 0 and tensor.numel():
        raise RuntimeError("the cpu backend was given tensors without memory, such as fake ones")
    return address


class _Library(NamedTuple):
    functions: dict[str, Any]
    parallel_for: int  # the address of PyTorch's
    instruction_sets: list[str]


def _load(folder: Path) -> _Library | str:
    """Load the compiled library, or say why there is none."""
    path = folder / "libspatial_transformers.so"
    if not path.exists():
        reason = folder / "cpu_missing.txt"
        why = reason.read_text().strip() if reason.is_file() else "install the package to build it"
        return f"its library was not compiled: {why}"
    try:
        library = ctypes.CDLL(str(path))
        torch_cpu = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / _TORCH))
        parallel_for = ctypes.cast(torch_cpu.torch_parallel_for, ctypes.c_void_p).value
        library.stn_abi.restype = library.stn_call_size.restype = ctypes.c_int64
    except (OSError, AttributeError) as error:
        return f"its library cannot be loaded: {error}"
    found = library.stn_abi(), library.stn_call_size()
    if found != (ABI, FACTS.size + ADDRESSES.size):
        return f"its library has interface {found[0]}, not {ABI}: install the package anew"
    library.stn_isa_name.restype, library.stn_isa_name.argtypes = ctypes.c_char_p, [ctypes.c_int64]
    functions = {}
    for name in _FUNCTIONS:
        functions[name] = getattr(library, name)
        functions[name].argtypes, functions[name].restype = [ctypes.c_char_p], ctypes.c_int32
    names = (library.stn_isa_name(k) for k in range(8))
    return _Library(functions, parallel_for or 0, [n.decode() for n in names if n])
