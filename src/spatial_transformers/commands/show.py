"""Draw a run's transformer at work: grid, output, θ in words.

Example:
  stn show runs/digits --out digits.png
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the picture and how many images it shows."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder made by stn train")
    parser.add_argument("--out", type=Path, required=True, help="the picture, a PNG")
    parser.add_argument("--count", type=int, default=8, help="images shown, 1 to 32 (8)")
    parser.add_argument("--data", type=Path, help="folder of the data set's files, if it has moved")


def run(args: argparse.Namespace) -> int:
    """Write the picture and print its path."""
    from ..experiments import run

    run.show(args.run_folder, args.out, count=args.count, data=args.data)
    print(args.out)
    return 0
