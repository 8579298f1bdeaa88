"""The deformations whose θ is a vector at every node of a lattice.

θ (N, P) is a flat (N, ndim, *lattice) tensor: the component (x, y[, z]) first, then the axes of the
lattice as sizes go, (H, W) or (D, H, W). So `flow.flatten(1)` turns the (N, ndim, H, W) output of a
network into θ.
"""

import math
from collections.abc import Mapping, Sequence
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from .._errors import InputError
from .._types import Size, Theta
from .deformation import Deformation
from .describe import displacement_parts


class Lattice(Deformation):
    """A deformation given by vectors at the nodes of a lattice; see the module for θ."""

    def __init__(self, lattice: Size, ndim: int | None, fewest: int):
        per_axis = isinstance(lattice, Sequence)
        super().__init__((len(lattice) if per_axis else 2) if ndim is None else ndim)
        self.lattice = tuple(lattice) if per_axis else (lattice,) * self.ndim
        if len(self.lattice) != self.ndim or any(
            type(n) is not int or n < fewest for n in self.lattice
        ):
            order = {2: "(H, W)", 3: "(D, H, W)"}[self.ndim]
            raise InputError(
                f"{type(self).__name__}({lattice!r}, ndim={self.ndim}) was asked for; give the "
                f"nodes of the lattice per axis, {order}, at least {fewest} each"
            )

    @property
    def entries(self) -> Sequence[str]:
        """The component and the node of every entry: `x[0,0]`, `x[0,1]` and so on."""
        return NodeNames("xyz"[: self.ndim], self.lattice)

    @property
    def num_parameters(self) -> int:
        """P, the number of components times the number of nodes."""
        return self.ndim * math.prod(self.lattice)

    def identity(self) -> Float[Tensor, "P"]:
        """Return zeros: no node moves."""
        return torch.zeros(self.num_parameters, device="cpu", dtype=torch.float32)

    def describe(self, theta: Theta) -> Mapping[str, Float[Tensor, "N"]]:
        """Return how far nodes move, as a share of the source's extent."""
        return displacement_parts(self._vectors(self.values(theta)).movedim(1, -1))

    def _vectors(self, values: Tensor) -> Float[Tensor, "N ndim *lattice"]:
        return torch.unflatten(values, 1, (self.ndim, *self.lattice))


class NodeNames(Sequence[str]):
    """Names of entries, written when they are read: a dense lattice has millions."""

    def __init__(self, components: str, lattice: tuple[int, ...]):
        self.components, self.lattice = components, lattice

    def __len__(self) -> int:
        return len(self.components) * math.prod(self.lattice)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return tuple(self._name(place) for place in places)
        return self._name(places)

    def _name(self, place: int) -> str:
        node = []
        for n in reversed(self.lattice):
            place, along = divmod(place, n)
            node.append(str(along))
        return f"{self.components[place]}[{','.join(reversed(node))}]"
