"""Train one network of an experiment, with checkpoints, curves and resume.

Examples:
  stn train rotated-digits --model st-cnn --out runs/digits
  stn train distorted-mnist --distortion R --data mnist/ --epochs 2 --out runs/r
  stn train distorted-mnist --out runs/r --resume
  tensorboard --logdir runs
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import InputError

#: Options that decide the result, with their types; unset ones take the experiment's defaults, or
#: when resuming what the run was started with.
_RECIPE = {
    "distortion": (str, "of the images, by the paper's name: R, RTS, P, E or TC"),
    "model": (str, "cnn, st-cnn, fcn or st-fcn"),
    "transformation": (
        str,
        "of the spatial transformer: affine, projective, … or several joined by +",
    ),
    "epochs": (int, "passes over the training images"),
    "batch_size": (int, "images per step"),
    "lr": (float, "peak learning rate"),
    "localisation_lr": (float, "multiplies --lr for the localisation network"),
    "localisation_clip": (float, "largest gradient norm of the localisation network"),
    "weight_decay": (float, "of AdamW, for the classifier"),
    "label_smoothing": (float, "share of every label that is spread over all classes"),
    "jitter": (float, "strength of random bends of the training images, at first"),
    "hold_out": (bool, "leave the validation images out of training"),
    "precision": (str, "32-true, 64-true, 16-mixed or bf16-mixed"),
    "seed": (int, "of weights, order and distortions"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the recipe's options and Lightning's."""
    parser.add_argument("experiment", help="rotated-digits (embedded) or distorted-mnist")
    for name, (kind, text) in _RECIPE.items():
        how: Any = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        parser.add_argument(f"--{name.replace('_', '-')}", help=text, **how)
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    add_trainer_arguments(parser)


def add_trainer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where Lightning computes."""
    kinds = ("auto", "cpu", "gpu", "mps")
    parser.add_argument("--accelerator", choices=kinds, default=kinds[0], help="(auto)")
    parser.add_argument(
        "--devices", type=int, default=1, help="processes that share each batch (1, or torchrun's)"
    )


def run(args: argparse.Namespace) -> int:
    """Train, and print the test error."""
    from ..experiments import run
    from ..experiments.registry import defaults

    recipe = run.started(args.out) if args.resume else None
    recipe = recipe or defaults(args.experiment)
    given = {name: getattr(args, name) for name in _RECIPE if getattr(args, name) is not None}
    recipe = replace(recipe, experiment=args.experiment, **given)
    metrics = run.train(
        recipe, args.out, data=args.data, resume=args.resume, **trainer_options(args)
    )
    if run.is_first_process():
        print(f"{args.out}: {run.in_words(metrics)}")
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
