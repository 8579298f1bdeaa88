"""Splines on lattices at points, as `grid/numerics/spline.py` asks for them, in compiled code.

A cubic B-spline of given coefficients is Mitchell's kernel with B = 1 and C = 0: no prefilter.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from ....grid.numerics.compiled import SPLINES
from ...autograd import Operator, run
from ..fused import Gradients, Plan
from .backend import Cpu

_KERNELS: dict[int, tuple[str, tuple[float, ...]]] = {
    1: ("bilinear", ()),
    3: ("mitchell", (1.0, 0.0)),
}


def offer_splines(backend: Cpu) -> None:
    """Let velocity fields and lattices run a backend, if its library was loaded."""
    if not backend.missing:
        SPLINES[backend.device] = _Splines(backend)


class _Splines:
    def __init__(self, backend: Cpu):
        self.backend = backend

    def __call__(
        self,
        coefficients: Tensor,
        places: Tensor,
        degree: int,
        reference: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        mode, phi = _KERNELS[degree]
        # no node beyond the lattice has a weight; padding by the border would flatten its ends
        plan = Plan(tuple(places.shape[1:-1]), mode, "zeros", False, "pixels", phi)

        def forward(coefficients: Tensor, places: Tensor) -> Tensor:
            return self.backend.forward(plan, coefficients, places, None, None, None)

        def backward(
            grad: Tensor, needed: Sequence[bool], coefficients: Tensor, places: Tensor
        ) -> Gradients:
            rest = (None, None, None)  # functions, fill and stretch
            needed = (*needed, *(False for _ in rest))
            return self.backend.backward(plan, grad, needed, coefficients, places, *rest)[:2]

        return run(Operator(forward, backward, reference), coefficients, places)
