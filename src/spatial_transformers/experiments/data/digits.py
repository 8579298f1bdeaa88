"""Handwritten digits: MNIST from its four files, or those that ship with scikit-learn."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from spatial_transformers import InputError

from .distortion import IMAGE
from .idx import check_content, read_images_and_labels
from .samples import InMemory

#: Where digits come from, as a fact of recipes.
DIGITS = ("mnist", "scikit-learn")

#: MD5 digests of what MNIST's four files hold, unzipped.
CONTENT = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


class Splits(NamedTuple):
    """Images (N, 1, H, W) in uint8 with their labels (N,)."""

    train: InMemory
    validation: InMemory
    test: InMemory


def load(recipe: Any, folder: Path | None) -> Splits:
    """Return digits of 28×28 pixels: MNIST's, unless a recipe's fact `digits` says otherwise."""
    if getattr(recipe, "digits", "mnist") == "scikit-learn":
        return shipped(folder, recipe.experiment, IMAGE)
    if folder is None:
        raise InputError(f"{recipe.experiment} needs --data, the folder of MNIST's four idx files")
    return mnist(folder)


def mnist(folder: Path) -> Splits:
    """Return MNIST from its idx files: 50,000 train, 10,000 validate, 10,000 test."""
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


def shipped(folder: Path | None, asked: str, size: int = 8) -> Splits:
    """Return scikit-learn's 1,797 scans of 8×8 pixels, enlarged to a size.

    A fixed draw splits them: 1,197 train, 150 validate, 450 test.
    """
    if folder is not None:
        raise InputError(f"{asked} ships its data with scikit-learn; leave --data out")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)  # (1797, 64) in 0 … 16
    images = torch.from_numpy(pixels / 16 * 255).round().reshape(-1, 1, 8, 8)
    if size != 8:
        images = F.interpolate(images, size=size, mode="bilinear", align_corners=False).round()
    everything = InMemory(images.to(torch.uint8), torch.from_numpy(labels).long())
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(0))
    return Splits(
        train=everything[order[600:]],
        validation=everything[order[450:600]],
        test=everything[order[:450]],
    )
