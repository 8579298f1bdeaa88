"""Shapes that spatial transformers are used at, against the lines of PyTorch that they replace."""

from .. import Affine, Projective, ThinPlateSpline
from .cases import Case
from .rivals import basis_matmul, compiled, grid_sample, homography
from .warps import CHANNELS_LAST, shown, warp_case

#: Shape, layout, whether --quick has it, whether its rival is compiled as well.
_AFFINE = (
    ((256, 1, 28, 28), "", True, False),
    ((256, 1, 60, 60), "", False, False),
    ((8, 3, 224, 224), "", True, True),
    ((1, 3, 1080, 1920), "", False, True),
    ((64, 32, 32, 32), "", False, False),
    ((16, 64, 56, 56), "", False, False),
    ((64, 32, 32, 32), CHANNELS_LAST, True, True),
    ((16, 64, 56, 56), CHANNELS_LAST, False, False),
    ((4, 1, 64, 64, 64), "", False, True),
)


def _affine(shape: tuple[int, ...], layout: str, quick: bool, compiles: bool) -> Case:
    suffix = "-channels-last" if layout else ""
    rivals = (grid_sample(), compiled(grid_sample())) if compiles else (grid_sample(),)
    return warp_case(
        f"affine-{shown(shape)}{suffix}",
        Affine(len(shape) - 2),
        shape,
        *rivals,
        layout=layout,
        quick=quick,
    )


_SPLINE = ThinPlateSpline(4)

CASES = (
    *(_affine(*row) for row in _AFFINE),
    warp_case("projective-8x3x224x224", Projective(), (8, 3, 224, 224), homography((224, 224))),
    warp_case("tps16-64x1x28x28", _SPLINE, (64, 1, 28, 28), basis_matmul(_SPLINE, (28, 28))),
)
