"""Train every set-up, variant and seed that is missing, side by side; keep each at once."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ... import InputError, _machine
from ..measure import Found
from ..progress import Progress
from ..results import Results
from . import images
from .loop import train
from .setups import EPOCHS, QUICK, SETUPS, VARIANTS, Setup
from .verdict import summary, table

SEEDS = 5
_QUICK_IMAGES, _QUICK_EPOCHS, _QUICK_TEST = 6_000, 4, 1_000
Run = tuple[str, str, int]


def bench(
    data: Path | None,
    *,
    names: tuple[str, ...] = (),
    seeds: int | None = None,
    jobs: int = 1,
    quick: bool = False,
    path: Path | None = None,
) -> str:
    """Train what is missing, a thread each, and return the table of what is known.

    Args:
        data: the folder that holds `mnist` and `gtsrb32`. Without one, the digits are
            scikit-learn's, and set-ups with signs are left out.
        names: of set-ups; all of them if there are none.
        seeds: runs of each, 5, or 1 if `quick`.
        jobs: processes.
        quick: one set-up, fewer images and epochs.
        path: of the results, which are continued.

    Raises:
        InputError: for an unknown set-up, numbers below 1, and data that are not there.

    """
    seeds = (1 if quick else SEEDS) if seeds is None else seeds
    if seeds < 1 or jobs < 1:
        raise InputError(f"{seeds} seeds and {jobs} jobs were asked for; give 1 or more")
    chosen = _chosen(names or (QUICK if quick else ()))
    if data is None:
        chosen = [setup for setup in chosen if setup.images == "digits"]
    facts: dict[str, Any] = {
        "versions": _machine.facts(torch.device("cpu"))["versions"],
        "images": "scikit-learn" if data is None else "mnist, gtsrb",
        "quick": quick,
    }
    results = Results(facts, path)
    everything = [(s.name, v, n) for n in range(seeds) for s in chosen for v in VARIANTS]
    todo = [(s, v, n) for s, v, n in everything if not results.has(s, f"{v}/{n}")]
    with Progress(len(todo)) as progress:
        for row in _trained(todo, data, jobs, quick):
            progress.show(f"{row['case']}, {row['pass']}: {row['error']} % errors")
            results.add(Found([row]))
    return f"{table(results.found)}\n\n{summary(results.found)}"


def _chosen(names: tuple[str, ...]) -> list[Setup]:
    known = {setup.name: setup for setup in SETUPS}
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"set-up {unknown[0]!r} was asked for; known: {', '.join(known)}")
    return [known[name] for name in names or known]


def _trained(
    todo: list[Run], data: Path | None, jobs: int, quick: bool
) -> Iterator[dict[str, Any]]:
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, max(1, len(todo))), spawn, torch.set_num_threads, (1,))
    try:
        runs = [pool.submit(_run, *which, data, quick) for which in todo]
        for done in as_completed(runs):
            yield done.result()
    finally:
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(cancel_futures=True)


def _run(name: str, variant: str, seed: int, data: Path | None, quick: bool) -> dict[str, Any]:
    (setup,) = _chosen((name,))
    shown = _images(setup.images, data, quick)
    return train(setup, variant, seed, shown, _QUICK_EPOCHS if quick else EPOCHS)


@cache
def _images(kind: str, data: Path | None, quick: bool) -> images.Images:
    counts = (_QUICK_IMAGES, _QUICK_TEST) if quick else (images.TRAIN, images.TEST)
    if data is None:
        return images.embedded(*counts)
    return {"digits": images.digits, "signs": images.signs}[kind](data, *counts)
