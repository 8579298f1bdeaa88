"""Straighten image files as a run has learnt it; write θ as a table.

Examples:
  stn apply runs/photos new/*.jpg --out straight
  stn apply runs/photos new/ --out straight --table straight/theta.json
"""

import argparse
import sys
from pathlib import Path

from .._errors import InputError

_TABLES = (".csv", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the images, and where the results go."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder made by stn train")
    parser.add_argument(
        "images", type=Path, nargs="+", help="image files, or folders, which keep their paths"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of straightened images")
    parser.add_argument(
        "--table", type=Path, help="θ in human units and predictions, .csv or .json (OUT/theta.csv)"
    )
    parser.add_argument("--mode", help="a kernel, as lanczos3 (the transformer's own)")


def run(args: argparse.Namespace) -> int:
    """Write images and the table; return 2 if an image could not be read or written."""
    from .._files import write_json, write_rows
    from .._images import destinations
    from ..experiments.progress import Bar
    from ..experiments.straighten import Straightener

    table = args.table or args.out / "theta.csv"
    if table.suffix.lower() not in _TABLES:
        raise InputError(f"--table {table} was asked for; give a name that ends in .csv or .json")
    straighten = Straightener(args.run_folder, mode=args.mode)
    files = destinations(args.images, args.out)
    for folder in {args.out, *(target.parent for target in files.values())}:
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for done in Bar(straighten(files), "straightening", total=len(files), unit="image"):
        if done.error:
            Bar.write(f"stn apply: {done.error}", file=sys.stderr)
        else:
            rows.append({"file": str(done.source), "straightened": str(done.target), **done.found})
    write = write_json if table.suffix.lower() == ".json" else write_rows
    write(table, rows)
    print(f"{len(rows)} of {len(files)} images in {args.out}, and θ in {table}")
    return 0 if len(rows) == len(files) else 2
