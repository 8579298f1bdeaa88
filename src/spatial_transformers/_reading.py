"""Reads what earlier commands left behind: as it is expected, or refused in one line.

What is expected is written as a value: `str`, `bool`, `int` of 64 bits, `float`, `Finite`, `None`
or another class; `[int]` is a list of them, `{str: int}` a mapping, `{"epoch": int}` an object that
has at least this key, `(str, None)` one or the other, and `object` anything.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from sys import float_info
from typing import Any

from ._errors import InputError, shown
from ._files import require_regular

_LARGEST = 1 << 20  # bytes
_LARGEST_LIST = 1 << 26
_DEEPEST = 32  # lists and objects in one another
_GROUPS = (list, dict)
_MISSING = object()


class Finite:
    """Expects a number that is neither infinite nor NaN."""


_WORDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number of 64 bits",
    float: "a number",
    Finite: "a finite number",
    list: "a list",
    dict: "an object",
}


def read_json(path: Path, expected: Any, *, what: str, cure: str, largest: int = _LARGEST) -> Any:
    """Read JSON.

    Args:
        path: of a regular file.
        expected: see above.
        what: the file is, in words.
        cure: what to do about one that is missing, damaged or something else.
        largest: its size in bytes.

    Raises:
        InputError: if the file cannot be read, or holds something else.

    """
    require_regular(path)
    try:
        if path.stat().st_size > largest:
            raise ValueError(f"larger than {largest} bytes")
        value = json.loads(path.read_bytes().decode(), object_pairs_hook=_object)
        if _is_deep(value):
            raise RecursionError
        if reason := fault(value, expected):
            raise ValueError(reason)
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        reason = getattr(error, "strerror", None) or reason
        raise InputError(f"{path}: no {what} ({reason}); {cure}") from error
    return value


def read_numbers(path: Path) -> list[float]:
    """Read a JSON list of finite numbers.

    Raises:
        InputError: if there is no such file, or it holds something else.

    """
    what = "JSON list of finite numbers"
    numbers = read_json(path, [Finite], what=what, cure="give one", largest=_LARGEST_LIST)
    return [float(number) for number in numbers]


def fault(value: Any, expected: Any, name: str = "it") -> str:
    """Return in words how a value is not as expected, or nothing if it is."""
    if value is _MISSING:
        return f"{name} is missing"
    if isinstance(expected, tuple):
        reasons = [fault(value, one, name) for one in expected]
        return "" if "" in reasons else reasons[0]
    kind = expected if isinstance(expected, type) else type(expected)
    if not _is(value, kind):
        return f"{name} is {_quoted(value)}, not {_WORDS.get(kind, f'a {kind.__name__}')}"
    parts = _parts(value, expected, "" if name == "it" else f"{name}, ")
    return next(filter(None, (fault(*part) for part in parts)), "")


def _is(value: Any, kind: type) -> bool:
    if kind is int:
        return type(value) is int and -(1 << 63) <= value < 1 << 63
    if kind is Finite:
        return type(value) in (int, float) and -float_info.max <= value <= float_info.max
    return isinstance(value, kind) or (kind is float and _is(value, Finite))


def _parts(value: Any, expected: Any, within: str) -> Iterator[tuple[Any, Any, str]]:
    """Give the parts of a list or an object, what is expected of each, and its name."""
    if isinstance(expected, list):
        yield from ((part, expected[0], f"{within}entry {i}") for i, part in enumerate(value))
    elif isinstance(expected, dict) and isinstance(next(iter(expected), ""), type):
        ((of_keys, of_values),) = expected.items()
        for key, part in value.items():
            yield key, of_keys, f"{within}a key"
            yield part, of_values, f"{within}{shown(key)}"
    elif isinstance(expected, dict):
        yield from ((value.get(key, _MISSING), e, within + key) for key, e in expected.items())


def _quoted(value: Any) -> str:
    plain = value is None or isinstance(value, (str, int, float))
    return shown(value) if plain else f"a {type(value).__name__}"


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; refuse one that says something twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has {shown(next(k for k in keys if keys.count(k) > 1))} twice")
    return found


def _is_deep(value: Any) -> bool:
    layer = [value]
    for _ in range(_DEEPEST):
        groups = (v.values() if isinstance(v, dict) else v for v in layer if isinstance(v, _GROUPS))
        layer = [part for group in groups for part in group]
    return bool(layer)
