"""Families with some entries of θ held at given values."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..._errors import InputError
from ..._types import Theta
from ..homogeneous import Homogeneous
from ..numerics.constants import Constants
from ..numerics.matrices import Matrix

Fixed: TypeAlias = Mapping[str, float] | Sequence["float | Sequence[float | None] | None"]


class Constrained(Homogeneous):
    """Hold entries of a transformation at given values, and predict the others.

    θ is the θ of `transformation` without the fixed entries. Constraints combine: where one
    `Constrained` wraps another, all fixed entries of both are held, zeros too.

    Args:
        transformation: the one whose θ is constrained, for instance `Affine()` or `Projective()`.
        fixed: a number for each entry that is held and None for each that is predicted, in the
            order of θ, with rows nested or not; or the held entries by name.

    A fixed value is that of the entry as the map uses it, after the transformation's bounds.

    Raises:
        InputError: for an unknown name, a wrong number of entries, no entry left to predict, or a
            value that the transformation's bounds do not contain.

    Example:
        >>> from spatial_transformers import Affine, Constrained
        >>> no_shear = Constrained(Affine(), fixed=[[None, 0, None], [0, None, None]])
        >>> no_shear.entries
        ('m11', 'tx', 'm22', 'ty')
        >>> centred = Constrained(no_shear, fixed={"tx": 0, "ty": 0})
        >>> centred.matrix(torch.tensor([[2.0, 3.0]]))
        tensor([[[2., 0., 0.],
                 [0., 3., 0.]]])
        >>> Constrained(Affine(ndim=3), fixed={"tz": 0}).matrix(torch.zeros(2, 11)).shape
        torch.Size([2, 3, 4])

    Source: after `AffineWarpConstraints` of DeepMind's Sonnet.

    """

    def __init__(self, transformation: Homogeneous, *, fixed: Fixed):
        if not isinstance(transformation, Homogeneous):
            raise InputError(
                f"Constrained({transformation}) was asked for; give a transformation that is a "
                "matrix, as Affine()"
            )
        super().__init__(transformation.ndim)
        self.transformation = transformation
        self.perspective = transformation.perspective
        self.fixed = _by_name(transformation, fixed)
        names = transformation.entries
        self._free = [i for i, name in enumerate(names) if name not in self.fixed]
        if not self._free:
            raise InputError(f"{self} was asked for; leave at least one entry to be predicted")
        with torch.device("cpu"):
            self.constants = self._hold([i for i, name in enumerate(names) if name in self.fixed])

    @property
    def entries(self) -> tuple[str, ...]:
        """The entries that are predicted."""
        return tuple(self.transformation.entries[i] for i in self._free)

    def identity(self) -> Float[Tensor, "P"]:
        """Return the predicted entries of the identity; the held ones keep their values."""
        return self.transformation.identity()[self._free]

    def _matrix(self, values: Tensor) -> Matrix:
        """Return the matrix of the transformation."""
        full = self._full(values)  # the values of free entries, but the θ of held ones
        held = self.transformation._values(full)
        return self.transformation._matrix(held.where(self.constants["is_held"], full))

    def _values(self, theta: Tensor) -> Tensor:
        """Return the predicted entries as the map uses them, within the transformation's bounds."""
        return self.transformation._values(self._full(theta))[:, self._free]

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return what the transformation describes."""
        return self.transformation.describe(self._full(self.check(theta)))

    def _hold(self, held: list[int]) -> Constants:
        """Return the θ of the held entries, and the order that puts all entries in their places."""
        values = self.transformation.identity().double()
        values[held] = torch.tensor(list(self.fixed.values()), dtype=torch.float64)
        theta = self.transformation._theta(values[None])
        is_held = torch.ones(len(values), dtype=torch.bool)
        is_held[self._free] = False
        order = torch.tensor(self._free + held).argsort()
        return Constants(held=theta[:, held], order=order, is_held=is_held)

    def _full(self, theta: Tensor) -> Tensor:
        """Return the θ of the transformation."""
        held = self.constants["held"].to(theta).expand(theta.shape[0], -1)
        return torch.cat((theta, held), 1).index_select(1, self.constants["order"])

    def _read(self, matrix: Matrix) -> Tensor:
        return self.transformation._theta(self.transformation._read(matrix))[:, self._free]


def _by_name(transformation: Homogeneous, fixed: Fixed) -> dict[str, float]:
    """Return the held entries by name, in the order of θ."""
    names = transformation.entries
    if not isinstance(fixed, (Mapping, Sequence)) or isinstance(fixed, str):
        raise InputError(
            f"Constrained({transformation}) was given fixed={fixed!r}; give a number or None for "
            f"each of {' '.join(names)}, or numbers by name"
        )
    if not isinstance(fixed, Mapping):
        flat = list(_flatten(fixed))
        if len(flat) != len(names):
            raise InputError(
                f"Constrained({transformation}) was given {len(flat)} entries as fixed; give "
                f"{len(names)}, None or a number for each of {' '.join(names)}"
            )
        fixed = {name: v for name, v in zip(names, flat, strict=True) if v is not None}
    wrong = [name for name, v in fixed.items() if name not in names or not _is_number(v)]
    if wrong:
        raise InputError(
            f"Constrained({transformation}) was given fixed={fixed!r}; give finite numbers for "
            f"some of {' '.join(names)}"
        )
    return {name: float(fixed[name]) for name in names if name in fixed}


def _flatten(fixed: Any) -> Iterator[Any]:
    for item in fixed:
        if isinstance(item, Sequence) and not isinstance(item, str):
            yield from _flatten(item)
        else:
            yield item


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
