"""Files are written whole or not at all: to a temporary name beside the target, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any
from zlib import crc32

from ._types import InputError

_LARGEST_JSON = 1 << 20  # bytes
_LARGEST_LIST = 1 << 26
_LONGEST_WRITE = 3600  # seconds


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; it becomes `path` when the block ends well.

    Raises:
        OSError: if the file cannot be written, naming `path`.

    """
    mark = _mark(path)
    temporary = path.with_name(f"{mark}{os.getpid()}.partial")
    for left in path.parent.glob(f"{mark}*.partial"):  # by a process that was killed
        with suppress(OSError):
            if time() - left.stat().st_mtime > _LONGEST_WRITE:
                left.unlink()
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_files(path: Path) -> Iterator[Path]:
    """Give a folder beside `path`; the files written in it move there when the block ends well.

    The file that is named as `path` moves last, so that once it exists, the others do, too.

    Raises:
        OSError: if a file cannot be written, naming `path`.

    """
    try:
        with TemporaryDirectory(prefix=_mark(path), dir=path.parent) as folder:
            yield Path(folder)
            for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
                with file.open("rb") as written:
                    os.fsync(written.fileno())
                os.replace(file, path.parent / file.name)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _mark(path: Path) -> str:
    """Return how names of temporary files for a path begin: short, as its own may be long."""
    return f".{crc32(os.fsencode(path.name)):08x}."


def require_regular(path: Path) -> None:
    """Refuse pipes, devices and folders, which may never end."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: no regular file; give one")


def write_json(path: Path, facts: Any) -> None:
    """Write facts as JSON."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: if there is no such file, or it is not JSON.

    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a run made by `stn train`")
    if path.stat().st_size > _LARGEST_JSON:
        raise InputError(f"{path}: larger than {_LARGEST_JSON} bytes; not a file of a run")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: damaged JSON ({error}); train again") from error


def read_numbers(path: Path) -> list[float]:
    """Read a JSON list of finite numbers.

    Raises:
        InputError: if there is no such file, or it holds something else.

    """
    require_regular(path)
    try:
        if path.stat().st_size > _LARGEST_LIST:
            raise ValueError(f"it is larger than {_LARGEST_LIST} bytes")
        numbers = json.loads(path.read_text())
        if not isinstance(numbers, list) or not all(type(n) in (int, float) for n in numbers):
            raise ValueError("it holds something else")
        numbers = [float(n) for n in numbers]
        if not all(map(isfinite, numbers)):
            raise ValueError("a number is not finite")
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: no JSON list of finite numbers ({error}); give one") from error
    return numbers
