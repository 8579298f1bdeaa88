"""Distorted MNIST (section 4.1, Table 1): the paper's distortions of the real MNIST."""

from pathlib import Path

from torch import Tensor

from spatial_transformers import InputError

from .base import Experiment
from .data.idx import read_images_and_labels
from .data.module import Images, Splits
from .data.rotation import rotate
from .recipe import Recipe

SIZE = 28


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


def rotated(images: Tensor, sample: Tensor, seed: int, epoch: int) -> Tensor:
    """R: rotation by U(-90°, 90°) on the image's own canvas."""
    return rotate(images, sample, size=SIZE, share=1.0, seed=seed, epoch=epoch)


EXPERIMENT = Experiment(
    size=SIZE,
    classes=10,
    budget=200_000,
    distortions={"R": rotated},
    repeats=1,
    load=load,
    defaults=Recipe("distorted-mnist", "R"),
)
