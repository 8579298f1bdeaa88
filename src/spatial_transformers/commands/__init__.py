"""The `stn` command: a thin file per sub-command, which imports what it needs when it runs."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from types import ModuleType
from typing import NoReturn

from .._errors import InputError, how_to_get, nearest
from . import (
    apply,
    bench,
    demo,
    eval,
    export,
    info,
    page,
    report,
    reproduce,
    show,
    train,
    verify,
    warp,
)

_COMMANDS = (
    *(info, verify, bench, demo, train, reproduce),
    *(eval, show, report, apply, page, export, warp),
)

_CONTINUED = {
    "train": "the same command with --resume continues",
    "reproduce": "the same command continues",
    "demo": "the same command continues",
    "bench": "the same command continues {json}",
}
_BEGINS = {
    "apply": "loading the run …",
    "page": "loading the network and the page …",
    "report": "loading the run …",
}
_ONNX = ("onnx", "onnxruntime", "onnxscript")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command; return 0, 1 if a check failed, or 2 with one line on standard error."""
    said = {_name(command): (command.__doc__ or "").partition("\n\n") for command in _COMMANDS}
    listed = "\n".join(f"  {name:<11}{summary}" for name, (summary, *_) in said.items())
    parser = _Parser(
        "stn",
        description=f"Spatial transformer networks.\n\ncommands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )
    argv = [_as_argument(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    # θ or ± must not end a command where it cannot be shown
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if argv and not argv[0].startswith("-") and argv[0] not in said:
        parser.error(f"no command is called {argv[0]}{nearest(argv[0], said)}")
    for command in _COMMANDS:
        name = _name(command)
        summary, _, example = said[name]
        sub = parsers.add_parser(
            name,
            description=summary,
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in argv[:1]:  # others would import what they offer, for nothing
            try:
                command.add_arguments(sub)
            except ModuleNotFoundError as error:
                return _refuse(name, _lacking(name, error), 2)
        sub.set_defaults(run=command.run, refuse=sub.refuse_unknown)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        args.refuse(unknown)
    if begins := _BEGINS.get(args.command):  # what is imported takes seconds
        print(f"stn {args.command}: {begins}", file=sys.stderr, flush=True)
    try:
        with _terminable():
            return args.run(args)
    except InputError as error:
        return _refuse(args.command, str(error), 2)
    except BrokenPipeError:  # the reader has left, as in `stn info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _refuse(args.command, _reason(error), 2)
    except ModuleNotFoundError as error:
        return _refuse(args.command, _lacking(args.command, error), 2)
    except (MemoryError, RuntimeError) as error:
        if not _lacks_memory(error):
            raise
        return _refuse(args.command, "memory is full; ask for smaller images or batches", 2)
    except KeyboardInterrupt:
        return _refuse(args.command, f"interrupted{_continued(args)}", 130)
    except _Terminated:
        return _refuse(args.command, f"terminated{_continued(args)}", 143)


class _Parser(argparse.ArgumentParser):
    """Refuses what it does not understand in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def refuse_unknown(self, given: Sequence[str]) -> NoReturn:
        """Refuse arguments that have no meaning, naming the option that is spelled most alike."""
        options = [name for action in self._actions for name in action.option_strings]
        wrong = next((word for word in given if word.startswith("--")), given[0])
        self.error(f"{wrong} has no meaning here{nearest(wrong.partition('=')[0], options)}")


def _name(command: ModuleType) -> str:
    return command.__name__.rpartition(".")[2]


class _Terminated(BaseException):
    """SIGTERM has come."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM leave the block as an exception does, so that nothing half done stays."""
    if threading.current_thread() is not threading.main_thread():  # others cannot ask for that
        yield
        return

    def terminate(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _continued(args: argparse.Namespace) -> str:
    """Return how a command goes on that was stopped, if it does."""
    how = _CONTINUED.get(args.command)
    if how is None or (args.command == "bench" and args.json is None):  # without a file
        return ""
    return f"; {how.format(**vars(args))}"


def _as_argument(given: str) -> str:
    """Keep argparse from taking a negative number for an option, as it does with -1e-3."""
    try:
        float(given)
    except ValueError:
        return given
    return f" {given}" if given.startswith("-") else given


def _lacking(command: str, error: ModuleNotFoundError) -> str:
    return f"needs the package {error.name!r}; {how_to_get(_extra(command, error.name))}"


def _extra(command: str, package: str | None) -> str:
    """Return the extra that brings a package that a command lacks."""
    if command == "page":
        return "page"
    return "onnx" if package in _ONNX else "experiments"


def _refuse(command: str, reason: str, status: int) -> int:
    print(f"stn {command}: {reason}", file=sys.stderr)
    return status


def _lacks_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(
        sign in str(error) for sign in ("can't allocate memory", "out of memory")
    )


def _reason(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}; check the path, its permissions and the disk's space"
