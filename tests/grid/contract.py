"""Every transformation, listed once: what is listed here runs the whole contract battery."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from spatial_transformers import (
    CPAB,
    Affine,
    AffineExponential,
    Attention,
    Compose,
    Constrained,
    Displacement,
    FreeForm,
    LogPolar,
    PiecewiseAffine,
    Polar,
    Projective,
    Rigid,
    Similarity,
    Structured,
    ThinPlateSpline,
    Transformation,
    Translation,
    VelocityField,
)
from spatial_transformers.grid.numerics.control_points import regular_points, text_rows

SIZE = (5, 7, 4)  # a target; [:ndim] of it
SOURCE = (6, 3, 9)  # a source of another size
POINTS = 11

# A grid of 4 × 4 points, no point of a target of SIZE on its edges, and the halves of its cells.
VERTICES = 1.05 * regular_points(4, 2) + 0.04 * torch.sin(torch.arange(32.0)).reshape(16, 2)
CELLS = torch.arange(12).reshape(3, 4)[:, :3].reshape(-1, 1)  # by their first points
TRIANGLES = (CELLS + torch.tensor([[0, 5, 1, 0, 4, 5]])).reshape(-1, 3)

# Functions for `Structured`, on lattices none of whose nodes is a point of a target of SIZE, and
# smooth enough for maps without folds.
WAVES = 0.4 * torch.sin(0.7 * torch.arange(3 * 4 * 6.0).sqrt()).reshape(3, 4, 6)
WAVES_3D = 0.4 * torch.cos(0.3 * torch.arange(2 * 4 * 2 * 3.0)).reshape(2, 4, 2, 3)


class Family(NamedTuple):
    """A transformation, what it can do, and the θ at which its inverse is well conditioned."""

    name: str
    make: Callable[[], Transformation]
    spread: float = 0.2  # θ is drawn this far about the identity
    closed: Sequence[str] = ("inverse", "compose")  # what gives a θ of the same family
    singular: bool = False  # θ = 0 has no inverse
    neutral: bool = True  # the identity maps points to themselves
    accuracy: float = 1e-5  # of inverse_points
    inner: float = 1.3  # points are drawn within ± this
    kinked: bool = False  # some points of a lattice lie on kinks

    def theta(self, n: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw θ (n, P)."""
        identity = self.make().identity().to(dtype)
        noise = torch.rand(n, len(identity), dtype=dtype) * 2 - 1
        return identity + self.spread * noise

    def points(self, n: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw points (n, K, ndim), a few of them outside [-1, 1]."""
        return torch.rand(n, POINTS, self.make().ndim, dtype=dtype) * (2 * self.inner) - self.inner

    @property
    def kind(self) -> tuple:
        """What is costly runs once per kind: per class, and the affine map per dimension."""
        return _kind(self.make)

    @property
    def evaluates_first(self) -> bool:
        """Whether none listed before evaluates by the same code in as many dimensions."""
        return self is next(other for other in FAMILIES if _code(other.make) == _code(self.make))


class Grouped(FreeForm):
    """Control points of a volume that move in groups of 24 entries: all would be many to check."""

    @property
    def entries(self):
        return super().entries[::24]

    @property
    def num_parameters(self):
        return 10

    def _vectors(self, values):
        return super()._vectors(values.repeat_interleave(24, 1))


@cache
def _kind(make: Callable[[], Transformation]) -> tuple:
    made = make()
    return (type(made), made.ndim) if type(made) is Affine else (type(made),)


@cache
def _code(make: Callable[[], Transformation]) -> tuple[Callable, int]:
    made = make()
    return type(made)._evaluate, made.ndim


FAMILIES = (
    Family("affine-2d", Affine, singular=True),
    Family("affine-3d", partial(Affine, ndim=3), singular=True),
    Family("attention-2d", Attention, singular=True),
    Family("affine-geometric-2d", partial(Affine, parameters="geometric"), singular=True),
    Family("affine-geometric-3d", partial(Affine, 3, parameters="geometric"), singular=True),
    Family("affine-bounded", partial(Affine, bounds=(-2.0, 3.0))),
    Family("affine-exponential-2d", AffineExponential),
    Family("affine-exponential-3d", partial(AffineExponential, ndim=3)),
    Family("attention-3d", partial(Attention, ndim=3), singular=True),
    Family("attention-per-axis-2d", partial(Attention, per_axis=True), singular=True),
    Family("attention-per-axis-3d", partial(Attention, 3, per_axis=True), singular=True),
    Family("constrained", lambda: Constrained(Affine(), fixed={"m12": 0, "m21": 0}), singular=True),
    Family("compose-2d", lambda: Compose(Affine(), Projective()), 0.1, closed=()),
    Family("compose-3d", lambda: Compose(Rigid(3), Attention(3), Affine(3)), 0.1, closed=()),
    # inner: beyond ±1 angles and radii read a source point again, which maps back to within
    Family("log-polar", LogPolar, closed=(), neutral=False, inner=0.95),
    # inner: outside its triangles the map jumps, and there may be several target points or none
    Family("piecewise-affine", partial(PiecewiseAffine, VERTICES), 0.1, closed=(), inner=0.95),
    Family(
        "piecewise-affine-positions",
        partial(PiecewiseAffine, VERTICES, triangles=TRIANGLES, parameters="positions"),
        0.1,
        closed=(),
        inner=0.95,
    ),
    Family("polar", Polar, closed=(), neutral=False, inner=0.95),
    Family("polar-aspect", partial(Polar, aspect=0.7), closed=(), neutral=False, inner=0.95),
    Family("projective-2d", Projective, 0.1, singular=True),
    Family("projective-3d", partial(Projective, ndim=3), 0.1, singular=True),
    Family("rigid-2d", Rigid),
    Family("rigid-3d", partial(Rigid, ndim=3)),
    Family("similarity-2d", Similarity, singular=True),
    Family("similarity-3d", partial(Similarity, ndim=3), singular=True),
    Family("structured-2d", partial(Structured, WAVES), closed=()),
    Family("structured-3d", partial(Structured, WAVES_3D), closed=()),
    Family("structured-perspective", partial(Structured, WAVES, perspective=True), 0.1, closed=()),
    Family("thin-plate-spline-2d", ThinPlateSpline, 0.05, closed=()),
    Family(
        "thin-plate-spline-text",
        partial(ThinPlateSpline, text_rows(16), parameters="positions"),
        0.05,
        closed=(),
    ),
    Family("thin-plate-spline-3d", partial(ThinPlateSpline, 3, ndim=3), 0.05, closed=()),
    Family("translation-2d", Translation),
    Family("translation-3d", partial(Translation, ndim=3)),
    Family("free-form-2d", partial(FreeForm, (4, 6)), closed=()),
    Family("free-form-3d", partial(Grouped, (4, 5, 4)), 0.1, closed=()),
    # lattices none of whose nodes is a point of a target of SIZE: they are kinks
    Family("displacement-2d", partial(Displacement, (4, 2)), 0.1, closed=()),
    Family("displacement-3d", partial(Displacement, 2, ndim=3, align_corners=True), 0.1, closed=()),
    Family(
        "velocity-field-2d",
        partial(VelocityField, (2, 3), steps=2, resolution=(24, 32)),
        closed=("inverse",),
        accuracy=1e-3,
    ),
    Family(
        "velocity-field-3d",
        partial(VelocityField, (2, 2, 1), degree=1, steps=1, resolution=(8, 8, 7)),
        closed=("inverse",),
        accuracy=2e-2,
    ),
    Family("cpab-1d", partial(CPAB, (3,), steps=3), 0.1, ("inverse",), accuracy=1e-3, kinked=True),
    Family(
        "cpab-2d", partial(CPAB, (3, 5), steps=2), 0.1, ("inverse",), accuracy=1e-3, kinked=True
    ),
    Family(
        "cpab-3d", partial(CPAB, (2, 1, 2), steps=2), 0.1, ("inverse",), accuracy=1e-3, kinked=True
    ),
)
