"""Measure cases one after the other, and keep what was found after each."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from .. import InputError, _machine
from .cases import Case
from .equality import UnequalError
from .measure import Found, measure
from .progress import Progress
from .registry import all_cases, find
from .results import Results
from .tables import lines

REPEATS, QUICK = 15, 5
PACKAGES = "kornia", "torch-interpol", "opencv-python-headless"


def bench(
    names: Sequence[str],
    *,
    quick: bool = False,
    device: str = "cpu",
    repeats: int | None = None,
    threads: int | None = None,
    path: Path | None = None,
) -> int:
    """Measure, print a line per row, and return how many cases were found unequal.

    Raises:
        InputError: for what cannot be measured here.

    """
    where, repeats = checked(device, quick, repeats, threads)
    cases = _chosen(names, where, quick)
    with limited(threads):
        configuration = {**_machine.facts(where, *PACKAGES), "repeats": repeats, "quick": quick}
        results = Results(configuration, path)
        todo = [(c, w) for c in cases for w in c.passes if not results.has(c.name, w)]
        measure_one = partial(measure, device=where, repeats=repeats, compiles=not quick)
        return _measure_all(todo, measure_one, results)


def _measure_all(
    todo: Sequence[tuple[Case, str]], measure_one: Callable[[Case, str], Found], results: Results
) -> int:
    """Keep and print what is found; return how many cases were unequal."""
    failed = 0
    with Progress(len(todo)) as progress:
        for case, which in todo:
            progress.show(f"{case.name}, {which}")
            try:
                found = measure_one(case, which)
            except UnequalError as error:
                failed += 1
                progress.print(str(error), sys.stderr)
            else:
                results.add(found)
                progress.print("\n".join(lines(found)))
    return failed


def _chosen(names: Sequence[str], device: torch.device, quick: bool) -> list[Case]:
    """Return the cases of these names, or without names all that there is time for."""
    cases = find(names) if names else [c for c in all_cases().values() if c.quick or not quick]
    fits = [case for case in cases if case.device in ("", device.type)]
    if not fits:
        raise InputError(f"{', '.join(names)}: not for {device.type}; give --device cuda")
    return fits


def checked(
    device: str, quick: bool, repeats: int | None, threads: int | None
) -> tuple[torch.device, int]:
    """Return where it runs, and how often: as given, or as is usual.

    Raises:
        InputError: for less than one repeat or thread, and a device that is not there.

    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for; this torch finds none here")
    repeats = (QUICK if quick else REPEATS) if repeats is None else repeats
    if repeats < 1 or (threads is not None and threads < 1):
        raise InputError(f"{repeats} repeats and {threads} threads were asked for; give 1 or more")
    return torch.device(device), repeats


@contextmanager
def limited(count: int | None) -> Iterator[None]:
    """Let torch have so many threads, or its own choice, while the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
