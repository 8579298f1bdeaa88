"""A file of results, written whole after every case, which a later run continues."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import InputError
from .._errors import brief
from .._files import write_json
from .._reading import read_json
from .measure import Found

_LISTS = "rows", "absent"
_LARGEST = 1 << 26  # bytes
_LONGEST = 1000  # characters


class Results:
    """Rows under one configuration, in a file if there is a path.

    Raises:
        InputError: if the file holds something else, or was measured otherwise, naming in what.

    """

    def __init__(self, configuration: Mapping[str, Any], path: Path | None = None):
        self.path = path
        self.found: dict[str, Any] = {**configuration, "rows": [], "absent": []}
        if path is not None and path.exists():
            self.found = _continued(path, configuration)
        self.write()  # a path that cannot be written is found out now

    def has(self, case: str, which: str) -> bool:
        """Return whether a case is measured in one pass."""
        return any(
            (fact["case"], fact["pass"]) == (case, which)
            for name in _LISTS
            for fact in self.found[name]
        )

    def add(self, found: Found) -> None:
        """Keep what was found, in the file, too."""
        self.found["rows"] += found.rows
        self.found["absent"] += found.absent
        self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.found)


def _continued(path: Path, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds, if it was measured under the same configuration."""
    expected = {name: [{"case": str, "pass": str}] for name in _LISTS}
    cure = "name another file, or delete it"
    found = read_json(path, expected, what="file of results", cure=cure, largest=_LARGEST)
    before = {name: value for name, value in found.items() if name not in _LISTS}
    if different := _differences(before, configuration):
        raise InputError(f"{path}: measured otherwise ({brief(different, _LONGEST)}); {cure}")
    return found


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs, in words: `threads 2, now 1`."""
    pairs = {name: (before.get(name), now.get(name)) for name in (*before, *now)}
    lines = []
    for name, (old, new) in pairs.items():
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [text for text in [_differences(old, new)] if text]
        elif old != new:
            lines.append(f"{brief(name)} {brief(old)}, now {brief(new)}")
    return "; ".join(lines)
