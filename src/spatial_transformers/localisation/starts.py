"""Where transformers begin: θ of a region of the image, in whatever family."""

from collections.abc import Sequence
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.functional import jacobian

from .._errors import InputError
from ..grid import Transformation
from ..grid.regular import regular_grid

_LATTICE = 5  # points along each axis at which θ is fitted


def region_start(
    transformation: Transformation,
    scale: float = 0.7,
    centre: Sequence[float] | None = None,
) -> Float[Tensor, "P"]:
    """Return the θ that reads a region of the image, as a `start` for a localisation network.

    A transformer that is to crop learns better from the middle of the image than from the whole of
    it, and several that are to look at different things begin best at different places.

    It is the family's nearest, by a Gauss-Newton step from the identity. One step is exact for maps
    that are linear in θ, and for projective ones; a family that cannot crop, such as a rotation,
    comes as near as it can.

    Args:
        transformation: of θ.
        scale: the region's share of the image along each axis.
        centre: the region's centre, (x, y) or (x, y, z) in [-1, 1]; the image's if None.

    Raises:
        InputError: unless `scale` is above 0, and `centre` has as many finite numbers as the image
            has axes.

    Example:
        >>> from spatial_transformers import Attention, region_start
        >>> [round(x, 3) for x in region_start(Attention(), 0.5, (0.5, -0.5)).tolist()]
        [0.5, 0.5, -0.5]

    """
    ndim = transformation.ndim
    middle = (0.0,) * ndim if centre is None else tuple(centre)
    if not 0 < scale < inf or len(middle) != ndim or not all(abs(x) < inf for x in middle):
        raise InputError(
            f"scale={scale!r} and centre={centre!r} were given; give a share above 0, and "
            f"{ndim} coordinates"
        )
    with torch.device("cpu"):  # also for a network on the meta device
        identity = transformation.identity().double()
        points = regular_grid((_LATTICE,) * ndim, ndim=ndim, dtype=identity.dtype)
        points = points.view(1, -1, ndim)
        wanted = scale * points + torch.tensor(middle, dtype=points.dtype)
        slope = jacobian(
            lambda theta: transformation.transform_points(theta[None], points), identity
        )
        missing = wanted - transformation.transform_points(identity[None], points)
        step = torch.linalg.lstsq(slope.flatten(0, 2), missing.view(-1, 1), driver="gelsd")
        return identity + step.solution[:, 0]


def tiled_starts(transformation: Transformation, count: int) -> Float[Tensor, "K P"]:
    """Return θ of `count` regions that tile the image, one for each of parallel transformers.

    The image is cut into as square a lattice of equal regions as holds so many. Four in 2-D are its
    quarters.

    Args:
        transformation: of θ.
        count: K, how many regions.

    Raises:
        InputError: for a count below 1.

    Example:
        >>> from spatial_transformers import Attention, tiled_starts
        >>> [[round(x, 3) for x in theta] for theta in tiled_starts(Attention(), 4).tolist()]
        [[0.5, -0.5, -0.5], [0.5, 0.5, -0.5], [0.5, -0.5, 0.5], [0.5, 0.5, 0.5]]

    """
    if type(count) is not int or count < 1:
        raise InputError(f"{count!r} starts were asked for; give a whole number, at least 1")
    ndim, side = transformation.ndim, 1
    while side**ndim < count:
        side += 1
    centres = regular_grid((side,) * ndim, ndim=ndim, device="cpu").view(-1, ndim).tolist()
    return torch.stack([region_start(transformation, 1 / side, c) for c in centres[:count]])
