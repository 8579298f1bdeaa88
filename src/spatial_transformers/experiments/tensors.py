"""Tensors of a run in safetensors files: written whole, read as expected or refused in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from spatial_transformers import InputError

from .._errors import brief
from .._files import require_regular, whole


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name."""
    with whole(path) as temporary:
        temporary.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}))


def read(path: Path, cure: str = "train again") -> dict[str, Tensor]:
    """Read tensors by name.

    Args:
        path: of the file.
        cure: what to do about a damaged one.

    Raises:
        InputError: if the file is damaged.

    """
    require_regular(path)
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: damaged tensors ({reason}); {cure}") from error


def difference(found: Mapping[Any, object], expected: Mapping[Any, Tensor]) -> str:
    """Return in words how tensors differ in names, shapes or kinds of numbers, or nothing.

    What a module says of itself besides its tensors (`_extra_state`) may be missing, as in files of
    before there was any.
    """
    odd = {name for name in {*found} ^ {*expected} if not _is_extra(name) or name not in expected}
    if odd:
        name = min(odd, key=str)
        return f"{brief(name)} is {'missing' if name in expected else 'not of it'}"
    for name, due in expected.items():
        value = found.get(name, due)
        if not isinstance(value, Tensor):
            return f"{name} is no tensor"
        if value.shape != due.shape or _kind(value) != _kind(due):
            return f"{name} is {_facts(value)}, not {_facts(due)}"
    return ""


def _is_extra(name: object) -> bool:
    return str(name).rpartition(".")[2] == "_extra_state"


def _kind(value: Tensor) -> tuple[bool, bool]:
    return value.is_floating_point(), value.is_complex()


def _facts(value: Tensor) -> str:
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
