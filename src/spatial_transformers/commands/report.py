"""Tell what a run has learnt on one page of HTML.

Example:
  stn report runs/photos --out photos.html
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run and the page."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder made by stn train")
    parser.add_argument("--out", type=Path, required=True, help="the page, a file .html")
    parser.add_argument("--data", type=Path, help="folder of the data set's files, if it has moved")


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path."""
    from ..experiments import report

    report.write(args.run_folder, args.out, data=args.data)
    print(args.out)
    return 0
