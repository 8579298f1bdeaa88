"""Write a run's network as a file for other programs, or share it.

Examples:
  stn export runs/digits
  stn export runs/digits --to pt2 --out digits.pt2
  stn export runs/digits --to hub --license apache-2.0 --push someone/digits
"""

import argparse
from pathlib import Path

from .._errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the file and its format."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder made by stn train")
    parser.add_argument(
        "--to", choices=("onnx", "pt2", "hub"), help="format (as --out ends, or onnx)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="the file, or the folder for the Hub (model.onnx, .pt2 or hub in RUN)",
    )
    parser.add_argument(
        "--decompose", action="store_true", help="for runtimes without GridSample: gathers, sums"
    )
    parser.add_argument(
        "--opset", type=int, help="of ONNX, 16 or later, for runtimes that lag (20)"
    )
    parser.add_argument("--license", help="for the Hub: the model's, as apache-2.0")
    parser.add_argument("--push", metavar="REPO", help="for the Hub: upload it, as someone/digits")


def run(args: argparse.Namespace) -> int:
    """Print the file, the images that it takes, and its distance from PyTorch; 1 if that is far."""
    if args.to == "hub":
        return _share(args)
    if args.license is not None or args.push is not None:
        raise InputError("--license and --push are of a folder for the Hub; give --to hub")
    from ..experiments.deploy import TOLERANCE, deploy

    options = {} if args.opset is None else {"opset": args.opset}
    done = deploy(args.run_folder, args.out, to=args.to, decompose=args.decompose, **options)
    print(f"{done.path}: image {done.takes}")
    print(f"largest difference from PyTorch: {done.difference:.1e}")
    return 0 if done.difference <= TOLERANCE else 1


def _share(args: argparse.Namespace) -> int:
    """Write the folder for the Hub, or upload it, and print where it is."""
    from ..experiments import sharing

    if args.decompose or args.opset is not None:
        raise InputError("--decompose and --opset are of a file for other programs; leave them out")
    if args.push is not None and args.out is not None:
        raise InputError("--out and --push were asked for together; give one of them")
    if args.push is not None:
        print(sharing.push(args.run_folder, args.push, license=args.license))
        return 0
    folder = args.out or args.run_folder / "hub"
    sharing.save(args.run_folder, folder, license=args.license)
    print(folder)
    return 0
