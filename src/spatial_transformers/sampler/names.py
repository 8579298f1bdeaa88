"""The sampler's names: of kernels, of paddings, of gradients and of backends.

Editors offer them and type checkers know them; what is checked at run time is read from here.
"""

from typing import Literal, TypeAlias

Mode: TypeAlias = Literal[
    "nearest",
    "bilinear",
    "bicubic",
    "mitchell",
    "lanczos2",
    "lanczos3",
    "lanczos5",
    "bspline0",
    "bspline1",
    "bspline2",
    "bspline3",
    "bspline4",
    "bspline5",
    "bspline6",
    "bspline7",
    "gaussian",
]
PaddingName: TypeAlias = Literal["zeros", "constant", "border", "reflection", "wrap", "renormalise"]
Gradient: TypeAlias = Literal["exact", "straight-through", "linearized", "multi-scale"]
BackendName: TypeAlias = Literal["cpu", "triton", "aten", "reference"]
