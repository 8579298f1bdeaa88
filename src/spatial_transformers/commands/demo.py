"""Train CNN and ST-CNN on digits that ship; a table and a picture.

Example:
  stn demo --out runs/demo
"""

import argparse
from pathlib import Path

from .._errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder and the number of seeds."""
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder (runs/demo)")
    parser.add_argument("--seeds", type=int, default=3, help="runs per network (3)")


def run(args: argparse.Namespace) -> int:
    """Train what is not trained yet, then print the table and the paths of picture and film."""
    from .._files import write_json
    from ..experiments import run as runs
    from ..experiments.registry import defaults, named
    from ..experiments.table import error_table

    if args.seeds < 1:
        raise InputError(f"--seeds {args.seeds} was asked for; give 1 or more")
    name, models = "small-digits", ("cnn", "st-cnn")
    results: dict[str, list] = {model: [] for model in models}
    for seed in range(args.seeds):
        for model in models:
            print(f"{model}, seed {seed}", flush=True)
            recipe = defaults(name, model=model, seed=seed)
            results[model].append(runs.train(recipe, args.out / f"{model}-{seed}", resume=True))
    write_json(args.out / "results.json", results)
    print(f"\nSmall digits, {results['cnn'][0]['test_images']:,} test images\n")
    print(error_table(results, named(name).headline))
    picture, film = args.out / "st-cnn.png", args.out / "st-cnn.gif"
    runs.show(args.out / "st-cnn-0", picture)
    runs.film(args.out / "st-cnn-0", film)
    print(f"\npicture: {picture}\nfilm: {film}")
    return 0
