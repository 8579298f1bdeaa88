"""Train a whole table of the paper; print its figures beside ours.

Examples:
  stn reproduce mnist-addition --quick --out runs/addition
  stn reproduce distorted-mnist --data mnist/ --out results --jobs 2
  stn reproduce distorted-mnist --data mnist/ --out results --only R/cnn,R/st-cnn/affine
  stn reproduce distorted-mnist --out results --table
  stn reproduce distorted-mnist --data mnist/ --out docs/results/distorted-mnist --check
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import InputError
from .train import add_trainer_arguments, trainer_options

if TYPE_CHECKING:
    from ..experiments.task import Metric


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which cells, and what to do with them."""
    from ..experiments.registry import EXPERIMENTS

    tables = [name for name, e in EXPERIMENTS.items() if e.cells(e.recipe)]
    parser.add_argument("experiment", help=", ".join(tables))
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--out", type=Path, required=True, help="folder of all runs")
    parser.add_argument(
        "--only",
        default="",
        help="cells, as R/cnn,R/st-cnn/affine, or how their names begin, as R (all)",
    )
    parser.add_argument("--seeds", type=int, help="runs per cell (3, or 1 if --quick)")
    parser.add_argument(
        "--quick", action="store_true", help="a rehearsal of minutes, on data that ship"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (1)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--table", action="store_true", help="train nothing; renew table and pictures"
    )
    what.add_argument("--check", action="store_true", help="score the weights in --out once more")
    add_trainer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train and write the table and the pictures, or check."""
    from ..experiments import reproduce
    from ..experiments.registry import named
    from ..experiments.run import is_first_process

    seeds = (1 if args.quick else 3) if args.seeds is None else args.seeds
    if seeds < 1 or args.jobs < 1:
        raise InputError(f"--seeds {seeds} --jobs {args.jobs} were asked for; give 1 or more")
    if args.quick and args.data is not None:
        raise InputError(
            f"--quick was asked for with --data {args.data}, but a rehearsal runs on data that "
            "ship; leave one of them out"
        )
    only = [name for name in args.only.split(",") if name]
    chosen = reproduce.cells(args.experiment, only, quick=args.quick)
    metric = named(args.experiment).headline
    where = {"data": args.data, **trainer_options(args)}
    if not args.table:
        reproduce.verify(args.experiment, args.data)
    if args.check:
        return _check(reproduce.check(chosen, args.out, metric, **where), metric)
    if not args.table:
        for line in reproduce.train(chosen, args.out, seeds=seeds, jobs=args.jobs, **where):
            if is_first_process():
                print(line, flush=True)
    if is_first_process():
        print(reproduce.report(chosen, args.out, metric, data=args.data))
    return 0


def _check(found: Iterable[tuple[str, float, float]], metric: "Metric") -> int:
    """Print what is found again, and return 1 if something is not."""
    differ = checked = 0
    for name, printed, again in found:
        before, now = metric.in_words(printed), metric.in_words(again)
        same = before == now
        print(f"{name}: {now}, {'as' if same else 'but'} {before} before", flush=True)
        checked, differ = checked + 1, differ + (not same)
    print(f"{checked - differ} of {checked} as before")
    return 1 if differ or not checked else 0
