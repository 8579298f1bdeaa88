"""What belongs together in a kernel, by name: Triton's compiler takes named tuples as values.

Launches give the `Facts`; kernels make the others, of their arguments and of what they compute.
"""

from typing import Any, NamedTuple


class Facts(NamedTuple):
    """What a kernel is compiled for. The kernels that need few of them leave the rest out."""

    ndim: int
    corners: bool  # align_corners
    form: str  # of the coordinates, as a `Plan` names it
    one_map: bool = False  # one M_θ, or one grid, serves every image
    functions: bool = False  # B has rows beyond the homogeneous coordinates
    taps: int = 0  # along an axis
    padding: str = ""
    last: bool = False  # the image lies in memory with its channels last
    large: bool = False  # numbers of pixels take 64 bits
    wide: int = 0  # points of a program's tile along x
    high: int = 0  # and along y
    block: int = 0  # channels, or other elements, that a program takes at once
    image: str = "none"  # how its gradient is added, if at all: as "float", or "fixed" (`fixed.py`)
    coordinates: bool = False  # their gradient is asked for
    rows: bool = False  # the gradient to the rows of M_θ B is asked for, point by point
    fill: bool = False  # its gradient is asked for


class Sizes(NamedTuple):
    """Sizes (x, y, z), of depth 1 in 2-D."""

    source: Any
    target: Any


class Map(NamedTuple):
    """Where points lie in the source: M_θ with the functions of B and their count, or points."""

    coordinates: Any
    functions: Any
    count: Any


class Tile(NamedTuple):
    """The points of the target that are a program's own."""

    n: Any  # the element of the batch
    lattice: Any  # x, y and z of every point
    at: Any  # the number of every point in the target
    here: Any  # whether it is in the target, over whose edges tiles reach


class Axis(NamedTuple):
    """Where points lie along one axis of the source."""

    x: Any  # the coordinate
    base: Any  # the pixel that taps are counted from
    read: Any  # the pixel that is read for the base: another one, where images repeat
    slope: Any  # by which padding multiplies the coordinate's gradient
    length: Any  # pixels


class Cover(NamedTuple):
    """Sums over the taps along one axis."""

    inside: Any  # of the weights of pixels of the image
    slopes: Any  # of their slopes
    whole: Any  # of all weights


class Sums(NamedTuple):
    """Where the gradient to the image is added."""

    into: Any
    rest: Any  # where the second number of a float64 goes; see `fixed.py`
    own: Any  # where in these the image begins
    scale: Any  # what terms are multiplied by


class Into(NamedTuple):
    """Where the gradients to points, to the rows of M_θ B and to M_θ are written."""

    points: Any
    rows: Any
    sums: Any  # a number per program and entry of M_θ
