"""What a run found: its metrics, as they lie in `metrics.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_transformers import InputError

from .._reading import Finite, read_json
from .recipe import Recipe
from .registry import named

_CURE = "delete it and finish the run with `stn train --resume`, or train again"
_EXPECTED = {
    "recipe": {str: object},
    "independent": {str: Finite},
    "test_images": int,
    "parameters": int,
    "theta": {str: {"mean": float, "std": float}},
    "alignment": {str: {"before": float, "after": float}},
}


def read(path: Path, recipe: Recipe) -> dict[str, Any]:
    """Read the metrics of a run.

    Raises:
        InputError: if there are none, or they are damaged or of another recipe.

    """
    scores = {
        f"test_{metric.key}": Finite for metric in named(recipe.experiment).task(recipe).metrics
    }
    metrics = read_json(path, {**_EXPECTED, **scores}, what="metrics of a run", cure=_CURE)
    if different := recipe.differences(type(recipe).from_json(metrics["recipe"], path)):
        raise InputError(f"{path}: metrics of another recipe ({different}); {_CURE}")
    return metrics


def in_words(metrics: Mapping[str, Any]) -> str:
    """Return the headline metric, and the counts of images and parameters, on one line."""
    metric = named(metrics["recipe"]["experiment"]).headline
    value, count = metrics[f"test_{metric.key}"], metrics["test_images"]
    return (
        f"test {metric.name} {metric.in_words(value)} of {count:,} images, "
        f"{metrics['parameters']:,} parameters"
    )
