"""Sampler (section 3.3): (U, T_θ(G)) → V."""

from .sample import explain as explain
from .sample import sample as sample
from .sample import warp as warp
