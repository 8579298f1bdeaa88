"""What is trained on: 10,000 digits turned, scaled and placed at random, or 10,000 traffic signs.

Test images are not ours alone: the digits are placed by SciPy, from other draws.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ...experiments.data.digits import shipped
from ...experiments.data.distortion import IMAGE
from ...experiments.data.draws import Draws
from ...experiments.data.idx import read_images_and_labels
from ...experiments.data.official import read_arrays
from ...experiments.distorted_mnist.distortions import DISTORTIONS

TRAIN, TEST = 10_000, 5_000


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) in [0, 1] with labels (N,), to train and to test on."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: int


def digits(data: Path, count: int, test: int) -> Images:
    """Return MNIST's digits under the paper's RTS, on 42×42 pixels."""
    images, labels = read_images_and_labels(data / "mnist", "train")
    others, other_labels = read_images_and_labels(data / "mnist", "t10k")
    return _distorted(images[:count], labels[:count], others[:test], other_labels[:test])


def embedded(count: int, test: int) -> Images:
    """Return scikit-learn's digits under RTS, each several times: 1,197 to train, 450 to test."""
    splits = shipped(None, "the benchmark", IMAGE)
    parts = []
    for part, wanted in ((splits.train, count), (splits.test, test)):
        some = part[torch.arange(wanted) % len(part)]
        parts += [some.inputs, some.targets]
    return _distorted(*parts)


def _distorted(images: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor) -> Images:
    numbers = torch.arange(len(images))
    train = [
        DISTORTIONS["RTS"](images[some].float() / 255, Draws(0, 0, some), images)
        for some in numbers.split(1000)
    ]
    placed = _placed_by_scipy(others, Draws(1, 0, torch.arange(len(others))))
    return Images(torch.cat(train), labels, placed, other_labels, 10)


def signs(data: Path, count: int, test: int) -> Images:
    """Return GTSRB's signs on 32×32 pixels, drawn from all classes."""
    parts: list[Tensor] = []
    for name, wanted in (("train", count), ("test", test)):
        path = data / "gtsrb32" / f"gtsrb32_{name}.npz"
        x, y = read_arrays(path, ("x", "y"), "give --data a folder with gtsrb32/ in it")
        drawn = np.random.default_rng(0).permutation(len(x))[:wanted]
        parts += [
            torch.from_numpy(x[drawn]).movedim(-1, 1).float() / 255,
            torch.from_numpy(y[drawn]).long(),
        ]
    train, labels, seen, seen_labels = parts
    return Images(train, labels, seen, seen_labels, 43)


def _placed_by_scipy(images: Tensor, draws: Draws) -> Tensor:
    """Return uint8 images (N, 1, 28, 28) on 42×42 pixels in [0, 1], as RTS places them."""
    distortion = DISTORTIONS["RTS"]
    transformation, theta = distortion.place(draws)
    placed = np.empty((len(images), distortion.size, distortion.size), np.float32)
    corner = torch.tensor([[0.0, 0], [0, 1], [1, 0]], dtype=theta.dtype)  # pixels, (x, y)
    centres = (corner + 0.5) * (2 / distortion.size) - 1
    mapped = transformation.transform_points(theta, centres.expand(len(theta), -1, -1))
    pixels = (((mapped + 1) * images.shape[-1] - 1) / 2).flip(-1).numpy()  # (row, column)
    for image, (origin, down, right), out in zip(images[:, 0].numpy(), pixels, placed, strict=True):
        matrix = np.stack((down - origin, right - origin), 1)
        ndimage.affine_transform(
            image.astype(np.float32) / 255,
            matrix,
            origin,
            out.shape,
            out,
            order=1,
            mode="grid-constant",
        )
    return torch.from_numpy(placed)[:, None]
