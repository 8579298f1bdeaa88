"""Train one network, with checkpoints, curves and resume.

Examples:
  stn train rotated-digits --model st-cnn --out runs/digits
  stn train distorted-mnist --distortion R --data mnist/ --epochs 2 --out runs/r
  stn train distorted-mnist --out runs/r --resume
  stn train folder --data photos/ --baseline --out runs/photos
  tensorboard --logdir runs
"""

import argparse
import os
from pathlib import Path
from typing import Any

from .._errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the facts of all recipes, and Lightning's options."""
    from ..experiments.registry import EXPERIMENTS, options

    parser.add_argument("experiment", help=", ".join(EXPERIMENTS))
    for name, option in options().items():
        how: Any = {"type": option.kind}
        if option.kind is bool:
            how = {"action": argparse.BooleanOptionalAction}
        parser.add_argument(f"--{name.replace('_', '-')}", help=option.text, **how)
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="also train the network without a transformer, in the folder OUT/baseline",
    )
    add_trainer_arguments(parser)


def add_trainer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where Lightning computes."""
    kinds = ("auto", "cpu", "gpu", "mps")
    parser.add_argument("--accelerator", choices=kinds, default=kinds[0], help="(auto)")
    parser.add_argument(
        "--devices", type=int, default=1, help="processes that share each batch (1, or torchrun's)"
    )


def run(args: argparse.Namespace) -> int:
    """Train, and print the test result."""
    from ..experiments import compare, metrics, run, supply
    from ..experiments.registry import changed, chosen, defaults, options

    if not args.resume:
        run.refuse_started(args.out)
    started = run.started(args.out) if args.resume else None
    recipe = started or defaults(args.experiment)
    given = {name: getattr(args, name) for name in options() if getattr(args, name) is not None}
    recipe = changed(recipe, experiment=args.experiment, **given)
    if args.baseline:
        compare.without_transformer(recipe)  # refuses before files are looked at
    if started is None:
        recipe, reasons = chosen(recipe, args.data, given)
        for reason in reasons if run.is_first_process() else ():
            print(reason, flush=True)
    where = {"data": args.data, "resume": args.resume, "reading": supply.read_once()}
    where |= trainer_options(args)
    found = run.train(recipe, args.out, **where)
    if run.is_first_process():
        print(f"{args.out}: {metrics.in_words(found)}")
    if args.baseline:
        without, folder = compare.without_transformer(recipe), args.out / compare.BASELINE
        other = run.train(without, folder, beside=args.out, **where)
        if run.is_first_process():
            print(f"{folder}: {metrics.in_words(other)}\n{compare.verdict(found, other)}")
    return 0


def trainer_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return Lightning's options; `torchrun` says itself how many processes there are."""
    devices, nodes = args.devices, 1
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if devices < 1:
        raise InputError(f"--devices {devices} was asked for; give 1 or more")
    several = {"strategy": "ddp", "num_nodes": nodes} if devices * nodes > 1 else {}
    return {"accelerator": args.accelerator, "devices": devices, **several}
