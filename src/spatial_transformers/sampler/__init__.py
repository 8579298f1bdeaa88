"""Sampler (section 3.3): (U, T_θ(G)) → V."""

from .kernels import KERNELS as KERNELS
from .kernels import Kernel as Kernel
from .lines import warp_lines as warp_lines
from .sampler import Sampler as Sampler
from .sampler import explain as explain
from .sampler import sample as sample
from .sampler import warp as warp
