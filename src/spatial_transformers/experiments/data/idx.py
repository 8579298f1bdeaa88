"""MNIST's idx files, plain or gzipped: images of unsigned bytes and their labels.

Layout: two zero bytes, the type (8: unsigned byte), the number of axes, each axis's length as a
big-endian 32-bit number, then the bytes. Source: LeCun, Cortes, Burges, the MNIST database.
"""

import gzip
import struct
import zlib
from collections.abc import Mapping
from hashlib import md5
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spatial_transformers import InputError

_LARGEST = 1 << 30  # bytes of one file's content


def read_images_and_labels(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return images (N, 1, H, W) in uint8 and labels (N,) of `part`, `train` or `t10k`.

    Raises:
        InputError: a missing or damaged file, or images and labels of different counts.

    """
    images = read_idx(_find(folder, f"{part}-images-idx3-ubyte"), axes=3)
    labels = read_idx(_find(folder, f"{part}-labels-idx1-ubyte"), axes=1)
    if len(images) != len(labels):
        raise InputError(
            f"{folder}: {part} has {len(images)} images and {len(labels)} labels; the files are of "
            "different sets, download both again"
        )
    return images[:, None], labels.long()


def read_idx(path: Path, axes: int) -> Tensor:
    """Return the content of one idx file of unsigned bytes."""
    data = _read(path)
    header = 4 + 4 * axes
    if len(data) < header or data[:4] != bytes((0, 0, 8, axes)):
        raise InputError(
            f"{path}: not an idx file of unsigned bytes with {axes} axes (its first bytes are "
            f"{data[:4].hex(' ') or 'missing'}); download it again"
        )
    shape = struct.unpack(f">{axes}I", data[4:header])
    if len(data) - header != prod(shape):
        raise InputError(
            f"{path}: its header promises {prod(shape)} bytes and {len(data) - header} follow; the "
            "file is damaged, download it again"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy())


def check_content(folder: Path, digests: Mapping[str, str]) -> None:
    """Refuse files whose content, unzipped, is another than the MD5 digests say.

    Raises:
        InputError: naming the file, what was expected and what was found.

    """
    for stem, expected in digests.items():
        path = _find(folder, stem)
        found = md5(_read(path), usedforsecurity=False).hexdigest()
        if found != expected:
            raise InputError(
                f"{path}: its content has the MD5 digest {found} where MNIST's has {expected}; "
                "another data set, or damaged: download it again"
            )


def _find(folder: Path, stem: str) -> Path:
    for name in (stem, f"{stem}.gz"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder}: neither {stem} nor {stem}.gz is there; give --data the folder that holds "
        "MNIST's four idx files"
    )


def _read(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); download it again") from error
    if len(data) > _LARGEST:
        raise InputError(f"{path}: more than {_LARGEST} bytes; not a file of MNIST's kind")
    return data
