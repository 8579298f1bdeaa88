"""Distorted MNIST (section 4.1, Table 1): the paper's distortions of the real MNIST."""

from pathlib import Path

from spatial_transformers import InputError

from .base import Experiment
from .data.distortions import DISTORTIONS
from .data.idx import check_content, read_images_and_labels
from .data.module import Images, Splits
from .recipe import Recipe

#: Of parameters, by canvas: those of the paper's CNN with 64 filters and of its FCN with 256 units,
#: the most that is told of either.
BUDGET = {
    "cnn": {28: 208_586, 42: 222_026, 60: 270_026},
    "fcn": {28: 269_322, 42: 520_202, 60: 990_218},
}

#: Height and width in pixels of what a transformer gives to the classifier, by canvas. On `TC`, a
#: CNN's transformer keeps a margin about the digit, and 28 would leave few pixels to the digit.
VIEW = {
    "cnn": {28: 28, 42: 28, 60: 40},
    "fcn": {28: 28, 42: 28, 60: 28},
}

#: MD5 digests of what the four files hold, unzipped.
CONTENT = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def load(folder: Path | None) -> Splits:
    """Return MNIST from its idx files: 50,000 train, 10,000 validate, 10,000 test."""
    if folder is None:
        raise InputError("distorted-mnist needs --data, the folder of MNIST's four idx files")
    train = Images(*read_images_and_labels(folder, "train"))
    held_out = min(10_000, len(train) // 6)
    return Splits(
        train=train[: len(train) - held_out],
        validation=train[len(train) - held_out :],
        test=Images(*read_images_and_labels(folder, "t10k")),
    )


def verify(folder: Path) -> None:
    """Refuse any data but the real MNIST, with whose errors ours are compared."""
    check_content(folder, CONTENT)


def _row(*errors: float) -> dict[str, float]:
    return dict(zip(DISTORTIONS, errors, strict=False))


#: Table 1, and section 4.1's text for TC; means of three seeds.
PAPER = {
    "st-cnn/affine": _row(0.7, 0.5, 0.8, 1.2, 1.7),
    "cnn": _row(1.2, 0.8, 1.5, 1.4, 3.5),
    "st-cnn/thin-plate-spline": _row(0.7, 0.5, 0.8, 1.1),
    "st-cnn/projective": _row(0.8, 0.6, 0.8, 1.3),
    "fcn": _row(2.1, 5.2, 3.1, 3.2, 13.2),
    "st-fcn/affine": _row(1.2, 0.8, 1.5, 2.7, 2.0),
    "st-fcn/thin-plate-spline": _row(1.1, 0.8, 1.4, 2.4),
    "st-fcn/projective": _row(1.3, 0.9, 1.4, 2.6),
}

EXPERIMENT = Experiment(
    classes=10,
    budget=BUDGET,
    view=VIEW,
    distortions=DISTORTIONS,
    repeats=1,
    load=load,
    defaults=Recipe(
        "distorted-mnist",
        "R",
        epochs=60,
        batch_size=128,
        lr=3e-3,
        localisation_lr=3.0,
        weight_decay=0.05,
        label_smoothing=0.05,
        jitter=1.0,
        hold_out=False,
        precision="bf16-mixed",
    ),
    paper=PAPER,
    verify=verify,
)
