"""What surrounds a call: a tracer, a functorch transform, autocast.

All of it is plain Python on static facts, so that it costs little and traces under
`torch.compile(fullgraph=True)`.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ._types import InputError

Context = Literal["eager", "compile", "export", "transform"]


def context() -> Context:
    """Say who runs the code: Python, a compiler, an exporter or a functorch transform."""
    if torch.compiler.is_exporting() or torch.jit.is_tracing():  # pyright: ignore
        return "export"
    if torch.compiler.is_compiling():
        return "compile"
    functorch = torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore
    if functorch or forward_ad._current_level >= 0:
        return "transform"
    return "eager"


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Keep autocast from lowering the precision of θ and of coordinates."""
    if device.type != "meta" and torch.is_autocast_enabled(device.type):
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
    if context() == "eager" and bad.any():
        samples = bad.nonzero().flatten().tolist()
        named = ", ".join(map(str, samples[:8])) + (", …" if len(samples) > 8 else "")
        raise InputError(message.replace("{}", f"sample {named} of the batch"))
