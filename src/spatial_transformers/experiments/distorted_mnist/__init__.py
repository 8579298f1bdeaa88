"""Distorted MNIST (section 4.1, Table 1): the paper's distortions of the real MNIST."""

from dataclasses import dataclass
from pathlib import Path

from spatial_transformers import InputError

from ..data.idx import check_content, read_images_and_labels
from ..data.samples import InMemory
from ..distorted import DistortedRecipe, Size, Splits, distorted
from ..recipe import fact
from .distortions import DISTORTIONS

#: Sizes of networks, by kind and canvas. Budgets are the parameter counts of the paper's largest
#: networks: its CNN with 64 filters, and its FCN with 256 units. On `TC`, a CNN's transformer keeps
#: a margin about the digit, so a view of 28 would leave the digit few pixels.
SIZES = {
    "cnn": {28: Size(208_586, 28), 42: Size(222_026, 28), 60: Size(270_026, 40)},
    "fcn": {28: Size(269_322, 28), 42: Size(520_202, 28), 60: Size(990_218, 28)},
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
    train = InMemory(*read_images_and_labels(folder, "train"))
    held_out = min(10_000, len(train) // 6)
    return Splits(
        train=train[: len(train) - held_out],
        validation=train[len(train) - held_out :],
        test=InMemory(*read_images_and_labels(folder, "t10k")),
    )


def verify(folder: Path) -> None:
    """Refuse any data but the real MNIST, on which the paper's errors were measured."""
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


@dataclass(frozen=True, kw_only=True)
class MNISTRecipe(DistortedRecipe):
    """How a classifier of distorted MNIST is trained."""

    distortion: str = fact("R", "of the images, by the paper's name", (*DISTORTIONS,))


EXPERIMENT = distorted(
    MNISTRecipe(
        experiment="distorted-mnist",
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
    load,
    DISTORTIONS,
    SIZES,
    classes=10,
    paper=PAPER,
    verify=verify,
)
