"""Time the library against others; train with and without it.

Examples:
  stn bench --quick
  stn bench shapes size-1x1x8x8 --json runs/bench.json
  stn bench --device cuda --json runs/bench-cuda.json
  stn bench hostile --data data/ --jobs 2 --json runs/hostile.json
  stn bench overhead --json runs/overhead.json
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is measured, where, how often, and the file of results."""
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="CASE",
        help="a case or a group (all of them); or `overhead`; or `hostile`, then set-ups (all)",
    )
    parser.add_argument("--quick", action="store_true", help="few cases and repeats, no compiling")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    parser.add_argument("--repeats", type=int, help="timings of each contender (15, or 5)")
    parser.add_argument("--threads", type=int, help="of torch (its own choice)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write results after every case; continues a file that was measured alike",
    )
    hostile = parser.add_argument_group("of `hostile`")
    hostile.add_argument(
        "--data",
        type=Path,
        help="folder with mnist/ and gtsrb32/ in it; scikit-learn's digits without",
    )
    hostile.add_argument("--seeds", type=int, help="runs of every set-up and network (5, or 1)")
    hostile.add_argument("--jobs", type=int, default=1, help="runs at a time, a thread each (1)")


def run(args: argparse.Namespace) -> int:
    """Print rows; return 1 if contenders of any case were unequal."""
    if args.cases[:1] == ["hostile"]:
        from ..benchmarks.hostile.run import bench as train

        options = {"seeds": args.seeds, "jobs": args.jobs, "quick": args.quick, "path": args.json}
        print(train(args.data, names=tuple(args.cases[1:]), **options))
        return 0
    if args.cases == ["overhead"]:
        from ..benchmarks import overhead

        options = {"quick": args.quick, "repeats": args.repeats, "threads": args.threads}
        print(overhead.bench(device=args.device, path=args.json, **options))
        return 0
    from ..benchmarks.run import bench

    unequal = bench(
        args.cases,
        quick=args.quick,
        device=args.device,
        repeats=args.repeats,
        threads=args.threads,
        path=args.json,
    )
    return 1 if unequal else 0
