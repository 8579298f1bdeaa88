"""Where a run's data lie and what they held (`data.json`), so that a change of them is noticed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import TypedDict

from spatial_transformers import InputError

from .._files import write_json
from .._reading import fault, read_json

_FILE = "data.json"
_LARGEST = 1 << 24  # bytes
_SHOWN = 3  # classes that are named


class Files(TypedDict):
    """Some files: how many, and a digest of their names and sizes."""

    images: int
    digest: str


#: What a folder holds: files by part (train, validation, test) and class.
Held = Mapping[str, Mapping[str, Files]]


@dataclass(frozen=True)
class Origin:
    """Where the data of a run come from.

    Args:
        folder: that of the data set; None for data that ship with a package.
        held: what it held; None where that is not kept.
        left_out: files in it that were not read.

    """

    folder: Path | None
    held: Held | None = None
    left_out: Sequence[str] = ()


def write(out: Path, origin: Origin) -> None:
    """Write the origin of a run's data into its folder."""
    folder = origin.folder and str(origin.folder.absolute())
    kept = {} if origin.held is None else {"held": origin.held, "left_out": [*origin.left_out]}
    write_json(out / _FILE, {"folder": folder, **kept})


def read(out: Path) -> Origin | None:
    """Read the origin of a run's data; of a run that has not begun there is none.

    Raises:
        InputError: if its file is damaged.

    """
    path = out / _FILE
    if not path.exists():
        return None
    cure = "delete it, and give --data if the set has a folder"
    what, expected = "note of where data lie", {"folder": (str, None)}
    found = read_json(path, expected, what=what, cure=cure, largest=_LARGEST)
    held, left_out = found.get("held"), found.get("left_out", [])
    files = {"images": int, "digest": str}
    expected = {"held": (None, {str: {str: files}}), "left_out": [str]}
    if reason := fault({"held": held, "left_out": left_out}, expected):
        raise InputError(f"{path}: no {what} ({reason}); {cure}")
    return Origin(found["folder"] and Path(found["folder"]), held, left_out)


def digested(root: Path, files: Sequence[Path]) -> Files:
    """Return how many files there are, and a digest of their names below `root` and their sizes."""
    lines = (f"{path.relative_to(root).as_posix()}\t{path.stat().st_size}\n" for path in files)
    return {"images": len(files), "digest": sha1("".join(lines).encode()).hexdigest()[:16]}


def changes(before: Held, now: Held) -> str:
    """Return in words how a folder holds other files than before, or nothing.

    Example:
        >>> a, b = {"images": 9, "digest": "a"}, {"images": 8, "digest": "b"}
        >>> changes({"train": {"cat": a, "dog": a}}, {"train": {"cat": b, "dog": a}})
        "'cat' has 8 images and had 9"

    """
    names = sorted({name for held in (before, now) for part in held.values() for name in part})
    said = [*_changes(before, now, names)]
    more = len(said) - _SHOWN
    return ", ".join(said[:_SHOWN]) + (f", and {more} more classes differ" if more > 0 else "")


def _changes(before: Held, now: Held, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        was, is_ = ({part: held[part].get(name) for part in held} for held in (before, now))
        if was == is_:
            continue
        counts, others = (
            {part: files["images"] for part, files in of.items() if files} for of in (was, is_)
        )
        total, other = sum(counts.values()), sum(others.values())
        if total != other:
            yield f"{name!r} has {other:,} image{'s' * (other != 1)} and had {total:,}"
        elif counts != others:
            yield f"images of {name!r} moved between {' and '.join(before)}"
        else:
            yield f"images of {name!r} are others by name or size"
