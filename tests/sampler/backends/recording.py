"""Recording of what the compiled backend is called with and gives, for `driver.cpp` to replay."""

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as File
from typing import BinaryIO

import torch
from torch import Tensor

from .paths import CPU, MAPS, SIZED

BUFFERS = 15
OUTPUTS = (8, 10, 11, 12, 13, 14)  # among them, in the order of `Call`
#: By the numbers that `driver.cpp` gives them. What `stn_stretch` gives, these are given.
FUNCTIONS = ("stn_forward", "stn_backward", "stn_antialias", "stn_antialias_backward")
PADDINGS = ("zeros", "border", "reflection", "renormalise")  # beside those of `SIZED`


@contextmanager
def recorded(file: BinaryIO) -> Iterator[None]:
    """Write every call of the compiled backend to a file."""
    library = CPU._library
    assert library is not None, CPU.missing
    held: list[Tensor | None] = []
    original = dict(library.functions)

    def held_call(function, facts, tensors):
        held[:] = tensors
        type(CPU)._run_compiled(CPU, function, facts, tensors)

    def recording(name):
        def function(call: bytes) -> int:
            before = [None if t is None else contents(t) for t in held]
            failed = original[name](call)
            file.write(struct.pack("=q", FUNCTIONS.index(name)))
            file.write(call[: -8 * (BUFFERS + 1)] + bytes(8 * (BUFFERS + 1)))
            for k, (tensor, was) in enumerate(zip(held, before, strict=True)):
                file.write(struct.pack("=q", -1 if was is None else len(was)))
                file.write((was or b"") + (contents(tensor) if was and k in OUTPUTS else b""))
            return failed

        return function

    CPU._run_compiled = held_call
    library.functions.update({name: recording(name) for name in FUNCTIONS})
    try:
        yield
    finally:
        del CPU._run_compiled
        library.functions.update(original)


def contents(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor that lies in memory without gaps, in their order there."""
    return ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())


def record(file: File, dtypes: tuple[torch.dtype, ...], paths=(*SIZED, *MAPS)) -> None:
    """Write the forward and backward pass of every path to a file."""
    with file.open("wb") as opened, recorded(opened):
        for path in paths:
            for dtype in dtypes:
                path.outcome(path.inputs(dtype))
