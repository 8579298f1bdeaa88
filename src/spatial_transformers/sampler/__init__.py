"""Sampler (section 3.3): (U, T_θ(G)) → V."""

from .kernels import KERNELS as KERNELS
from .kernels import Kernel as Kernel
from .sample import explain as explain
from .sample import sample as sample
from .sample import warp as warp
