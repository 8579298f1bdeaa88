"""B-splines with their prefilter, against torch-interpol."""

from .. import Affine
from .libraries import interpol
from .warps import warp_case

CASES = tuple(
    warp_case(
        f"bspline{order}-8x3x224x224",
        Affine(),
        (8, 3, 224, 224),
        interpol(order),
        mode=f"bspline{order}",
        margin=48,
    )
    for order in (3, 5, 7)
)
