"""Whether a transformer has learned anything yet, in words."""

from collections.abc import Iterator

from torch import Tensor

from spatial_transformers import Transformation

from ...protection.measures import each_map, spread
from .findings import Alignment

_HARDLY = 0.02  # half extents: grids that lie nearer are as good as the same
_POINTS = 8  # of the grid along each axis


def lessons(alignment: Alignment) -> Iterator[str]:
    """Give a sentence of each transformer that does the same to all images, or hardly anything.

    It compares θ of the test images with one another, and with θ before the first step.
    """
    family, first = alignment.transformer.transformation, alignment.history[0]
    maps = each_map(alignment.theta)
    for number, (theta, start) in enumerate(zip(maps, each_map(first), strict=True), 1):
        which = f"Transformer {number}" if len(maps) > 1 else "The transformer"
        apart, moved = spread(family, theta).item(), _moved(family, theta, start)
        if apart < _HARDLY and moved < _HARDLY:
            yield (
                f"{which} has learned nothing yet: θ has hardly left its start. What it reads has "
                f"moved by {100 * moved:.1f} % of half the image, on the average. Train for more "
                "epochs, or give --localisation-lr a larger number."
            )
        elif apart < _HARDLY:
            yield (
                f"{which} does the same to all images, as a fixed crop would: it has learned "
                "nothing of the single image yet. What it reads differs from image to image by "
                f"{100 * apart:.1f} % of half the image. Train for more epochs, or on more images."
            )


def _moved(family: Transformation, theta: Tensor, start: Tensor) -> float:
    """Return how far grids lie from those of the start, in half extents."""
    grids, before = family.grid(theta, _POINTS), family.grid(start, _POINTS)
    return (grids - before.mean(0)).double().square().sum(-1).nanmean().sqrt().item()
