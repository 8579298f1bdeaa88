"""The paper's tables again: every cell and seed is a run, in a folder that is named after both.

<out>/R/st-cnn/affine/0 is the first seed of one cell, <out>/R/cnn/0 that of its baseline. A cell is
claimed by a lock while it trains, so that several processes may work on one folder.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from spatial_transformers import InputError

from .._errors import nearest
from .._files import whole
from . import bars, metrics, run
from .base import Cell
from .progress import Bar
from .recipe import Recipe
from .registry import named
from .table import Result, details, overview
from .task import Metric


def cells(experiment: str, only: Sequence[str] = (), *, quick: bool = False) -> list[Cell]:
    """Return the cells of an experiment in the order in which they are trained.

    A name of `only` is that of a cell, the first parts of names, as `R` or `R/st-cnn`, which mean
    all cells that have them, or so many first letters that no other cell has them.

    Those of `quick` have the recipes of a rehearsal, and no numbers of the paper.

    Raises:
        InputError: for a name that is no cell's or of several, an experiment without a table, and
            one without a quick form.

    """
    found = named(experiment)
    everything = found.cells(found.recipe)
    known = [cell.name for cell in everything]
    if not known:
        raise InputError(f"{experiment} has no table in the paper; train it by `stn train`")
    meant = {name for given in only for name in _meant(given, known)}
    chosen = [cell for cell in everything if not only or cell.name in meant]
    if not quick:
        return chosen
    if found.quick is None:
        raise InputError(f"{experiment} has no quick form; leave --quick out")
    return [replace(cell, recipe=found.quick(cell.recipe), paper=None) for cell in chosen]


def _meant(given: str, known: Sequence[str]) -> Sequence[str]:
    """Return the names that one means: it, those of its group, or the one that begins with it."""
    group = [name for name in known if name == given or name.startswith(f"{given.rstrip('/')}/")]
    begun = [name for name in known if name.startswith(given)]
    if group or len(begun) == 1:
        return group or begun
    if begun:
        raise InputError(f"{given} begins several names: {', '.join(begun)}; give more letters")
    groups = {name[:end] for name in known for end, letter in enumerate(name) if letter == "/"}
    meant = nearest(given, [*sorted(groups), *known])
    raise InputError(f"no cell is called {given}{meant}; known: {', '.join(known)}")


def _run_of(cell: Cell, out: Path, seed: int) -> tuple[Recipe, Path]:
    """Return the recipe and the folder of one run."""
    return replace(cell.recipe, seed=seed), out / cell.name / str(seed)


def verify(experiment: str, data: Path | None) -> None:
    """Refuse data that are not those of the paper."""
    check = named(experiment).verify
    if check is not None and data is not None:
        check(data)


def train(
    chosen: Sequence[Cell], out: Path, *, seeds: int, jobs: int = 1, **options: Any
) -> Iterator[str]:
    """Train the runs that are missing, all cells with one seed before the next; yield a line each.

    Runs that another command has claimed are left to it.

    Args:
        chosen: the cells.
        out: the folder of all runs.
        seeds: runs per cell.
        jobs: runs at a time, in as many processes; they share the processor's threads, or a GPU.
        **options: of `run.train`.

    Raises:
        InputError: if processes that share each batch (`strategy`) are to run side by side, or
            find a run claimed.

    """
    if jobs > 1 and "strategy" in options:
        raise InputError("--jobs and --devices were asked for together; give one of them")
    todo = [(cell, out, seed) for seed in range(seeds) for cell in chosen]
    if jobs == 1:
        yield from filter(None, (_train_one(*which, **options) for which in todo))
        return
    threads = max(1, torch.get_num_threads() // jobs)
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, spawn, torch.set_num_threads, (threads,))
    options |= {"enable_progress_bar": False}
    try:
        runs = [pool.submit(_train_one, *which, **options) for which in todo]
        with Bar(doing="training", total=len(todo), unit="run") as bar:
            for done in as_completed(runs):
                bar.update()
                if line := done.result():
                    bar.clear()
                    yield line
    except Exception:  # the runs that go on may end
        raise
    except BaseException:
        _stop_others()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _stop_others() -> None:
    """End the processes that this one started, which may have taken on more than one run."""
    for process in multiprocessing.active_children():
        while process.is_alive():
            process.terminate()
            process.join(1)


def _train_one(cell: Cell, out: Path, seed: int, **options: Any) -> str | None:
    recipe, folder = _run_of(cell, out, seed)
    with _claimed(folder) as mine:
        if not mine and "strategy" in options:
            raise InputError(f"{folder}: another command trains it; wait, or ask --only for others")
        if not mine:
            return None
        found = run.train(recipe, folder, resume=True, **options)
    return f"{cell.name}, seed {seed}: {metrics.in_words(found)}"


def finished(chosen: Sequence[Cell], out: Path) -> list[Result]:
    """Return the metrics of finished runs of each cell, in the order of seeds.

    Raises:
        InputError: if one was trained by another recipe, naming the difference.

    """
    found = []
    for cell in chosen:
        folders = (path.parent.name for path in out.glob(f"{cell.name}/*/metrics.json"))
        seeds = sorted(int(name) for name in folders if name.isdecimal())
        runs = [_run_of(cell, out, seed) for seed in seeds]
        for recipe, folder in runs:
            run.refuse_another(recipe, folder)
        read = [metrics.read(folder / "metrics.json", recipe) for recipe, folder in runs]
        found.append(Result(cell, read))
    return found


def check(
    chosen: Sequence[Cell], out: Path, metric: Metric, *, data: Path | None, **trainer: Any
) -> Iterator[tuple[str, float, float]]:
    """Score the weights in `out` again; yield a run's name, and its metric before and now.

    Where there are independent test inputs, the run with these follows.
    """
    for cell, runs in finished(chosen, out):
        for facts in runs:
            _, folder = _run_of(cell, out, facts["recipe"]["seed"])
            if (folder / "model.safetensors").is_file():
                again = run.evaluate(folder, data=data, **trainer)
                key, name = f"test_{metric.key}", str(folder.relative_to(out))
                yield name, facts[key], again[key]
                for inputs, before in facts["independent"].items():
                    if inputs not in again["independent"]:
                        raise InputError(
                            f"{folder}: scored on inputs of {inputs}, which are not made any more "
                            "or not in --data; give the folder that has them, or train again"
                        )
                    yield f"{name}, inputs of {inputs}", before, again["independent"][inputs]


def report(chosen: Sequence[Cell], out: Path, metric: Metric, *, data: Path | None) -> str:
    """Write table, bars and the pictures that are not there yet, and return the table.

    `table.md` and `bars.png` are in `out`. The first run of each cell with a spatial transformer
    gets two pictures, if its weights are there: `picture.png` shows what the transformer does, and
    `alignment.gif` how it learned that.
    """
    found = finished(chosen, out)
    bars.draw(found, metric, out / "bars.png")
    table = f"{overview(found, metric)}\n\n{details(found, metric)}"
    with whole(out / "table.md") as temporary:
        temporary.write_text(table + "\n")
    for cell in chosen:
        _, folder = _run_of(cell, out, 0)
        if not all((folder / f"{name}.safetensors").is_file() for name in ("model", "poses")):
            continue
        for name, draw in (("picture.png", run.show), ("alignment.gif", run.film)):
            if not (folder / name).is_file():
                draw(folder, folder / name, data=data)
    return table


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Give whether this process has the folder to itself, while the block lasts.

    Where several processes train one network together, the first one claims the folder for all.
    """
    if not run.is_first_process():
        yield True
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield True
    except Timeout:
        yield False
