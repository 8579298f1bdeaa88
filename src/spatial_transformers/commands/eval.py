"""Score a finished run on its test set.

Examples:
  stn eval runs/digits
  stn eval runs/digits --json | jq .test_error
"""

import argparse
import json
from pathlib import Path

from .train import add_trainer_arguments, trainer_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run and where its data lie now."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder made by stn train")
    parser.add_argument("--data", type=Path, help="folder of the data set's files, if it has moved")
    parser.add_argument("--json", action="store_true", help="print all metrics, as JSON")
    add_trainer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the test error, also on independent inputs, the network's size, and what θ does."""
    from ..experiments import metrics, run
    from ..experiments.registry import named

    options = {"enable_progress_bar": not args.json, **trainer_options(args)}
    found = run.evaluate(args.run_folder, data=args.data, **options)
    if args.json:
        print(json.dumps(found))
        return 0
    print(f"{args.run_folder}: {metrics.in_words(found)}")
    headline = named(found["recipe"]["experiment"]).headline
    for name, value in found["independent"].items():
        print(f"  {headline.name} of {name}: {headline.in_words(value)}")
    for name, value in found["theta"].items():
        print(f"  {name}: {value['mean']:.2f} ± {value['std']:.2f}")
    return 0
