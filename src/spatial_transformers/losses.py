"""Penalties on θ, to be added to a task's loss: each has a gradient where the image's own is zero.

A transformer that has left the image, or has shrunk to a point, reads one value everywhere. Then
the task's loss says nothing about θ. These penalties look at the sampling grid alone. All take θ as
a spatial transformer returns it, and give a number per sample:

    warped, theta = stn(images, return_theta=True)
    loss = task(warped) + 0.1 * outside_penalty(stn.transformation, theta).mean()

A point without an image, behind the camera, has no gradient and never makes a penalty NaN.

`triplet_hinge` is no penalty but a task's loss of its own: it finds what images have in common.
"""

from collections.abc import Sequence
from itertools import combinations
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from ._errors import InputError
from ._types import Size, Theta, require_tensor
from .grid import ThinPlateSpline, Transformation
from .grid.regular import as_size, pixel_frame, regular_grid

_POINTS = 8  # per axis, that stand for the grid
_TINY = 1e-12  # added to squares, so that a length of 0 has a gradient nearby

PerSample = Float[Tensor, "N"]


def outside_penalty(transformation: Transformation, theta: Theta) -> PerSample:
    """Return how far the sampling grid lies beyond the image's edges, in half extents: (N,).

    It is the mean over the grid's points of max(0, |x| - 1), summed over the axes: 0 inside. A
    point outside is drawn straight back to the edge, by the same gradient however far it is. One
    without an image counts as if it were a half extent away, along every axis.

    Args:
        transformation: what θ means.
        theta: θ (N, P).

    Raises:
        InputError: for a θ that is none of the transformation.

    Example:
        >>> import torch
        >>> from spatial_transformers import Translation, outside_penalty
        >>> theta = torch.tensor([[0.0, 0.0], [5.0, 0.0]], requires_grad=True)
        >>> penalty = outside_penalty(Translation(), theta)
        >>> penalty
        tensor([0., 4.], grad_fn=<MeanBackward1>)
        >>> torch.autograd.grad(penalty.sum(), theta)[0]
        tensor([[0., 0.],
                [1., 0.]])

    """
    grid = transformation.grid(theta, _POINTS)
    beyond = (grid.abs() - 1).clamp(min=0).where(grid.isfinite(), 1)
    return beyond.sum(-1).flatten(1).mean(1)


def scale_penalty(
    transformation: Transformation, theta: Theta, *, lowest: float = 0.25, highest: float = 1.5
) -> PerSample:
    """Return how much the sampling grid has shrunk or stretched beyond limits: (N,).

    The scale is the distance of neighbouring points of the grid, relative to the identity's. The
    penalty is the mean, over all neighbours, of how far the scale is below `lowest` or above
    `highest`. Its gradient is 1 per unit of scale, also where a grid is nearly a point; of a grid
    that is one point exactly it is 0.

    Args:
        transformation: of θ.
        theta: (N, P).
        lowest: 0.25 lets an image be magnified four times.
        highest: 1.5 lets it be shown in two thirds of its size.

    Raises:
        InputError: unless 0 ≤ lowest < highest.

    """
    if not 0 <= lowest < highest < inf:
        raise InputError(
            f"lowest={lowest!r} and highest={highest!r} were given; give 0 or more, and more"
        )
    grid = transformation.grid(theta, _POINTS)
    total: Tensor | None = None
    for axis in range(transformation.ndim):
        step = _known(grid.diff(dim=1 + axis)) * (_POINTS / 2)
        scale = (step.square().sum(-1) + _TINY).sqrt()
        beyond = (lowest - scale).clamp(min=0) + (scale - highest).clamp(min=0)
        mean = beyond.flatten(1).mean(1) / transformation.ndim
        total = mean if total is None else total + mean
    assert total is not None
    return total


def overlap_penalty(transformation: Transformation, thetas: Sequence[Theta]) -> PerSample:
    """Return how much parallel transformers look at the same region, 0 to 1: (N,).

    It is the mean over all pairs of their grids' Bhattacharyya coefficient, each grid's points
    taken as a normal distribution: 1 where two grids are the same, near 0 where they are apart. Two
    grids that are exactly the same are not driven apart, since neither side is better: start them
    at different places.

    Args:
        transformation: of every θ.
        thetas: the θ (N, P) of two transformers or more.

    """
    if len(thetas) < 2:
        raise InputError(f"{len(thetas)} theta were given; the overlap is of two or more")
    moments = [_moments(transformation, theta) for theta in thetas]
    pairs = [_alike(a, b) for a, b in combinations(moments, 2)]
    return torch.stack(pairs).mean(0)


def bending_penalty(transformation: Transformation, theta: Theta) -> PerSample:
    """Return how much a map bends: the mean square of its second differences, (N,).

    It is 0 for affine maps, and for free-form fields a thin plate's energy per area in the limit:
    Σ_ab |∂²T/∂a∂b|². Its gradient smooths a field where the image says nothing.

    Args:
        transformation: what θ means.
        theta: θ (N, P).

    Raises:
        InputError: for a θ that is none of the transformation.

    Example:
        >>> import torch
        >>> from spatial_transformers import Affine, bending_penalty
        >>> bending_penalty(Affine(), torch.rand(2, 6)) < 1e-6
        tensor([True, True])

    """
    grid = transformation.grid(theta, _POINTS)
    axes, total = range(1, 1 + transformation.ndim), None
    for a in axes:
        for b in axes:
            second = grid.diff(n=2, dim=a) if a == b else grid.diff(dim=a).diff(dim=b)
            second = _known(second) * (_POINTS / 2) ** 2
            mean = second.square().sum(-1).flatten(1).mean(1)
            total = mean if total is None else total + mean
    assert total is not None
    return total


def folding_penalty(
    transformation: Transformation, theta: Theta, *, least: float = 0.1
) -> PerSample:
    """Return how far a map is from being one to one: (N,).

    It is the mean over the grid of max(0, least - det ∂T/∂G). The determinant is negative where a
    map folds, and a gradient leads back from there. A mirror image is a fold everywhere.

    Args:
        transformation: of θ.
        theta: (N, P).
        least: the determinant from which on nothing is penalised.

    """
    determinant = transformation.jacobian_determinant(theta, _POINTS)
    return _known(least - determinant).clamp(min=0).flatten(1).mean(1)


def layout_penalty(
    transformation: Transformation, theta: Theta, *, source_size: Size | None = None
) -> PerSample:
    """Return how disorderly the sources of rows of control points lie: (N,).

    Rows stay rows, as those of a line of text do. The penalty is the sum of

    - *spacing*: how unevenly points follow each other, the variance of a row's or a column's steps,
      each taken as a multiple of its length in the target, over the square of their mean;
    - *parallels*: 1 - cos of the angle by which a row's step turns from that of the row above;
    - *folds*: how far corners of cells are turned over, the cross product of their two sides where
      it is negative, as a share of the product of the sides' mean lengths.

    It is 0 for every affine layout that is no mirror image, and also for rows along circles about
    one centre, spaced evenly: a line of text may bend, which `bending_penalty` would not have. It
    does not change where the sources are moved, turned and scaled together.

    The rows are those of a `ThinPlateSpline`'s points, if they are a mesh, as `text_rows()` and
    regular grids are. Of all else it is a lattice of 8 × 8 points.

    Args:
        transformation: of θ, in 2-D.
        theta: (N, P).
        source_size: (H, W) of the images, whose pixels lengths and angles are those of. None: of
            square images.

    Raises:
        InputError: for a transformation in 3-D.

    Example:
        >>> import torch
        >>> from spatial_transformers import ThinPlateSpline, layout_penalty, text_rows
        >>> spline = ThinPlateSpline(text_rows(6, margin=0.25))  # a step is half an extent long
        >>> theta = torch.zeros(2, 12)
        >>> theta[1, 2] = 0.25  # the middle point above lies half a step to the right
        >>> layout_penalty(spline, theta)
        tensor([0.0000, 0.1250])

    """
    if transformation.ndim != 2:
        raise InputError(
            f"layout_penalty was asked of {transformation}; give a transformation of images, in 2-D"
        )
    points = _mesh(transformation, transformation.check(theta))  # (rows, columns, 2)
    mapped = transformation.transform_points(theta, points.flatten(0, 1)[None])
    scale = pixel_frame(as_size(1 if source_size is None else source_size, 2), False).scale
    mapped = torch.unflatten(mapped, 1, points.shape[:2]) * points.new_tensor(scale)
    along, down = (_known(mapped.diff(dim=axis)) for axis in (2, 1))
    total = _unevenness(along, points.diff(dim=1)[..., 0], 2)
    if points.shape[0] > 2:
        total = total + _unevenness(down, points.diff(dim=0)[..., 1], 1)
    ways = along / _lengths(along)[..., None]
    turns = ways.diff(dim=1).square().sum(-1) / 2  # 1 - cos, without cancellation
    return total + turns.flatten(1).mean(1) + _folds(along, down)


def triplet_hinge(
    crops: Float[Tensor, "N D"], patches: Float[Tensor, "N D"], *, margin: float = 1.0
) -> Float[Tensor, "N N"]:
    """Return what is missing for each crop to be more like the others than like its own image.

    It is the loss of co-localisation: a transformer that crops what all images show, an object that
    nobody has labelled, makes crops that are alike, and unlike a random patch of the same image.
    For images n and m the hinge is

        max(0, |e(T_n) - e(T_m)|² - |e(T_n) - e(R_n)|² + α)

    with an encoding e, such as the activations of a trained network, of the crops T and of random
    patches R. The paper's loss is the sum of all hinges. A hinge that holds has no gradient.

    Args:
        crops: encodings e(T_n) of what a transformer made of each image.
        patches: encodings e(R_n) of a random patch of each image, of about the size of the object.
        margin: α, by how much a crop must be nearer to the others.

    Returns:
        The hinges of n (rows) and m (columns), 0 for n = m.

    Raises:
        InputError: for encodings of different shapes, and a margin below 0.

    Example:
        >>> import torch
        >>> from spatial_transformers import triplet_hinge
        >>> crops, patches = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [0.5]])
        >>> triplet_hinge(crops, patches)  # 1 - 9 + 1 < 0, and 1 - 0.25 + 1
        tensor([[0.0000, 0.0000],
                [1.7500, 0.0000]])

    Source: Jaderberg et al., Spatial Transformer Networks, NIPS 2015, appendix A.2.

    """
    for what, given in (("crops", crops), ("patches", patches)):
        require_tensor(given, "triplet_hinge", what)
    if crops.ndim != 2 or crops.shape != patches.shape:
        raise InputError(
            f"crops of shape {tuple(crops.shape)} and patches of shape {tuple(patches.shape)} were "
            "given; give encodings (N, D) of both"
        )
    if not 0 <= margin < inf:
        raise InputError(f"margin={margin!r} was given; give 0 or more")
    between = (crops[:, None] - crops).square().sum(-1)
    within = (crops - patches).square().sum(-1, keepdim=True)
    hinges = (between - within + margin).clamp(min=0)
    return hinges.masked_fill(torch.eye(len(hinges), dtype=torch.bool, device=hinges.device), 0)


def _known(values: Tensor) -> Tensor:
    """Return 0, without a gradient, for what points without an image give."""
    return values.where(values.isfinite(), 0)


def _mesh(transformation: Transformation, like: Tensor) -> Float[Tensor, "rows columns 2"]:
    """Return the points at which a layout is looked at."""
    if isinstance(transformation, ThinPlateSpline) and transformation._mesh_counts is not None:
        points = transformation._constants["points"].to(like)
        return torch.unflatten(points, 0, transformation._mesh_counts)
    return regular_grid(_POINTS, dtype=like.dtype, device=like.device)


def _lengths(steps: Tensor) -> Tensor:
    return (steps.square().sum(-1) + _TINY).sqrt()


def _unevenness(steps: Tensor, targets: Tensor, axis: int) -> Tensor:
    """Return the variance of steps (N, rows, columns, 2) along an axis, over their mean's square.

    Of each it is the length as a multiple of that in the target (rows, columns).
    """
    ratios = _lengths(steps) / targets
    spread = (ratios - ratios.mean(axis, keepdim=True)).square().flatten(1).mean(1)
    return spread / ratios.flatten(1).mean(1).square()


def _folds(along: Tensor, down: Tensor) -> Tensor:
    """Return the mean over corners of how far a cell is turned over there, (N,)."""
    sides = _lengths(along).flatten(1).mean(1) * _lengths(down).flatten(1).mean(1)
    corners = [
        row[..., 0] * column[..., 1] - row[..., 1] * column[..., 0]
        for row in (along[:, :-1], along[:, 1:])
        for column in (down[:, :, :-1], down[:, :, 1:])
    ]
    turned = torch.stack(corners, 1).neg().clamp(min=0)
    return turned.flatten(1).mean(1) / sides


def _moments(transformation: Transformation, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (N, ndim) and covariance (N, ndim, ndim) of a grid's points."""
    points = _known(transformation.grid(theta, _POINTS)).flatten(1, -2)
    centred = points - points.mean(1, keepdim=True)
    covariance = centred.mT @ centred / points.shape[1]
    ridge = 1e-4 * torch.eye(points.shape[-1], dtype=points.dtype, device=points.device)
    return points.mean(1), covariance + ridge


def _alike(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """Return the Bhattacharyya coefficient of two normal distributions (N,)."""
    (mean, covariance), (other_mean, other_covariance) = first, second
    between, apart = (covariance + other_covariance) / 2, (mean - other_mean)[..., None]
    distance = (apart.mT @ torch.linalg.solve(between, apart))[:, 0, 0] / 8
    size = torch.logdet(between) - (torch.logdet(covariance) + torch.logdet(other_covariance)) / 2
    return torch.exp(-distance - size / 2)
