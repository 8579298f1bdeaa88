"""What annotations say at run time: the names that an option may have, and what a file may hold.

Annotations are checked under pytest only. But a name of a user is checked wherever it is given, by
the names that its `Literal` has, and what comes from a file may be anything.
"""

import re
from collections.abc import Mapping, Sequence
from inspect import formatannotation
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from torch import Tensor

from ._errors import InputError


def fits(value: Any, hint: Any) -> bool:
    """Say whether a value is of an annotation; lists of numbers are tensors.

    What is annotated as something else than a type is left to the constructor.

    Example:
        >>> fits(("border", "wrap"), Literal["zeros"] | Sequence[str]), fits(1.5, int | None)
        (True, False)

    """
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if kind is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if kind is tuple and Ellipsis not in inner:
        several = isinstance(value, list | tuple) and len(value) == len(inner)
        return several and all(map(fits, value, inner))
    if kind in (Sequence, tuple, list):
        return isinstance(value, list | tuple) and all(fits(v, inner[0]) for v in value)
    if kind is Mapping:
        return isinstance(value, Mapping) and all(fits(v, inner[1]) for v in value.values())
    return _is_instance(value, getattr(hint, "array_type", hint))  # of jaxtyping's annotations


def names_of(hint: Any) -> tuple[Any, ...]:
    """Return the values of a `Literal`, and None where the annotation allows it.

    Example:
        >>> names_of(Literal["group", "batch"] | None)
        ('group', 'batch', None)

    """
    if get_origin(hint) in (Union, UnionType):
        return tuple(name for one in get_args(hint) for name in names_of(one))
    return (None,) if hint is NoneType else get_args(hint)


def require_name(given: Any, hint: Any, asked: str) -> None:
    """Refuse what is none of a `Literal`'s values.

    Raises:
        InputError: for another value, listing the known ones.

    """
    names = names_of(hint)
    if not any(type(given) is type(name) and given == name for name in names):
        *first, last = map(repr, names)
        raise InputError(f"{asked}; give {', '.join(first)} or {last}")


def in_words(hint: Any) -> str:
    """Return an annotation as messages name it.

    Example:
        >>> in_words(Literal["cpu", "aten"] | Sequence[int] | None)
        "'cpu' | 'aten' | Sequence[int] | None"

    """
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " | ".join(map(in_words, inner))
    if kind is Literal:
        return " | ".join(map(repr, inner))
    return re.sub(r"[\w.]+\.(\w)", r"\1", formatannotation(None if hint is NoneType else hint))


def _is_instance(value: Any, hint: Any) -> bool:
    if hint is Any or hint is None:
        return hint is Any or value is None
    if hint in (int, float):
        number = Real if hint is float else Integral
        return isinstance(value, number) and not isinstance(value, bool)
    if hint in (bool, str, NoneType):
        return type(value) is hint
    if isinstance(hint, type) and issubclass(hint, Tensor):
        return isinstance(value, Tensor) or _is_table(value)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _is_table(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_table, value))
    return isinstance(value, Real) and not isinstance(value, bool)
