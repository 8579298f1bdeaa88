"""Implementations of the sampler, fastest first: the order in which they are tried.

No rule asks for sizes. Of those that `stn bench sizes` sweeps, `cpu` is the fastest but for single
small images; there it is within 10 µs of `grid_sample` in forward (docs/performance.md), and `aten`
would not help, as most of a call is what both have in common.
"""

from ..dispatch import Backend
from .aten import Aten
from .cpu import Cpu
from .cpu.flows import offer_flows
from .cpu.splines import offer_splines
from .fused import Fused, register
from .reference import Reference
from .triton import Triton

BACKENDS: tuple[Backend, ...] = (Cpu(), Triton(), Aten(), Reference())

for _backend in BACKENDS:
    if isinstance(_backend, Fused):
        register(_backend)
    if isinstance(_backend, Cpu):
        offer_splines(_backend)
        offer_flows(_backend)
