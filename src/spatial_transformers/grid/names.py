"""Every family by name, in 2-D and with its defaults: what commands and recipes ask for."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import torch

from .._errors import InputError, shown
from .families.affine import Affine
from .families.affine_exponential import AffineExponential
from .families.attention import Attention
from .families.compose import Compose
from .families.constrained import Constrained
from .families.cpab import CPAB
from .families.displacement import Displacement
from .families.free_form import FreeForm
from .families.log_polar import LogPolar
from .families.piecewise_affine import PiecewiseAffine
from .families.polar import Polar
from .families.projective import Projective
from .families.rigid import Rigid
from .families.similarity import Similarity
from .families.structured import Structured
from .families.thin_plate_spline import ThinPlateSpline
from .families.translation import Translation
from .families.velocity_field import VelocityField
from .transformation import Transformation

_MOST_PARTS = 64  # joined by +
_LATTICE = 4  # nodes or cells per axis: as many as the paper's thin plate spline has points


def _waves() -> Structured:
    """Return a family with two learned functions, which begin as a wave along each axis."""
    x = torch.linspace(-1, 1, 9, device="cpu")
    wave = torch.sin(torch.pi * x)
    return Structured(torch.stack((wave.expand(9, 9), wave[:, None].expand(9, 9))), learned=True)


Name: TypeAlias = Literal[
    "translation",
    "rigid",
    "similarity",
    "attention",
    "attention-per-axis",
    "affine",
    "affine-geometric",
    "affine-exponential",
    "constrained",
    "projective",
    "thin-plate-spline",
    "piecewise-affine",
    "structured",
    "free-form",
    "displacement",
    "velocity-field",
    "cpab",
    "polar",
    "log-polar",
    "compose",
]

FAMILIES: dict[str, Callable[[], Transformation]] = {
    "translation": Translation,
    "rigid": Rigid,
    "similarity": Similarity,
    "attention": Attention,
    "attention-per-axis": partial(Attention, per_axis=True),
    "affine": Affine,
    "affine-geometric": partial(Affine, parameters="geometric"),
    "affine-exponential": AffineExponential,
    "constrained": lambda: Constrained(Affine(), fixed={"m12": 0, "m21": 0}),
    "projective": Projective,
    "thin-plate-spline": partial(ThinPlateSpline, _LATTICE),
    "piecewise-affine": partial(PiecewiseAffine, _LATTICE),
    "structured": _waves,
    "free-form": partial(FreeForm, (_LATTICE + 3,) * 2),
    "displacement": partial(Displacement, (_LATTICE,) * 2),
    "velocity-field": partial(VelocityField, (_LATTICE,) * 2),
    "cpab": partial(CPAB, _LATTICE),
    "polar": Polar,
    "log-polar": LogPolar,
    "compose": lambda: Compose(Affine(), ThinPlateSpline(_LATTICE)),
}


def make_transformation(name: Name | str) -> Transformation:
    """Return a transformation by name, or several joined by `+`, the outer first.

    Args:
        name: one of `FAMILIES`, which is made in 2-D and with its defaults, or several.

    Raises:
        InputError: for an unknown name, listing what is known.

    Example:
        >>> make_transformation("attention+rigid")
        Compose(Attention(ndim=2), Rigid(ndim=2))
        >>> make_transformation("affine").num_parameters
        6

    """
    names = name.split("+") if isinstance(name, str) else [name]
    if len(names) > _MOST_PARTS:
        raise InputError(
            f"a transformation of {len(names)} parts was asked for; join {_MOST_PARTS} at most"
        )
    unknown = [n for n in names if n not in FAMILIES]
    if unknown:
        raise InputError(
            f"transformation {shown(name)} was asked for; known: {', '.join(FAMILIES)}, or several "
            "of them joined by +"
        )
    parts = [FAMILIES[n]() for n in names]
    return parts[0] if len(parts) == 1 else Compose(*parts)
