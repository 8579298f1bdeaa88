"""What lies outside the image, for pixel coordinates along one axis.

    zeros       0 0 0 | a b c d | 0 0 0        constant    f f f | a b c d | f f f
    border      a a a | a b c d | d d d        reflection  c b a | a b c d | d c b   (pixel centres)
                                                           d c b | a b c d | c b a   (align_corners)

`zeros` and `constant` replace the pixels outside; `border` and `reflection` move the coordinate
inside before sampling. At the border pixels' centres and beyond, `border` has slope 0, as in
`grid_sample`: it cannot bring a lost crop back.
"""

from torch import Tensor

FILLING = ("zeros", "constant")
PADDING_MODES = (*FILLING, "border", "reflection")


def move_inside(x: Tensor, length: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Return the coordinate to sample in place of x, on an axis of `length` pixels."""
    if padding_mode in FILLING:
        return x
    if padding_mode == "reflection":
        low, span = (0.0, length - 1) if align_corners else (-0.5, length)
        x = _reflect(x, low, span)
    return _clip(x, length - 1)


def _clip(x: Tensor, last: int) -> Tensor:
    """Clip to [0, last], with slope 0 from the ends on (`clamp` has slope 1 at them)."""
    return x.where((x > 0) & (x < last), x.detach().clamp(0, last))


def _reflect(x: Tensor, low: float, span: float) -> Tensor:
    """Fold the axis at `low` and at `low + span`."""
    if span == 0:
        return x * 0
    distance = (x - low).abs()
    folds = (distance / span).floor().detach()
    rest = distance - folds * span
    return (span - rest).where(folds % 2 == 1, rest) + low
