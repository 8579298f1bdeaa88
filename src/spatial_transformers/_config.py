"""What a module was made with: reprs that make it again, and configs, which hold it as JSON.

Both rest on the constructor's signature. A module keeps each argument as the attribute of its name,
or says in `_argument` what it would be. So an option is listed once, where it is taken.
"""

import copy
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter, isabstract, signature
from numbers import Integral, Real
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ._errors import InputError, shown
from ._hints import fits, in_words

if TYPE_CHECKING:
    from ._types import Called

VERSION = 1  # of configs: raised where a key changes its meaning
_NUMBERS = 1000  # the most numbers of a tensor that a repr shows
_PLACE = ("device", "dtype")  # where a module is, which is for `.to()` to say
_KEYS = ("class", "version")  # of a config, beside the arguments

#: The dtypes of tensors in configs, by name.
_DTYPES = {
    str(d).removeprefix("torch."): d for d in vars(torch).values() if isinstance(d, torch.dtype)
}

_Made = TypeVar("_Made", bound="Configured")


class Configured(nn.Module):
    """A module that says what it was made with, as a repr and as a config."""

    if TYPE_CHECKING:
        __call__: Called  # pyright: ignore[reportIncompatibleMethodOverride]

    def to_config(self) -> dict[str, Any]:
        """Return what makes this module again, as JSON can hold it.

        It has the class's name and its options by theirs, and options that are modules in the same
        way. Weights are not in it, which the state has, nor are device and dtype.

        Raises:
            InputError: for an option that is code or a module of someone else.

        Example:
            >>> from spatial_transformers import Rigid, Transformation
            >>> config = Rigid(bounds=(-1, 1)).to_config()
            >>> config
            {'version': 1, 'class': 'Rigid', 'ndim': 2, 'bounds': [-1, 1]}
            >>> Transformation.from_config(config)
            Rigid(ndim=2, bounds=(-1, 1))

        """
        return {"version": VERSION, **self._config()}

    @classmethod
    def from_config(cls: type[_Made], config: Mapping[str, Any]) -> _Made:
        """Return the module of a config, with weights as a new one has them.

        The config may be of this class, or of one that derives from it. Options that it lacks have
        their defaults. Only public classes of this package are made; nothing is imported.

        Raises:
            InputError: for a config of a newer version, an unknown class or option, and a value
                that does not fit.

        """
        try:
            return _made(config, cls)
        except RecursionError as error:
            raise InputError(
                f"a config of {cls.__name__} was given that is nested too deeply; give one as "
                "to_config() returns it"
            ) from error

    def extra_repr(self) -> str:
        """Show what makes this module: what has to be given, and what differs from defaults."""
        return ", ".join(self._shown())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def _argument(self, name: str) -> Any:
        """Return an argument of the constructor that makes this module."""
        return getattr(self, name)

    def _config(self) -> dict[str, Any]:
        """Return the config without its version."""
        name = type(self).__name__
        arguments = {"class": name}
        for parameter in _parameters(type(self)):
            try:
                value = self._argument(parameter.name)
            except AttributeError as error:
                raise InputError(
                    f"a config of {name} was asked for, which does not keep its "
                    f"{parameter.name!r}; keep it as an attribute of that name"
                ) from error
            arguments[parameter.name] = encoded(value, f"{parameter.name} of {name}")
        return arguments

    @classmethod
    def _from_arguments(cls: type[_Made], given: Mapping[str, Any]) -> _Made:
        """Make a module of the arguments of a config."""
        known = {parameter.name: parameter for parameter in _parameters(cls)}
        require_keys(cls.__name__, given, {n: _is_required(p) for n, p in known.items()})
        named = {name: _checked(value, known[name], cls) for name, value in given.items()}
        several = [n for n, p in known.items() if p.kind is Parameter.VAR_POSITIONAL]
        first: list[Any] = []
        for name in (*known,)[: 1 + [*known].index(several[0])] if several else ():
            first += named.pop(name, ()) if name in several else [named.pop(name)]
        try:
            return cls(*first, **named)
        except InputError:
            raise
        except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"a config of {cls.__name__} was given, with which none can be made "
                f"({shown(reason)}); give one as to_config() returns it"
            ) from error

    def _shown(self) -> Iterator[str]:
        """Yield the arguments as a repr shows them."""
        for parameter in _parameters(type(self)):
            name, default = parameter.name, parameter.default
            try:
                value = self._argument(name)
            except AttributeError:  # not set yet, or not kept by a class of someone else
                continue
            required = default is Parameter.empty
            if parameter.kind is Parameter.VAR_POSITIONAL:
                yield from map(as_code, value)
            elif required and parameter.kind is Parameter.POSITIONAL_OR_KEYWORD:
                yield as_code(value)
            elif name == "ndim" and default is None:
                continue  # sizes or points tell it
            elif parameter.kind is not Parameter.KEYWORD_ONLY or not _same(value, default):
                yield f"{name}={as_code(value)}"


class Recorded:
    """What makes a module, kept in place of the module itself."""

    def __init__(self, module: Configured):
        self._code = repr(module)
        self._config: dict[str, Any] | InputError
        try:
            self._config = encoded(module, "a part")
        except InputError as error:
            self._config = error

    def config(self) -> dict[str, Any]:
        """Return the module's config.

        Raises:
            InputError: if it has none.

        """
        if isinstance(self._config, InputError):
            raise self._config
        return copy.deepcopy(self._config)

    def __repr__(self) -> str:
        return self._code


def class_of(name: object) -> type[Configured] | None:
    """Return the public class of this package that has a name, if it can be made of a config."""
    found = getattr(sys.modules[__package__ or ""], name, None) if isinstance(name, str) else None
    usable = isinstance(found, type) and issubclass(found, Configured) and not isabstract(found)
    return found if usable else None


def _made(config: object, base: type[_Made]) -> _Made:
    """Return the module of a config, of a class or of one that derives from it."""
    asked = "a module" if base is Configured else base.__name__
    if not isinstance(config, Mapping):
        raise InputError(
            f"as a config of {asked} was given a {type(config).__name__}; give a mapping, as "
            "to_config() returns it"
        )
    version, name = config.get("version", VERSION), config.get("class")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise InputError(
            f"a config of {asked} was given of version {shown(version)}, and this package reads "
            f"versions up to {VERSION}; install the one that wrote it, or a newer one"
        )
    own = name == base.__name__ and base is not Configured and not isabstract(base)
    found = base if own else class_of(name)
    if found is None or not issubclass(found, base):
        public = map(class_of, dir(sys.modules[__package__ or ""]))
        known = sorted(c.__name__ for c in public if c is not None and issubclass(c, base))
        raise InputError(
            f"a config of {asked} was given whose class is {shown(name)}; give one of "
            f"{', '.join(known) or asked}"
        )
    made: Any = found._from_arguments({k: v for k, v in config.items() if k not in _KEYS})
    return made


def require_keys(name: str, given: Mapping[str, Any], known: Mapping[str, bool]) -> None:
    """Refuse arguments of a config that are not known, and the lack of one that is required."""
    unknown = ", ".join(shown(key) for key in given if key not in known)
    if unknown:
        raise InputError(
            f"a config of {name} was given with {unknown}, which it does not have; its keys are "
            f"{', '.join((*_KEYS, *known))}"
        )
    missing = ", ".join(repr(key) for key, required in known.items() if required > (key in given))
    if missing:
        raise InputError(
            f"a config of {name} was given without {missing}, which has no default; give it"
        )


def _checked(value: Any, parameter: Parameter, kind: type) -> Any:
    """Return an argument as it was before it was encoded; refuse one of a wrong type."""
    found, told = decoded(value), parameter.annotation
    hint = Any if told is Parameter.empty else told
    if parameter.kind is Parameter.VAR_POSITIONAL:
        hint = Sequence[hint]
    if not fits(found, hint):
        raise InputError(
            f"a config of {kind.__name__} was given with {parameter.name}={shown(found)}; give "
            f"{in_words(hint)}"
        )
    return found


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_POSITIONAL


def _parameters(kind: type) -> list[Parameter]:
    """Return the parameters of a constructor that configs hold."""
    found = signature(kind).parameters.values()
    return [p for p in found if p.name not in _PLACE and p.kind is not Parameter.VAR_KEYWORD]


def encoded(value: Any, what: str) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, Configured) and class_of(type(value).__name__) is type(value):
        return value._config()
    if isinstance(value, Recorded):
        return value.config()
    if isinstance(value, Tensor):
        if value.is_meta:
            raise InputError(f"a config was asked for, but {what} is on the meta device; move it")
        table = numbers(value)
        shape = {} if value.numel() else {"shape": list(value.shape)}  # which lists do not tell
        return {
            "class": "Parameter" if isinstance(value, nn.Parameter) else "Tensor",
            "dtype": str(value.dtype).removeprefix("torch."),
            "numbers": table if bool(value.isfinite().all()) else encoded(table, what),
            **shape,
        }
    if isinstance(value, Mapping):
        return {str(key): encoded(v, what) for key, v in value.items()}
    if isinstance(value, Sequence | nn.ModuleList) and not isinstance(value, str):
        return [encoded(v, what) for v in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else {"class": "float", "number": str(number)}
    raise InputError(
        f"a config was asked for, but {what} is a {type(value).__name__}, which a config cannot "
        "hold; keep the code that makes it, and its state"
    )


def decoded(value: Any) -> Any:
    """Return what was encoded: lists as tuples, and modules made."""
    if isinstance(value, Mapping):
        if value.get("class") in ("Parameter", "Tensor"):
            return _tensor(value)
        if value.get("class") == "float" and value.get("number") in ("nan", "inf", "-inf"):
            return float(value["number"])
        if "class" in value:
            return _made(value, Configured)
        return {key: decoded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(decoded, value))
    return value


def _tensor(given: Mapping[str, Any]) -> Tensor:
    """Return the tensor, or the parameter, of a config."""
    dtype, found = _DTYPES.get(str(given.get("dtype"))), given.get("numbers")
    try:
        tensor = torch.tensor(decoded(found), dtype=dtype)
        tensor = tensor.reshape(given.get("shape", tensor.shape))
        return nn.Parameter(tensor) if given["class"] == "Parameter" else tensor
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"a config was given with a tensor of numbers={shown(found)} and "
            f"dtype={shown(given.get('dtype'))}; give lists of numbers, and a dtype of torch"
        ) from error


def numbers(tensor: Tensor) -> Any:
    """Return the numbers of a tensor as lists; a few of single precision in as few digits."""
    found = tensor.detach().cpu()
    many = found.numel() > _NUMBERS
    if many or not found.is_floating_point() or found.dtype == torch.float64:
        return found.tolist()
    single = found.float().numpy()
    return np.array([float(str(x)) for x in single.flat]).reshape(single.shape).tolist()


def as_code(value: Any) -> str:
    """Return what Python reads as the value, as long as tensors in it are not too large."""
    if isinstance(value, Tensor):
        large = value.is_meta or value.numel() > _NUMBERS
        text = f"...{tuple(value.shape)}" if large else as_code(numbers(value))
        return f"nn.Parameter(torch.tensor({text}))" if isinstance(value, nn.Parameter) else text
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return repr(float(value))
    if isinstance(value, FunctionType | BuiltinFunctionType):
        return value.__name__
    if type(value) is list:
        return f"[{', '.join(map(as_code, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(as_code, value))}{',' * (len(value) == 1)})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {as_code(v)}' for key, v in value.items())}}}"
    return repr(value)


def _same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    return not isinstance(value, Tensor | nn.Module) and bool(value == default)
