"""The one error for bad input, and how messages quote what was given."""

from collections.abc import Iterable

_QUOTED = 100  # characters


class InputError(ValueError):
    """Bad input from the caller: says what was asked, what was found and what to do."""


def how_to_get(extra: str) -> str:
    """Return how an extra of this package is installed: from what it was, as it is on no index."""
    return (
        f"run: pip install '.[{extra}]' in the folder of this package's sources, "
        f"or pip install 'FILE.whl[{extra}]' if it came as a wheel"
    )


def shown(given: object) -> str:
    """Return how messages quote what was given: at most a line."""
    return _cut(repr(given), _QUOTED)


def brief(given: object, longest: int = _QUOTED) -> str:
    """Return a value as messages name it, without quotes: at most a line."""
    return _cut(repr(given)[1:-1] if isinstance(given, str) else repr(given), longest)


def nearest(given: str, known: Iterable[str]) -> str:
    """Return a question that names what is known and spelled most like it, or nothing.

    Example:
        >>> nearest("trian", ["train", "eval"])
        ' (did you mean train?)'

    """
    from difflib import get_close_matches  # where there is an error only

    found = get_close_matches(given, [*known], 1)
    return f" (did you mean {found[0]}?)" if found else ""


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
