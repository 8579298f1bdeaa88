"""Cases for GPUs only: larger batches, and gradients that are the same in every run."""

from dataclasses import replace

from .. import Affine, Similarity, Transformation
from .cases import Case
from .rivals import compiled, grid_sample
from .warps import CHANNELS_LAST, ours, shown, warp_case

_SHAPES = (
    ((32, 3, 256, 256), ""),
    ((128, 3, 224, 224), ""),
    ((64, 64, 56, 56), ""),
    ((64, 64, 56, 56), CHANNELS_LAST),
    ((32, 1, 64, 64, 64), ""),
)
_REPEATABLE = ((32, 3, 256, 256), ""), ((64, 64, 56, 56), ""), ((64, 64, 56, 56), CHANNELS_LAST)


def _large(shape: tuple[int, ...], layout: str) -> Case:
    suffix = "-channels-last" if layout else ""
    rivals = grid_sample(), compiled(grid_sample())
    name = f"cuda-{shown(shape)}{suffix}"
    return warp_case(name, Affine(len(shape) - 2), shape, *rivals, layout=layout, device="cuda")


def _repeatable(transformation: Transformation, shape: tuple[int, ...], layout: str) -> Case:
    """Return a case of deterministic gradients, whose rival is ours in the default mode."""
    rival = replace(ours(transformation, None), name="ours, not deterministic")
    kind = type(transformation).__name__.lower()
    suffix = "-channels-last" if layout else ""
    return warp_case(
        f"deterministic-{kind}-{shown(shape)}{suffix}",
        transformation,
        shape,
        rival,
        layout=layout,
        device="cuda",
        deterministic=True,
    )


CASES = (
    *(_large(*row) for row in _SHAPES),
    *(_repeatable(Affine(), *row) for row in _REPEATABLE),
    _repeatable(Similarity(), (32, 3, 256, 256), ""),
)
