"""What lies outside the image, for pixel coordinates along one axis.

    zeros       0 0 0 | a b c d | 0 0 0        constant    f f f | a b c d | f f f
    border      a a a | a b c d | d d d        wrap        b c d | a b c d | a b c
    reflection  c b a | a b c d | d c b   (pixel centres)
                d c b | a b c d | c b a   (align_corners)
    renormalise . . . | a b c d | . . .   no pixel: weights outside are dropped, the rest sum to 1

`border`, `reflection` and `wrap` read another pixel in place of one outside. For `nearest` and
`bilinear` the point itself is moved inside, as `grid_sample` does: so at the border pixels' centres
`border` and `reflection` have slope 0. Further out `border` has slope 0 everywhere, so that it
cannot bring back a crop that has left the image.

Axes may differ, as those of a map of the globe do: `("border", "wrap")`, rows before columns.
"""

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor

from .._errors import InputError, shown
from .._hints import names_of
from .names import PaddingName

Padding: TypeAlias = (
    PaddingName | Sequence[PaddingName]
)  # of all axes alike, or of each in the image's order

#: The paddings that read nothing outside: the fill, or the other weights, make up for it.
FILLING = ("zeros", "constant", "renormalise")
PADDING_MODES = names_of(PaddingName)


def check_padding(padding_mode: Padding) -> None:
    """Refuse unknown names, and axes that would fill what lies outside in different ways."""
    names = _names(padding_mode)
    if not names or not all(isinstance(name, str) and name in PADDING_MODES for name in names):
        known = ", ".join(PADDING_MODES)
        raise InputError(
            f"padding_mode {shown(padding_mode)} was asked for; known: {known}, or one per axis"
        )
    if len({*names} & {*FILLING}) > 1:
        raise InputError(
            f"padding_mode {padding_mode!r} was asked for; of {', '.join(FILLING)} give one at most"
        )


def per_axis(padding_mode: Padding, ndim: int) -> tuple[str, ...]:
    """Return the padding of every axis, in the order of coordinates: x first.

    Raises:
        InputError: for paddings of another number of axes.

    """
    names = _names(padding_mode) * (ndim if isinstance(padding_mode, str) else 1)
    if len(names) != ndim:
        raise InputError(
            f"padding_mode {padding_mode!r} was asked for an image of {ndim} axes; give one name, "
            f"or {ndim}, rows before columns"
        )
    return names[::-1]


def fills(padding_mode: Padding) -> bool:
    """Say whether a fill value goes with the padding."""
    return padding_mode == "constant" or "constant" in padding_mode


def _names(padding_mode: Padding) -> tuple[str, ...]:
    return (padding_mode,) if isinstance(padding_mode, str) else tuple(padding_mode)


def move_inside(x: Tensor, length: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Return the coordinate to sample in place of x, on an axis of `length` pixels.

    With `wrap` it lies in [0, length): between the last pixel and the first.
    """
    if padding_mode in FILLING:
        return x
    if padding_mode == "wrap":
        return x.remainder(length)
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
