"""Data sets in their official forms: whole files, arrays that are arrays, and what is held out."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatial_transformers import InputError

from ..._files import require_regular

_SEEDS = 10_007  # more than there are classes
_DAMAGED = (
    *(LookupError, ValueError, TypeError, NotImplementedError, RuntimeError, OSError, EOFError),
    *(zipfile.BadZipFile, zlib.error),
)


def require_file(path: Path, cure: str, largest: int) -> None:
    """Refuse a path where there is no regular file, or one of too many bytes.

    Raises:
        InputError: naming the file and what to do.

    """
    require_regular(path)
    if not path.is_file():
        raise InputError(f"{path}: the file is missing; {cure}")
    if path.stat().st_size > largest:
        raise InputError(f"{path}: more than {largest} bytes; {cure}")


def read_arrays(
    path: Path, names: Sequence[str], cure: str, *, largest: int = 1 << 28
) -> list[NDArray[Any]]:
    """Return arrays of a `.npz` file, by name; nothing of it is unpickled.

    Raises:
        InputError: for a missing or damaged file, and one without such arrays.

    """
    require_file(path, cure, largest)
    try:
        with np.load(path, allow_pickle=False) as found:
            return [np.asarray(found[name]) for name in names]
    except _DAMAGED as error:
        raise InputError(f"{path}: not a file of the arrays asked for ({error}); {cure}") from error


def require_labels(path: Path, labels: NDArray[Any], classes: int, cure: str) -> None:
    """Refuse labels that are not whole numbers from 0 to below `classes`.

    Raises:
        InputError: naming the file and the first wrong one.

    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{path}: labels in {labels.dtype}, not whole numbers; {cure}")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise InputError(f"{path}: a label of {wrong[0]} was found, not 0 to {classes - 1}; {cure}")


def held_out(labels: Tensor, groups: Tensor, one_in: int, *, seed: int = 0) -> Tensor:
    """Return which samples validate: one group in so many of each class, at least one of two.

    The samples of a group stay together. A class that has one group only trains.

    Args:
        labels: (N,) classes.
        groups: (N,) numbers, which mean something else in every class.
        one_in: groups for each that validates.
        seed: decides which.

    """
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        mine = (labels == label).nonzero()[:, 0]
        known = groups[mine].unique()
        count = max(len(known) // one_in, min(len(known) - 1, 1))
        draw = torch.Generator().manual_seed(label + _SEEDS * seed)
        order = torch.randperm(len(known), generator=draw)
        held[mine] = torch.isin(groups[mine], known[order[:count]])
    return held
