"""Whether a spatial transformer pays: the same network without it, and both in comparison."""

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

from spatial_transformers import InputError

from .networks import has_transformer, plain
from .recipe import Recipe
from .registry import named

BASELINE = "baseline"  # the folder in a run's own that holds the network without a transformer
_ERRORS = 2.0  # standard errors, within which two numbers may differ by chance


def without_transformer(recipe: Recipe) -> Recipe:
    """Return the recipe of the same network without its transformer.

    Raises:
        InputError: if it has none.

    """
    if not has_transformer(recipe.model):
        raise InputError(
            f"--baseline was asked for with the model {recipe.model}, which has no transformer "
            "itself; leave --baseline out, or give another --model"
        )
    return replace(recipe, model=plain(recipe.model))


def verdict(with_it: Mapping[str, Any], without: Mapping[str, Any]) -> str:
    """Return in words whether the transformer pays.

    The standard error of a share p of N images is √(p (1 - p) / N). Two images are added, one of
    which is misread, so that it is not 0 where none or all are (Agresti and Caffo, 2000).
    Both networks see the same test images, so the true one of their difference is smaller, and the
    verdict cautious.
    """
    metric = named(with_it["recipe"]["experiment"]).headline
    ours, theirs = (found[f"test_{metric.key}"] for found in (with_it, without))
    numbers = f"{metric.in_words(ours)} {metric.name} with it, {metric.in_words(theirs)} without"
    better = ours < theirs if metric.less_is_better else ours > theirs
    if metric.unit == "%":
        count = with_it["test_images"]
        shares = [(value / 100 * count + 1) / (count + 2) for value in (ours, theirs)]
        spread = sqrt(sum(p * (1 - p) for p in shares) / (count + 2))
        if abs(shares[0] - shares[1]) < _ERRORS * spread:
            return (
                f"whether the transformer pays is open: {numbers}, and the difference is within "
                f"what {count:,} test images leave to chance; try several --seed"
            )
    return f"the transformer {'pays' if better else 'does not pay'}: {numbers}"
