"""Shapes in volumes: AdrenalMNIST3D's from its file, or rods that are made here."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spatial_transformers import InputError

from ..data.official import read_arrays, require_labels
from ..data.samples import InMemory

SIDE = 28  # voxels along each axis
_FILE = "adrenalmnist3d.npz"
_PARTS = "train", "val", "test"
CLASSES = 2  # normal, and with a mass
_COUNTS = 120, 30, 60  # rods that train, validate and test
_CURE = f"give --data the folder that holds MedMNIST's {_FILE}"


def read(folder: Path | None) -> list[InMemory]:
    """Return the volumes (N, 1, 28, 28, 28) that train, validate and test, and their labels.

    Raises:
        InputError: for a missing file, and one with other content.

    """
    if folder is None:
        raise InputError(f"adrenal-3d needs --data, the folder of MedMNIST's {_FILE}")
    path = folder / _FILE
    names = [f"{part}_{what}" for part in _PARTS for what in ("images", "labels")]
    found = read_arrays(path, names, _CURE)
    parts = [*zip(found[::2], found[1::2], strict=True)]
    for part, (images, labels) in zip(_PARTS, parts, strict=True):
        count = len(labels) if labels.ndim else 0
        due = (count, SIDE, SIDE, SIDE), (count, 1)
        if (images.shape, labels.shape) != due or images.dtype != np.uint8:
            raise InputError(
                f"{path}: {part} has volumes {images.shape} in {images.dtype} and labels "
                f"{labels.shape}, not (N, {SIDE}, {SIDE}, {SIDE}) in uint8 and (N, 1); {_CURE}"
            )
        require_labels(path, labels[:, 0], CLASSES, _CURE)
    return [
        InMemory(torch.from_numpy(images)[:, None], torch.from_numpy(labels[:, 0]).long())
        for images, labels in parts
    ]


def generated(folder: Path | None) -> list[InMemory]:
    """Return straight rods, labelled 0, and rods bent by a right angle, labelled 1."""
    if folder is not None:
        raise InputError("generated volumes need no folder; leave --data out")
    draw = torch.Generator().manual_seed(0)
    return [_rods(count, draw) for count in _COUNTS]


def _rods(count: int, draw: torch.Generator) -> InMemory:
    labels = torch.arange(count) % 2
    at = torch.arange(SIDE) + 0.5 - SIDE / 2
    z, y, x = torch.meshgrid(at, at, at, indexing="ij")
    thick, first, second = (
        low + span * torch.rand(count, 1, 1, 1, generator=draw)
        for low, span in ((2.0, 1.0), (6.0, 4.0), (6.0, 4.0))
    )
    bent = labels.bool()[:, None, None, None]
    one = _distance(x, y, z, first) < thick
    other = torch.where(bent, _distance(y, x, z, second), _distance(-x, y, z, second)) < thick
    return InMemory(255 * (one | other)[:, None].to(torch.uint8), labels)


def _distance(along: Tensor, across: Tensor, depth: Tensor, length: Tensor) -> Tensor:
    """Return how far points are from a segment that begins in the middle."""
    beyond = along - torch.minimum(along.clamp(min=0), length)
    return (beyond.square() + across.square() + depth.square()).sqrt()
