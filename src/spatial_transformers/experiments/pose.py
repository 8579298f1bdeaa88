"""What a person reads in the θ of many images: human units, what leaves the image, what aligns."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from spatial_transformers import Affine, Transformation, box_points, enclosing_boxes

from ..protection.measures import each_map, outside
from .data.samples import Placed

_GRID = 16  # points per axis that stand for the grid
_FAR = 8.0  # points further out, as near a projective map's horizon, are moved in to here
_VARIES = 1e-3  # standard deviation of a quantity that is not rounding alone

_T = TypeVar("_T")


def summarise(transformation: Transformation, theta: Tensor) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation over the images of each quantity in human units.

    `outside (%)` is the share of the sampling grid beyond the image's edges. Of transformers side
    by side, θ (N, K, P), the other quantities are those of each.
    """
    values = {"outside (%)": 100 * outside(transformation, theta.flatten(0, -2), _GRID)}
    several = theta.ndim == 3 and theta.shape[1] > 1
    for number, one in enumerate(theta.unbind(1) if theta.ndim == 3 else [theta], 1):
        of_which = f", transformer {number}" if several else ""
        described = transformation.describe(one)
        values |= {f"{name}{of_which}": value for name, value in described.items()}
    return {
        name: {"mean": value.mean().item(), "std": value.std(correction=0).item()}
        for name, value in values.items()
    }


def alignment(given: Placed, found: Placed, groups: Tensor) -> dict[str, dict[str, float]]:
    """Return how far apart images of a group lie: `before` and `after` the transformer.

    Before, an image lies where it was placed on its canvas; after, where the transformer's output
    reads it. Either place is described by the nearest affine map. The result is, for each quantity,
    the median distance from the median of the image's own group, since groups may come out at
    different poses.

    Args:
        given: the canvas → the image.
        found: the output → the canvas.
        groups: (N,) of the images, such as their classes.

    Example:
        >>> import torch
        >>> turn = torch.tensor([[0.0, -1, 0, 1, 0, 0], [-1.0, 0, 0, 0, -1, 0]])  # by 90°, 180°
        >>> poses = alignment((Affine(), turn), (Affine(), turn.flip(0)), torch.zeros(2))
        >>> poses["rotation (deg)"]["after"]  # both come out turned by 270°
        0.0

    """
    described = {"before": _described(given), "after": _described(found, given)}
    return {
        name: {when: _spread(parts[name], groups, name) for when, parts in described.items()}
        for name in described["before"]
    }


def correlations(given: Placed, found: Placed) -> dict[str, dict[str, float]]:
    """Return how each transformer's pose goes with that of each part of a sample: -1 to 1.

    It is the correlation over the samples, on the mean of all quantities of the nearest affine maps
    from the output, and from the part, to the canvas: 1 for a transformer that follows the part.

    Args:
        given: the canvas → each of D parts, θ (N, D, P).
        found: the output of each of K transformers → the canvas, θ (N, K, P), or (N, P) of one.

    Example:
        >>> import torch
        >>> from spatial_transformers import Translation
        >>> places = torch.tensor([[[0.1, 0.0], [0.2, 0.1]], [[0.3, 0.4], [0.1, 0.0]]])
        >>> both = correlations((Translation(), -places), (Translation(), places))
        >>> both["transformer 1"]
        {'part 1': 1.0, 'part 2': -1.0}

    """
    family, theta = found
    parts = [_described((given[0], given[0].inverse(part))) for part in given[1].unbind(1)]
    poses = [_described((family, own)) for own in each_map(theta)]
    return _each_with_each(poses, parts, _correlation)


def overlaps(given: Placed, found: Placed) -> dict[str, dict[str, float]]:
    """Return how well each transformer frames each part of a sample: intersection over union.

    It is the mean over the samples, of the boxes along the axes about what a transformer reads and
    about where the part lies: 1 where they are the same. Arguments are as of `correlations`.

    Example:
        >>> import torch
        >>> from spatial_transformers import Attention
        >>> parts = torch.tensor([[[2.0, 1, 0], [2.0, -1, 0]]])  # the left half, the right half
        >>> both = overlaps((Attention(), parts), (Attention(), torch.tensor([[0.5, -0.5, 0.0]])))
        >>> both["transformer 1"]
        {'part 1': 1.0, 'part 2': 0.0}

    """
    parts = [frame(given[0], given[0].inverse(part)) for part in given[1].unbind(1)]
    views = [frame(found[0], own) for own in each_map(found[1])]
    return _each_with_each(views, parts, lambda a, b: round(iou(a, b).mean().item(), 4))


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union (N,) of boxes (N, 2 · ndim), the lower corner first."""
    (low, high), (lower, higher) = boxes.chunk(2, -1), others.to(boxes).chunk(2, -1)
    common = (torch.minimum(high, higher) - torch.maximum(low, lower)).clamp(min=0).prod(-1)
    return common / ((high - low).prod(-1) + (higher - lower).prod(-1) - common)


def frame(family: Transformation, theta: Tensor) -> Tensor:
    """Return the box (N, 2 · ndim) about all that is read, the lower corner first."""
    whole = torch.tensor([[family.ndim * [-1.0] + family.ndim * [1.0]]], dtype=theta.dtype)
    points = box_points(whole).expand(len(theta), -1, -1)
    return enclosing_boxes(family.transform_points(theta, points), 1)[:, 0]


def _each_with_each(
    transformers: Sequence[_T], parts: Sequence[_T], score: Callable[[_T, _T], float]
) -> dict[str, dict[str, float]]:
    return {
        f"transformer {k}": {f"part {d}": score(own, part) for d, part in enumerate(parts, 1)}
        for k, own in enumerate(transformers, 1)
    }


def _correlation(pose: Mapping[str, Tensor], part: Mapping[str, Tensor]) -> float:
    """Return the mean correlation of the quantities that vary."""
    pairs = (torch.stack((part[name], pose[name].to(part[name]))) for name in part)
    found = [torch.corrcoef(pair)[0, 1] for pair in pairs if pair[0].std() > _VARIES]
    return round(torch.stack(found).nan_to_num().mean().item(), 4)


def _described(*steps: Placed) -> Mapping[str, Tensor]:
    """Return the parts of the affine map nearest to transformations made one after the other."""
    affine = Affine(steps[0][0].ndim)
    start = affine.grid(affine.identity()[None], _GRID).view(-1, affine.ndim)
    start = start.to(steps[0][1].dtype)
    points = start.expand(len(steps[0][1]), -1, -1)
    for transformation, theta in steps:
        points = transformation.transform_points(theta.to(points), points)
        points = points.nan_to_num().clamp(-_FAR, _FAR)
    known = torch.cat((start, torch.ones_like(start[:, :1])), 1)  # (P, 3)
    matrix = (torch.linalg.pinv(known) @ points).mT  # (N, ndim, ndim + 1)
    return affine.describe(matrix.flatten(1))


def _spread(values: Tensor, groups: Tensor, name: str) -> float:
    distances = []
    for group in groups.unique():
        own = values[groups == group]
        if name.endswith("(deg)"):  # turned so that their mean direction is 0
            mean = torch.atan2(own.deg2rad().sin().mean(), own.deg2rad().cos().mean()).rad2deg()
            own = (own - mean + 180) % 360 - 180
        distances.append((own - own.median()).abs())
    return torch.cat(distances).median().item()
