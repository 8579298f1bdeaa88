"""The check that comes before every ratio: contenders give the same values and gradients."""

from collections.abc import Sequence

from torch import Tensor


class UnequalError(Exception):
    """A rival's result is not ours, so no ratio means anything."""


def tolerances(side: int) -> tuple[float, float]:
    """Return how far values, relative to their range, and gradients, to their largest, may differ.

    Contenders round float32 coordinates in different ways, with errors in pixels that grow with the
    image's side. Across a kink such an error changes the slope, so gradients may differ more.
    """
    return 1e-5 + side * 2.0**-22, 1e-4 + side * 2.0**-18


def require_equal(
    name: str, expected: Sequence[Tensor], found: Sequence[Tensor], limits: Sequence[float]
) -> float:
    """Return the largest relative difference: of values, which come first, and of gradients.

    Raises:
        UnequalError: naming what differs, and by how much.

    """
    what = ["values", *(f"gradients {i}" for i in range(1, len(expected)))]
    largest = 0.0
    for part, ours, theirs, limit in zip(what, expected, found, limits, strict=True):
        if ours.shape != theirs.shape:
            shapes = tuple(theirs.shape), tuple(ours.shape)
            raise UnequalError(f"{name}: {part} of shape {shapes[0]}, expected {shapes[1]}")
        difference = _relative(ours.detach(), theirs.detach(), values=part == "values")
        if not difference <= limit:  # also for NaN
            raise UnequalError(
                f"{name}: {part} differ by {difference:.2g} of their range, more than {limit:.2g}; "
                "nothing was compared"
            )
        largest = max(largest, difference)
    return largest


def _relative(ours: Tensor, theirs: Tensor, *, values: bool) -> float:
    difference = (theirs - ours).abs().max().item()
    scale = (ours.max() - ours.min() if values else ours.abs().max()).item()
    return difference / scale if difference else 0.0
