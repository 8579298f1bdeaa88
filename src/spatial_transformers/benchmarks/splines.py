"""B-splines with their prefilter, against torch-interpol."""

from .. import Affine
from ..sampler.names import Mode
from .libraries import interpol
from .warps import warp_case

_MODES: dict[int, Mode] = {3: "bspline3", 5: "bspline5", 7: "bspline7"}

CASES = tuple(
    warp_case(
        f"{mode}-8x3x224x224",
        Affine(),
        (8, 3, 224, 224),
        interpol(order),
        mode=mode,
        margin=48,
    )
    for order, mode in _MODES.items()
)
