"""Tensors in safetensors files: written whole, read as expected or refused in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ._errors import InputError, brief, shown
from ._files import require_regular, whole


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name; those that share memory are written one by one."""
    whole_format = torch.contiguous_format
    apart = {name: value.clone(memory_format=whole_format) for name, value in tensors.items()}
    with whole(path) as temporary:
        temporary.write_bytes(save(apart))


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


def difference(
    found: Mapping[Any, object], expected: Mapping[Any, Tensor], *, older: bool = True
) -> str:
    """Return in words how tensors differ in names, shapes, kinds of numbers or meaning, or nothing.

    Args:
        found: by name.
        expected: by name, as a module's state has them.
        older: what a module says of itself besides its tensors (`_extra_state`) may be missing, as
            in files of before there was any.

    """
    for name in filter(_is_extra, expected):
        said, meant = _text(found.get(name)), _text(expected[name])
        if said and meant and said != meant:
            return f"their theta means {shown(said)}, not {shown(meant)}"
    odd = {*found} ^ {*expected}
    if older:
        odd = {name for name in odd if not _is_extra(name) or name not in expected}
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


def _text(extra: object) -> str:
    """Return what a transformer says its θ means, or nothing if this is not that."""
    if not isinstance(extra, Tensor) or extra.is_meta:
        return ""
    is_text = extra.ndim == 1 and extra.dtype == torch.uint8
    return bytes(extra.tolist()).decode(errors="replace") if is_text else ""


def _kind(value: Tensor) -> tuple[bool, bool]:
    return value.is_floating_point(), value.is_complex()


def _facts(value: Tensor) -> str:
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
