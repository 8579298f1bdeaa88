"""Free-form deformation: a cubic B-spline of the displacements of a lattice of control points."""

from collections.abc import Sequence

from torch import Tensor

from ..._types import Size
from ..lattice import Lattice
from ..numerics.spline import evaluate, uniform


class FreeForm(Lattice):
    """T_θ(x) = x + Σ_j β³(x/h - j) θ_j, twice continuously differentiable within [-1, 1].

    θ holds the displacements of the control points in half extents, 1 being half the source's
    width: a flat (N, ndim, *lattice) tensor, component (x, y[, z]) first, then the axes of the
    lattice as sizes go. The K control points along an axis are h = 2 / (K - 3) apart: one lies at
    each border, and one beyond each border. On [-1, 1] the map is SimpleITK's `BSplineTransform` of
    order 3 with a mesh of K - 3. Beyond that domain a point moves as the nearest point of the
    border does, while SimpleITK leaves it in place. A map need not be one to one; in 2-D it is if
    all displacements are below 0.4 h (Choi & Lee, 2000).

    Convention: target to source, (x, y[, z]) with y pointing down.

    Args:
        lattice: control points per axis, (H, W) or (D, H, W), at least 4 each; one number for all.
        ndim: 2 or 3, for a lattice given by one number (2 unless given).

    Example:
        >>> import torch
        >>> free_form = FreeForm((5, 4))
        >>> free_form
        FreeForm((5, 4))
        >>> free_form.num_parameters, free_form.entries[1]
        (40, 'x[0,1]')
        >>> right = torch.zeros(1, 2, 5, 4)
        >>> right[:, 0] = 0.25
        >>> free_form.transform_points(right.flatten(1), torch.tensor([[[0.5, -0.5]]])).tolist()
        [[[0.75, -0.5]]]
        >>> FreeForm(4, ndim=3).grid(torch.zeros(2, 192), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Rueckert et al., Nonrigid registration using free-form deformations: application to
    breast MR images, IEEE Transactions on Medical Imaging, 1999, eqs. 2 and 3.

    """

    def __init__(self, lattice: Size, *, ndim: int | None = None):
        super().__init__(lattice, ndim, 4)
        self._axes = [uniform(n - 3, 3) for n in reversed(self.lattice)]

    def _displacement(self, values: Tensor, coordinates: Sequence[Tensor]) -> Tensor:
        return evaluate(self._vectors(values), self._axes, coordinates).movedim(1, -1)
