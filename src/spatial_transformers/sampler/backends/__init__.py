"""Implementations of the sampler, fastest first: the order in which they are tried."""

from ..dispatch import Backend
from .aten import Aten
from .cpu import Cpu
from .fused import Fused, register
from .reference import Reference
from .triton import Triton

BACKENDS: tuple[Backend, ...] = (Cpu(), Triton(), Aten(), Reference())

for backend in BACKENDS:
    if isinstance(backend, Fused):
        register(backend)
