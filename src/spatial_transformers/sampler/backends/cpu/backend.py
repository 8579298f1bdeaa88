"""Compiled C++ (`csrc/`), through a plain C interface: fused, vectorised, deterministic.

The library is built at install where there is a compiler. It holds its code for several instruction
sets and takes the best that the machine has, runs in PyTorch's own threads, and cuts its work by
sizes only, so that results do not depend on the number of threads.
"""

import ctypes
import struct
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...._context import at_least_float32
from ....grid.regular import pixel_frame
from ...dispatch import Spec
from ...kernels import KERNELS
from ...prefilter import coefficients
from ...target import joint_batch
from ..fused import Fused, Gradients, Plan, regular
from .tables import AxisFilter, axis_filter, poles, tables

_ABI = 4  # of csrc/call.h
_FAILURES = {1: "out of memory", 2: "compiled for another version; install the package anew"}
_TORCH = "libtorch_cpu.dylib" if sys.platform == "darwin" else "libtorch_cpu.so"
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_PADDINGS = ("zeros", "constant", "border", "reflection", "wrap", "renormalise")
_FORMS = {"matrix": 0, "perspective": 1, "normalised": 2, "pixels": 2}
# `Call`: whole numbers, numbers; addresses
_FACTS, _ADDRESSES = struct.Struct("=31q28d"), struct.Struct("=14Q")
_FILTER = struct.Struct("=10q4d6Q")
_FLOW_HEAD, _FLOW_ADDRESSES = struct.Struct("=3q"), struct.Struct("=7Q")
_NOT_FINITE = 3  # what `stn_filter` gives then
_NARROWEST = {False: 0.35, True: 0.5}  # Gaussian that polynomials follow; True: float64


class Cpu(Fused):
    """Fused C++ on the CPU."""

    name = "cpu"
    device = "cpu"
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
    ) -> Tensor:
        """Run the forward pass; see `Fused.forward`."""
        weighed = self._weighed(plan, image)
        values, dtype = weighed.values, weighed.values.dtype
        shape = (joint_batch(image, coordinates), image.shape[1], *plan.size)
        output = torch.empty(shape, dtype=dtype, device=image.device, memory_format=weighed.layout)
        fill = None if fill is None else fill.to(dtype)
        self._call("stn_forward", plan, weighed, (values, coordinates, functions, fill), output)
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
    ) -> Gradients:
        """Run the backward pass; see `Fused.backward`."""
        weighed = self._weighed(plan, image)
        layout, dtype = weighed.layout, weighed.values.dtype
        fill = None if fill is None else fill.to(dtype)
        inputs = (weighed.values, coordinates, functions, fill)
        empty = 0 in (*image.shape[:2], coordinates.shape[0])  # then nothing is written
        layouts = (layout, *[torch.contiguous_format] * 3)
        computed = (needed[0], needed[1] or needed[2], *needed[2:])  # B's comes with that of M_θ
        makers = (torch.zeros_like if empty else torch.empty_like, *[torch.zeros_like] * 3)
        grads = [
            make(t, dtype=coordinates.dtype, memory_format=to) if need and t is not None else None
            for make, t, need, to in zip(makers, inputs, computed, layouts, strict=True)
        ]
        grad = grad.to(dtype).contiguous(memory_format=layout)
        self._call("stn_backward", plan, weighed, inputs, None, grad, *grads)
        if grads[0] is not None and weighed.axes and not empty:
            grads[0] = self._unfiltered(plan, weighed, grads[0])
        return tuple(g if need else None for g, need in zip(grads, needed, strict=True))

    def _call(
        self,
        function: str,
        plan: Plan,
        weighed: "_Weighed",
        inputs: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
        *outputs: Tensor | None,
    ) -> None:
        image, coordinates, functions, _ = inputs
        if 0 in image.shape[:2] or coordinates.shape[0] == 0:
            return
        count = 0 if functions is None else functions.shape[0]
        margins, taps = tuple(weighed.margins), KERNELS[plan.mode].count
        looked_up: list[Tensor | None] = [None] * 3
        if taps > 2:
            looked_up[:] = tables(plan, image.shape[:1:-1], margins, image.dtype == torch.float64)
        terms = 0 if looked_up[0] is None else looked_up[0].numel() // taps
        last = weighed.layout != torch.contiguous_format
        facts = _facts(
            plan,
            self.isa,
            *(image.dtype, image.shape, coordinates.shape, count, last),
            *(margins, terms),
        )
        packed = [None if t is None else t.contiguous() for t in inputs[1:]]
        outputs = (*outputs, *[None] * (6 - len(outputs)))
        self._run_compiled(function, facts, (image, *packed, *looked_up, *outputs))

    def _run_compiled(self, function: str, facts: bytes, tensors: Sequence[Tensor | None]) -> None:
        addresses = [0 if t is None else _address(t) for t in tensors]
        library = self._library
        assert library is not None, self.missing
        call = facts + _ADDRESSES.pack(*addresses, library.parallel_for)
        failed = library.functions[function](call)
        if failed:
            raise RuntimeError(f"the cpu backend: {_FAILURES.get(failed, f'error {failed}')}")

    def follow(self, precise: bool, facts: bytes, tensors: Sequence[Tensor | None]) -> None:
        """Run `stn_flow`, given the rest of its facts, and five tensors."""
        library = self._library
        assert library is not None, self.missing
        addresses = [0 if t is None else _address(t) for t in tensors]
        failed = library.functions["stn_flow"](
            _FLOW_HEAD.pack(_ABI, self.isa, precise)
            + facts
            + _FLOW_ADDRESSES.pack(*addresses, 0, library.parallel_for)
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
        call = _FILTER.pack(
            *(_ABI, self.isa, pixels.dtype == torch.float64, transposed),
            *(pixels.numel() // (inner * length), length, length + 2 * axis.margin, inner),
            *(len(axis.read), len(found), *_padded(found, 4)),
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
    if found != (_ABI, _FACTS.size + _ADDRESSES.size):
        return f"its library has interface {found[0]}, not {_ABI}: install the package anew"
    library.stn_isa_name.restype, library.stn_isa_name.argtypes = ctypes.c_char_p, [ctypes.c_int64]
    functions = {}
    for name in ("stn_forward", "stn_backward", "stn_filter", "stn_flow"):
        functions[name] = getattr(library, name)
        functions[name].argtypes, functions[name].restype = [ctypes.c_char_p], ctypes.c_int32
    names = (library.stn_isa_name(k) for k in range(8))
    return _Library(functions, parallel_for or 0, [n.decode() for n in names if n])


@lru_cache(maxsize=4096)
def _facts(
    plan: Plan,
    isa: int,
    dtype: torch.dtype,
    image: Sequence[int],
    coordinates: Sequence[int],
    functions: int,
    last: bool,
    margins: Sequence[int],
    terms: int,
) -> bytes:
    """Pack what does not change between calls of the same shapes."""
    stored, form = image[2:], _FORMS[plan.form]
    source = [n - 2 * m for n, m in zip(stored, margins[::-1], strict=True)]
    columns = 0 if form == 2 else coordinates[2]
    factors = [] if form == 2 else plan.factors(source, columns)
    kernel = KERNELS[plan.mode]
    return _FACTS.pack(
        *(_ABI, isa, _DTYPES.index(dtype), len(source), kernel.count),
        *(_PADDINGS.index(plan.padding_mode), plan.align_corners, form),
        *(max(image[0], coordinates[0]), image[1]),
        *_padded(stored[::-1], 3, 1),
        *_padded(plan.size[::-1], 3, 1),
        *_strides(image[1], prod(stored), last),
        *_strides(image[1], prod(plan.size), last),
        *(image[0], coordinates[0], columns, functions),
        *(max(0, terms - 2) // 2 - 1, *_padded(margins, 3), kernel.inverse_filter is None),
        *_padded([f for row in factors for f in _padded(row[: len(source)], 3)], 12),
        *_padded([row[-1] for row in factors], 4),
        *_padded(pixel_frame(source, plan.align_corners).centre, 3),
        *_padded([u for axis in plan.units(source) for u in axis], 9),
    )


def _strides(channels: int, points: int, last: bool) -> tuple[int, int, int]:
    return channels * points, 1 if last else points, channels if last else 1


def _padded(numbers: Sequence[float], count: int, rest: float = 0) -> list[float]:
    return [*numbers, *[rest] * (count - len(numbers))]
