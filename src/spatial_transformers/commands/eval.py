"""Score a finished run on its test set.

Example:
  stn eval runs/digits
"""

import argparse
from pathlib import Path

from .train import add_trainer_arguments, trainer_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run and where its data lie now."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder made by stn train")
    parser.add_argument("--data", type=Path, help="folder of the data set's files, if it has moved")
    add_trainer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the test error, also on independent inputs, the network's size, and what θ does."""
    from ..experiments import metrics, run
    from ..experiments.registry import named

    found = run.evaluate(args.run_folder, data=args.data, **trainer_options(args))
    print(f"{args.run_folder}: {metrics.in_words(found)}")
    headline = named(found["recipe"]["experiment"]).headline
    for name, value in found["independent"].items():
        print(f"  {headline.name} of {name}: {headline.in_words(value)}")
    for name, value in found["theta"].items():
        print(f"  {name}: {value['mean']:.2f} ± {value['std']:.2f}")
    return 0
