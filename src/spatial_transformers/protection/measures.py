"""What a sampling grid does to an image, in numbers: for every sample of a batch, of any family."""

from torch import Tensor

from ..grid import Transformation

_GRID = 8  # points per axis that stand for the grid


def each_map(theta: Tensor) -> tuple[Tensor, ...]:
    """Return the θ (N, P) of every map: of θ (N, K, P) there are K, of θ (N, P) it is the one."""
    return theta.unbind(1) if theta.ndim == 3 else (theta,)


def outside(transformation: Transformation, theta: Tensor, points: int = _GRID) -> Tensor:
    """Return the share of each image's sampling grid beyond its edges, 0 to 1 (N,)."""
    grid = transformation.grid(theta, points)
    beyond = ~(grid.abs() <= 1).all(-1)  # NaN is outside, too
    return beyond.flatten(1).double().mean(1)


def local_scale(transformation: Transformation, theta: Tensor) -> Tensor:
    """Return how much of the image the grid spans in one direction: 1 at the identity (N,).

    It is the root of the mean area (volume) of source that the target's cells read, 0 where a grid
    has shrunk to a line or a point, and NaN where nothing of it has an image.
    """
    determinant = transformation.jacobian_determinant(theta, _GRID)
    return determinant.flatten(1).abs().double().nanmean(1) ** (1 / transformation.ndim)


def spread(transformation: Transformation, theta: Tensor) -> Tensor:
    """Return how far the samples' grids lie apart: the standard deviation, in half extents ()."""
    grid = transformation.grid(theta, _GRID).double()
    return grid.var(0, correction=0).sum(-1).nanmean().sqrt()
