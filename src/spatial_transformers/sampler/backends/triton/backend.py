"""Triton kernels for CUDA: grid and sampler in one, forward and backward (eqs. 1 to 7).

No grid is stored for M_θ B, channels-last images are read as they lie, and gradients to θ, to
points, to functions and to the fill are the same from run to run. So is the gradient to the image
where `torch.use_deterministic_algorithms(True)` is set: it is summed in whole numbers, whose order
does not matter, and `fixed.py` says how precise they are. They cost another pass over the output's
gradient, and 8 bytes per pixel (float64: 16).

Only the gradient to learned functions keeps numbers per point: those of its rows of M_θ B.

With `TRITON_INTERPRET=1` in the environment, Triton's interpreter runs the kernels on the CPU.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from ...dispatch import Spec
from ..fused import Fused, Gradients, Plan
from . import launch

_INSTALLED = find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_OLDEST = (7, 0)  # compute capability: Triton builds for no older one


class Triton(Fused):
    """Fused CUDA kernels."""

    name = "triton"
    device = "cuda"

    def why_not(self, spec: Spec) -> list[str]:
        """Return the reasons against this backend."""
        reasons = super().why_not(spec)
        if spec.device == "cpu" and _INTERPRETED:
            reasons.remove(f"it runs on {self.device} only")
        if not _INSTALLED:
            reasons.append("Triton is not installed")
        if spec.device == "cuda" and spec.context == "eager" and torch.cuda.is_available():
            found = torch.cuda.get_device_capability()
            if found < _OLDEST:
                reasons.append("it needs compute capability 7.0, found {}.{}".format(*found))
        return reasons

    def forward(
        self,
        plan: Plan,
        image: Tensor,
        coordinates: Tensor,
        functions: Tensor | None,
        fill: Tensor | None,
        stretch: Tensor | None,
    ) -> Tensor:
        """Return V; see `Fused.forward`. It does not antialias, and so has no stretch."""
        del stretch
        return launch.forward(plan, image, coordinates, functions, fill)

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
        """Return the vector–Jacobian products; see `Fused.backward`."""
        del stretch
        exact = torch.are_deterministic_algorithms_enabled()
        inputs = (image, coordinates, functions, fill)
        return *launch.backward(plan, grad, needed[:4], *inputs, exact=exact), None
