"""Distorted MNIST (section 4.1, Table 1): the paper's distortions of the real MNIST."""

from dataclasses import dataclass
from functools import partial

from .. import independent
from ..data import digits
from ..distorted import DistortedRecipe, Size, distorted
from ..recipe import fact
from .distortions import DISTORTIONS

#: Sizes of networks, by kind and canvas. Budgets are the parameter counts of the paper's largest
#: networks: its CNN with 64 filters, and its FCN with 256 units. On `TC`, a CNN's transformer keeps
#: a margin about the digit, so a view of 28 would leave the digit few pixels.
SIZES = {
    "cnn": {28: Size(208_586, 28), 42: Size(222_026, 28), 60: Size(270_026, 40)},
    "fcn": {28: Size(269_322, 28), 42: Size(520_202, 28), 60: Size(990_218, 28)},
}


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
        shift=0.7,
        widening=0.5,
    ),
    digits.load,
    DISTORTIONS,
    SIZES,
    classes=10,
    facts={name: {"shift": 0.0, "widening": 0.0} for name in DISTORTIONS if name != "R"},
    paper=PAPER,
    verify=digits.verify,
    independent={
        "R": {
            "SciPy": independent.turned,
            "SciPy, about (14, 14)": partial(independent.turned, about=14),
        },
        "RTS": {"SciPy": independent.posed},
        "P": {"SciPy": independent.projected},
        "E": {"SciPy": independent.elastic},
        "TC": {"SciPy": independent.cluttered},
    },
)
