"""Other libraries' warps: kornia's, and OpenCV's as the bar for pure inference."""

from collections.abc import Sequence

from .. import Affine, Projective, ThinPlateSpline, Transformation
from .cases import FORWARD, Case, Contender
from .libraries import kornia_plate, kornia_warp, opencv
from .rivals import compiled
from .warps import CHANNELS_LAST, shown, warp_case

_KORNIA = (8, 3, 224, 224)
_PUBLISHED = (32, 3, 256, 256)  # the shape of kornia's own figures, for its compiled warp_affine


def _kornia(name: str, transformation: Transformation, shape: Sequence[int]) -> Case:
    """Return a case of kornia's warp, also compiled."""
    rival = kornia_warp(transformation, shape[2:])
    return warp_case(f"kornia-{name}-{shown(shape)}", transformation, shape, rival, compiled(rival))


def _opencv(shape: Sequence[int], layout: str) -> Case:
    rival: Contender = opencv(Affine(), shape[2:])
    suffix = "-channels-last" if layout else ""
    name = f"opencv-{shown(shape)}{suffix}"
    return warp_case(name, Affine(), shape, rival, layout=layout, passes=(FORWARD,))


_SPLINE = ThinPlateSpline(4)

CASES = (
    _kornia("affine", Affine(), _KORNIA),
    _kornia("affine", Affine(), _PUBLISHED),
    _kornia("projective", Projective(), _KORNIA),
    warp_case("kornia-tps16-8x3x224x224", _SPLINE, _KORNIA, kornia_plate(_SPLINE)),
    _opencv((256, 1, 28, 28), ""),
    _opencv((8, 3, 224, 224), CHANNELS_LAST),
    _opencv((1, 3, 1080, 1920), CHANNELS_LAST),
    _opencv((1, 1, 1080, 1920), ""),
)
