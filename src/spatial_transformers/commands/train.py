"""Train one network of an experiment, with checkpoints, curves and resume.

Examples:
  stn train rotated-digits --model st-cnn --out runs/digits
  stn train distorted-mnist --distortion R --data mnist/ --epochs 2 --out runs/r
  stn train distorted-mnist --out runs/r --resume
  tensorboard --logdir runs
"""

import argparse
from dataclasses import replace
from pathlib import Path

#: Options that decide the result, with their types; unset ones take the experiment's defaults, or
#: when resuming what the run was started with.
_RECIPE = {
    "distortion": (str, "of the images, by the paper's name: R"),
    "model": (str, "cnn, st-cnn, fcn or st-fcn"),
    "transformation": (
        str,
        "of the spatial transformer: affine, projective, … or several joined by +",
    ),
    "data": (str, "folder of the data set's files"),
    "epochs": (int, "passes over the training images"),
    "batch_size": (int, "images per step"),
    "lr": (float, "peak learning rate"),
    "localisation_lr": (float, "multiplies --lr for the localisation network"),
    "localisation_clip": (float, "largest gradient norm of the localisation network"),
    "weight_decay": (float, "of AdamW"),
    "seed": (int, "of weights, order and distortions"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the recipe's options and Lightning's."""
    parser.add_argument("experiment", help="rotated-digits (embedded) or distorted-mnist")
    for name, (kind, text) in _RECIPE.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    add_trainer_arguments(parser)


def add_trainer_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where and how exactly Lightning computes."""
    kinds, precisions = (
        ("auto", "cpu", "gpu", "mps"),
        ("32-true", "64-true", "16-mixed", "bf16-mixed"),
    )
    parser.add_argument("--accelerator", choices=kinds, default=kinds[0], help="(auto)")
    parser.add_argument("--precision", choices=precisions, default=precisions[0], help="(32-true)")


def run(args: argparse.Namespace) -> int:
    """Train, and print the test error."""
    from ..experiments import run
    from ..experiments.registry import defaults

    recipe = run.started(args.out) if args.resume else None
    recipe = recipe or defaults(args.experiment)
    given = {name: getattr(args, name) for name in _RECIPE if getattr(args, name) is not None}
    if "data" in given:
        given["data"] = str(Path(given["data"]).absolute())
    recipe = replace(recipe, experiment=args.experiment, **given)
    metrics = run.train(recipe, args.out, resume=args.resume, **trainer_options(args))
    print(f"{args.out}: {run.in_words(metrics)}")
    return 0


def trainer_options(args: argparse.Namespace) -> dict[str, str]:
    """Return Lightning's options."""
    return {"accelerator": args.accelerator, "precision": args.precision}
