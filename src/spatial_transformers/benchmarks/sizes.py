"""Affine maps of all sizes, and maps that read memory in unfriendly orders."""

import math

from .. import Affine
from .rivals import grid_sample
from .warps import CHANNELS_LAST, shown, warp_case

_SHAPES = (
    (1, 1, 8, 8),
    (1, 1, 28, 28),
    (1, 3, 32, 32),
    (1, 64, 14, 14),
    (8, 3, 64, 64),
    (1, 3, 224, 224),
    (1, 256, 56, 56),
    (32, 3, 224, 224),
    (1, 1, 1080, 1920),
    (1, 3, 1080, 1920),
    (1, 3, 4096, 4096),
)
_QUICK = _SHAPES[0], _SHAPES[5]
_LARGE = (1, 3, 1080, 1920)
_SMALL = (135, 240)  # an eighth of `_LARGE`


def _turned(degrees: float, ratio: float) -> tuple[float, ...]:
    """Return θ that turns an image of the ratio width by height without shearing it."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return c, -s / ratio, 0.01, s * ratio, c, 0.02


CASES = (
    *(
        warp_case(f"size-{shown(s)}", Affine(), s, grid_sample(), quick=s in _QUICK)
        for s in _SHAPES
    ),
    warp_case(
        "size-1x3x1080x1920-channels-last", Affine(), _LARGE, grid_sample(), layout=CHANNELS_LAST
    ),
    *(
        warp_case(
            f"turn-{degrees}-1x3x1080x1920",
            Affine(),
            _LARGE,
            grid_sample(),
            theta=_turned(degrees, 1920 / 1080),
        )
        for degrees in (45, 90)
    ),
    warp_case("shrink-8-1x3x1080x1920", Affine(), _LARGE, grid_sample(_SMALL), size=_SMALL),
)
