"""Files are written whole or not at all: to a temporary name beside the target, then renamed."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import time
from typing import Any
from zlib import crc32

from ._errors import InputError

_LONGEST_WRITE = 3600  # seconds
_PARTIAL = ".partial"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; it becomes `path` when the block ends well.

    Raises:
        OSError: if the file cannot be written, naming `path`.

    """
    _sweep(path)
    temporary = path.with_name(f"{_mark(path)}{os.getpid()}{_PARTIAL}")
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
    _sweep(path)
    try:
        with TemporaryDirectory(_PARTIAL, _mark(path), path.parent) as folder:
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


def _sweep(path: Path) -> None:
    """Remove what a process that was killed left of the path: a file, or a folder of files."""
    for left in path.parent.glob(f"{_mark(path)}*{_PARTIAL}"):
        with suppress(OSError):
            if time() - left.stat().st_mtime > _LONGEST_WRITE:
                rmtree(left) if left.is_dir() else left.unlink()


def require_regular(path: Path) -> None:
    """Refuse pipes, devices and folders, which may never end."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: no regular file; give one")


def write_json(path: Path, facts: Any) -> None:
    """Write facts as JSON."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, in the columns of the first one, under their names."""
    with whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]] if rows else [])
        writer.writeheader()
        writer.writerows(rows)
