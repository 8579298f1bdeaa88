"""A dense displacement field ("flow"), linear between its nodes, which are pixel centres."""

from collections.abc import Sequence

from torch import Tensor

from ..._types import Size
from ..lattice import Lattice
from ..numerics.spline import centred, evaluate, uniform


class Displacement(Lattice):
    """T_θ(x) = x + u(x), with u given at every node of a lattice and multilinear between them.

    θ holds the displacements in half extents, 1 being half the source's width: a flat
    (N, ndim, *lattice) tensor, component (x, y[, z]) first, then the axes of the lattice as sizes
    go. The nodes are the pixel centres of an image of the lattice's size, so the grid of that size
    is the regular grid plus θ. Beyond the outermost nodes a point moves as the nearest point
    between them does. Unlike `FreeForm`, the map takes exactly the given displacements at the
    nodes, and has kinks there; nothing keeps it smooth or one to one.

    Convention: target to source, (x, y[, z]) with y pointing down.

    Args:
        lattice: nodes per axis, (H, W) or (D, H, W), at least 2 each; one number for all axes.
        ndim: 2 or 3, for a lattice given by one number (2 unless given).
        align_corners: whether ±1 are the centres of the border nodes, or the outer edges of their
            pixels; give the same value as for the images.

    Example:
        >>> import torch
        >>> displacement = Displacement((2, 3))
        >>> flow = torch.zeros(1, 2, 2, 3)  # (N, (x, y), H, W), the output of a network
        >>> flow[:, 0] = 0.5
        >>> displacement.grid(flow.flatten(1), (2, 4))[0, 0, :, 0].tolist()
        [-0.25, 0.25, 0.75, 1.25]
        >>> Displacement((2, 3, 4)).grid(torch.zeros(2, 72), (4, 5, 6)).shape
        torch.Size([2, 4, 5, 6, 3])

    Source: the dense flow of e.g. Balakrishnan et al., VoxelMorph: a learning framework for
    deformable medical image registration, IEEE Transactions on Medical Imaging, 2019, section III.

    """

    def __init__(self, lattice: Size, *, ndim: int | None = None, align_corners: bool = False):
        super().__init__(lattice, ndim, 2)
        self.align_corners = align_corners
        self._axes = [
            uniform(n - 1, 1) if align_corners else centred(n) for n in reversed(self.lattice)
        ]

    def _displacement(self, values: Tensor, coordinates: Sequence[Tensor]) -> Tensor:
        return evaluate(self._vectors(values), self._axes, coordinates).movedim(1, -1)
