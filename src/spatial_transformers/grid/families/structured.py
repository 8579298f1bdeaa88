"""The paper's general class (end of section 3.2): T_θ = M_θ B, with B given or learned.

Unlike a family of eq. 1, B has further rows below the homogeneous coordinates: any functions of
the target. Attention, affine, projective and thin plate spline maps are special cases.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..._context import at_least_float32
from ..._errors import InputError
from ..._types import Theta, as_tensor
from ..describe import affine_parts
from ..linear import NEAREST, Linear
from ..numerics.matrices import Matrix


class Structured(Linear):
    """Any map that is linear in θ: T_θ = M_θ B, B = (x, y[, z], 1, b1, …, bK).

    The first rows of B are the homogeneous coordinates, exact at every size, so that M = [I | 0] is
    the identity. Below them come K functions of the target, given on a lattice whose nodes are
    evenly spaced on [-1, 1] including its ends. Between nodes they are interpolated linearly along
    each axis, and outside extrapolated linearly, so that θ and checkpoints fit every output size.

    θ is M row by row: `(m11, m12, m13, …, m21, …)` with ndim + 1 + K entries per row, in normalised
    units, from target to source. With `perspective` there is one more row, w, by which coordinates
    are divided, so that a positive factor of θ changes nothing; points with w ≤ 0 are NaN.

    The family is not closed under inverse and composition. `inverse_points` searches by Newton's
    method; it finds a point if the map does not fold on the way to it.

    Args:
        basis: the K further functions (K, H, W) or (K, D, H, W) on their lattice, a tensor or
            lists; K may be 0.
        learned: whether training changes the functions. They are part of checkpoints either way.
        perspective: whether M has the row w, by which coordinates are divided.

    Raises:
        InputError: for a basis that is not a floating, finite tensor of 2-D or 3-D lattices.

    Example:
        >>> bump = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
        >>> structured = Structured(bump)
        >>> structured.entries
        ('m11', 'm12', 'm13', 'm14', 'm21', 'm22', 'm23', 'm24')
        >>> theta = structured.identity()[None].clone()
        >>> theta[:, 3] = 0.5  # the bump moves x
        >>> points = torch.tensor([[[0.0, 0.0], [0.0, 0.5], [1.0, 1.0]]])
        >>> structured.transform_points(theta, points).tolist()
        [[[0.5, 0.0], [0.25, 0.5], [1.0, 1.0]]]
        >>> Structured(torch.zeros(1, 2, 3, 4)).grid(torch.zeros(2, 15), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, end of
    section 3.2, where B may also be learned for the task at hand.

    """

    #: The further functions on their lattice, (K, H, W) or (K, D, H, W).
    functions: Tensor

    def __init__(
        self,
        basis: Float[Tensor, "K *lattice"] | Sequence[Any],
        *,
        learned: bool = False,
        perspective: bool = False,
    ):
        basis = as_tensor(basis, "Structured", "its basis")
        _check_basis(basis)
        super().__init__(basis.ndim - 1)
        self.learned = learned
        self.perspective = perspective
        functions = at_least_float32(basis).detach().clone()
        if learned:
            self.functions = nn.Parameter(functions)
        else:
            self.register_buffer("functions", functions)

    @property
    def entries(self) -> tuple[str, ...]:
        """The matrix, row by row."""
        rows, columns = self._shape
        return tuple(f"m{r + 1}{c + 1}" for r in range(rows) for c in range(columns))

    @property
    def num_parameters(self) -> int:
        """P, the width of θ."""
        rows, columns = self._shape
        return rows * columns

    def identity(self) -> Float[Tensor, "P"]:
        """Return the identity matrix, and no weight of the functions."""
        return torch.eye(*self._shape, device="cpu", dtype=torch.float32).flatten()

    def _matrix(self, values: Tensor) -> Matrix:
        """Return M_θ, target to source: (N, ndim, ndim + 1 + K), a row more with `perspective`."""
        return torch.unflatten(values, -1, self._shape)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return the parts of the affine rows, the perspective and the weight of the functions.

        A perspective is read relative to w at the origin, as if there were no further functions.
        """
        matrix, k = self.matrix(theta), self.ndim + 1
        if self.perspective:
            origin = matrix[:, -1, self.ndim]
            matrix = matrix / origin.where(origin > NEAREST, torch.nan)[:, None, None]
        parts = affine_parts(matrix[:, : self.ndim, :k])
        if self.perspective:
            tilts = matrix[:, -1, : self.ndim].unbind(-1)
            parts |= {f"perspective {a}": t for a, t in zip("xyz", tilts, strict=False)}
        if len(self.functions):
            weights = matrix[:, :, k:].flatten(1)
            parts["weight of functions (rms)"] = (weights * weights).mean(1).sqrt()
        return parts

    def _argument(self, name: str) -> Any:
        return self.functions.detach() if name == "basis" else super()._argument(name)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.ndim + int(self.perspective), self.ndim + 1 + len(self.functions)

    def _functions(self, coordinates: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Interpolate the functions between the nodes of their lattice."""
        functions = self.functions.to(coordinates[0])
        corners, fractions = [()], []
        for x, n in zip(reversed(coordinates), functions.shape[1:], strict=True):  # x last, as H, W
            place = (x + 1) * ((n - 1) / 2)
            low = place.detach().nan_to_num(0).floor().clamp(0, max(n - 2, 0))
            fractions.append(place - low)
            low = low.long()
            high = (low + 1).clamp(max=n - 1)
            corners = [(*corner, index) for corner in corners for index in (low, high)]
        values = [functions[(slice(None), *corner)] for corner in corners]  # (K, ...) each
        for fraction in reversed(fractions):  # neighbours along the last axis are side by side
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [low + fraction * (high - low) for low, high in pairs]
        return values[0].unbind(0)


def _check_basis(basis: Tensor) -> None:
    asked = f"Structured was given a basis of shape {tuple(basis.shape)} and {basis.dtype}"
    if basis.ndim not in (3, 4) or 0 in basis.shape[1:] or not basis.is_floating_point():
        raise InputError(
            f"{asked}; give floating functions on a lattice, (K, H, W) or (K, D, H, W)"
        )
    finite = basis.device.type == "meta" or bool(basis.isfinite().all())
    if not finite:
        raise InputError(f"{asked} with entries that are not finite; give numbers everywhere")
