"""The set-ups: what users' own training loops do, one hostile thing at a time."""

from dataclasses import dataclass
from typing import Literal

from ...sampler.names import PaddingName


@dataclass(frozen=True)
class Setup:
    """How a network with a spatial transformer is trained.

    Args:
        name: in results and tables.
        rate: the learning rate of the whole network.
        optimiser: Adam, or gradient descent with a momentum of 0.9.
        images: distorted digits, or the traffic signs of GTSRB.
        normalised: by mean and standard deviation, so that the background is not 0.
        padding_mode: what lies outside, if the user chose something.
        transformation: by its name.
        size: height and width of the transformer's output; the image's if None.
        place: one transformer before the network, two side by side, or one before the network and
            one behind its first convolution.
        batch: samples per step.
        batch_norm: of the classifier.
        classifier: ours, or the tutorial's, with dropout.
        bfloat16: under autocast.
        benign: nothing is hostile; here an untouched module should learn well, too.

    """

    name: str
    rate: float
    optimiser: Literal["adam", "sgd"] = "adam"
    images: Literal["digits", "signs"] = "digits"
    normalised: bool = False
    padding_mode: PaddingName | None = None
    transformation: str = "affine"
    size: int | None = None
    place: Literal["image", "parallel", "deep"] = "image"
    batch: int = 64
    batch_norm: bool = True
    classifier: Literal["ours", "tutorial"] = "ours"
    bfloat16: bool = False
    benign: bool = False


SETUPS = (
    Setup(
        "tutorial",
        1e-2,
        "sgd",
        normalised=True,
        batch_norm=False,
        classifier="tutorial",
        benign=True,
    ),
    Setup("adam-1e-3", 1e-3, benign=True),
    Setup("signs", 1e-3, images="signs", benign=True),
    Setup("normalised", 1e-3, normalised=True),
    Setup("adam-3e-3", 3e-3),
    Setup("adam-1e-2", 1e-2),
    Setup("sgd-0.1", 0.1, "sgd"),
    Setup("border", 5e-3, padding_mode="border"),
    Setup("small-output", 3e-3, size=14),
    Setup("parallel", 3e-3, place="parallel"),
    Setup("projective", 1e-2, transformation="projective"),
    Setup("thin-plate-spline", 3e-3, transformation="thin-plate-spline"),
    Setup("deep", 3e-3, place="deep"),
    Setup("no-batch-norm", 1e-3, batch_norm=False),
    Setup("bfloat16", 3e-3, bfloat16=True),
    Setup("batch-8", 1e-3, batch=8),
    Setup("signs-1e-2", 1e-2, images="signs"),
)
VARIANTS = ("none", "tutorial", "ours")
EPOCHS = 5
#: Those of `--quick`, with fewer images and epochs.
QUICK = ("adam-1e-2",)
