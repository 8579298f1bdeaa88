"""Write a run's network as a file for other programs, and check it.

Examples:
  stn export runs/digits
  stn export runs/digits --to pt2 --out digits.pt2
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the file and its format."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder made by stn train")
    parser.add_argument("--to", choices=("onnx", "pt2"), help="format (as --out ends, or onnx)")
    parser.add_argument("--out", type=Path, help="the file (model.onnx or .pt2 in RUN)")
    parser.add_argument(
        "--decompose", action="store_true", help="for runtimes without GridSample: gathers, sums"
    )
    parser.add_argument(
        "--opset", type=int, help="of ONNX, 16 or later, for runtimes that lag (20)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the file, the images that it takes, and its distance from PyTorch; 1 if that is far."""
    from ..experiments.deploy import TOLERANCE, deploy

    options = {} if args.opset is None else {"opset": args.opset}
    done = deploy(args.run_folder, args.out, to=args.to, decompose=args.decompose, **options)
    print(f"{done.path}: image {done.takes}")
    print(f"largest difference from PyTorch: {done.difference:.1e}")
    return 0 if done.difference <= TOLERANCE else 1
