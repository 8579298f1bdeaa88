"""What surrounds a call: a tracer, a functorch transform, autocast.

All of it is plain Python on static facts, so that it costs little and traces under
`torch.compile(fullgraph=True)`.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ._errors import InputError

Context = Literal["eager", "compile", "export", "transform"]
STEPS = ("eager", "compile")  # where training takes its steps

# `torch.jit.trace` warns of every branch on a size. Those of this package check sizes, or tell one
# image or pixel from several, as torch's own do, for which it ignores such warnings alike.
_Branches = torch.jit.TracerWarning  # pyright: ignore
warnings.filterwarnings("ignore", category=_Branches, module=rf"{__package__}\.")

_dispatch_modes = torch._C._len_torch_dispatch_stack  # pyright: ignore
_without_dispatch = torch._C._disabled_torch_dispatch_impl  # pyright: ignore
#: Modes in which tensors have no values, or in which operations are recorded to run again.
_RECORDERS = tuple(getattr(torch._C._TorchDispatchModeKey, key) for key in ("FAKE", "PROXY"))  # pyright: ignore


def context(*tensors: Tensor) -> Context:
    """Say who runs the code on tensors: Python, a compiler, an exporter or a functorch transform.

    A transform that is compiled is a transform: what it differentiates or maps must know how. Who
    records operations, or gives tensors without values, is a compiler.
    """
    if torch.compiler.is_exporting() or is_traced():
        return "export"
    if torch._C._functorch.get_dynamic_layer_stack_depth() > 0:  # pyright: ignore
        return "transform"
    if torch.compiler.is_compiling() or (tensors and _recorded(tensors)):
        return "compile"
    return "transform" if forward_ad._current_level >= 0 else "eager"


def is_traced() -> bool:
    """Say whether `torch.jit.trace` runs the code, to which sizes are tensors."""
    return torch.jit.is_tracing()  # pyright: ignore


def _recorded(tensors: tuple[Tensor, ...]) -> bool:
    for tensor in tensors:
        kind: Any = type(tensor)
        if kind is Tensor or kind.__torch_dispatch__ is _without_dispatch:
            if tensor.is_meta:
                return True
        else:  # a subclass that sees every operation, as that of fake tensors
            return True
    return _dispatch_modes() > 0 and any(map(torch._C._get_dispatch_mode, _RECORDERS))  # pyright: ignore


class Fixed:
    """A number of a module that compilers take for a constant.

    With `dynamic=True` they take floats for inputs, and compile everything once more where one
    decides something. What is written as digits is fixed.
    """

    def __init__(self, number: float):
        self._digits = repr(float(number))

    @property
    def value(self) -> float:
        """The number."""
        return float(self._digits)


def at_least(number: Any, least: float) -> Any:
    """Return the larger of two numbers, of which the first may depend on a size.

    `max` would fix the image's size in exported graphs. To `torch.jit.trace` sizes are tensors.
    """
    return number.clamp(min=least) if isinstance(number, Tensor) else torch.sym_max(number, least)


def autocasts(device: torch.device) -> bool:
    """Say whether autocast converts tensors of a device."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Keep autocast from lowering the precision of θ and of coordinates."""
    if autocasts(device):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def at_least_float32(tensor: Tensor) -> Tensor:
    """Widen half precision, whose rounding moves the edge of a 224-pixel image by 0.4 pixel."""
    if tensor.dtype in (torch.float32, torch.float64):  # `to` would take a microsecond for nothing
        return tensor
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def refuse_samples(bad: Tensor, message: str) -> None:
    """Refuse a batch in which `bad` (N,) holds, naming the samples where `message` has {}.

    Only in eager: reading values would break a trace.

    Raises:
        InputError: with that message.

    """
    if context(bad) == "eager" and bad.any():
        samples = bad.nonzero().flatten().tolist()
        named = ", ".join(map(str, samples[:8])) + (", …" if len(samples) > 8 else "")
        raise InputError(message.replace("{}", f"sample {named} of the batch"))
