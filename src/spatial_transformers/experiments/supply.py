"""The data of a run: found where they lie, compared with those that it began with, and read."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from spatial_transformers import InputError

from . import origin, progress
from .data.samples import Data
from .data.served import ServedData
from .origin import Held, Origin
from .recipe import Recipe
from .registry import named


def for_training(
    recipe: Recipe,
    known: Origin | None,
    data: Path | None,
    reading: Callable[[Recipe, Path | None], Data],
) -> tuple[ServedData, Origin]:
    """Return the data that a run trains on, and where they come from.

    Args:
        recipe: of the run.
        known: where they came from when the run began, if it has.
        data: the folder of the data set, unless it is known.
        reading: reads them, as `read` does.

    Raises:
        InputError: for data that cannot be learned, or are not those that the run began with.

    """
    experiment, folder = named(recipe.experiment), located(known, data)
    held = experiment.held and experiment.held(recipe, folder)
    _refuse_changed(folder, known, held)
    found = reading(recipe, folder)
    _refuse_left_out(folder, known, found.left_out)
    return served(found, recipe), Origin(folder, held, found.left_out)


def located(known: Origin | None, data: Path | None) -> Path | None:
    """Return where a run's data lie: as given, or where they lay when it was trained."""
    if data is not None or known is None or known.folder is None:
        return data
    if not known.folder.exists():
        raise InputError(
            f"{known.folder}: the run's data lay there, and are gone; give --data where they are"
        )
    return known.folder


def _refuse_changed(folder: Path | None, known: Origin | None, held: Held | None) -> None:
    """Refuse a folder that holds other files than a run began with."""
    if known and known.held and held and (changed := origin.changes(known.held, held)):
        raise InputError(
            f"{folder}: has changed since the run began: {changed}; put it back as it was, or "
            "begin another run"
        )


def _refuse_left_out(folder: Path | None, known: Origin | None, left_out: Sequence[str]) -> None:
    """Refuse a folder of which other files cannot be read than when a run began."""
    if known and known.held and (other := {*known.left_out} ^ {*left_out}):
        raise InputError(
            f"{folder}: {min(other)} could{' not' * (min(other) in known.left_out)} be read when "
            "the run began; put it back as it was, or begin another run"
        )


def data_of(recipe: Recipe, out: Path, data: Path | None = None) -> ServedData:
    """Return the test samples of a run, and the others unless that takes longer.

    Where the folder's test images have changed, a line on standard error says so.

    Args:
        recipe: of the run.
        out: its folder.
        data: the folder of the data set, unless it lies where it lay in training.

    """
    known = origin.read(out)
    folder = located(known, data)
    if changed := test_changes(recipe, known, folder):
        progress.tell(f"{folder}: {changed}")
    return served(read(recipe, folder, only_tests=True), recipe)


def test_changes(recipe: Recipe, known: Origin | None, folder: Path | None) -> str:
    """Return in words how a folder's test images are others than a run's, or nothing."""
    held = named(recipe.experiment).held
    if known is None or known.held is None or held is None:
        return ""
    before, now = ({"test": of.get("test", {})} for of in (known.held, held(recipe, folder)))
    changed = origin.changes(before, now)
    return changed and (
        f"its test images are not those of the run ({changed}); the results are of those that are "
        "there now, and the run may have learnt from some"
    )


def read_once() -> Callable[[Recipe, Path | None], Data]:
    """Return what reads as `read` does, once for networks that learn from the same data."""
    found: list[Data] = []

    def reading(recipe: Recipe, folder: Path | None) -> Data:
        if not found:
            found.append(read(recipe, folder))
        return found[0]

    return reading


def read(recipe: Recipe, folder: Path | None, *, only_tests: bool = False) -> Data:
    """Read the data of an experiment.

    Args:
        recipe: of the experiment.
        folder: of the data set.
        only_tests: leave out what is not tested, if that is cheaper.

    Raises:
        InputError: for data that cannot be learned.

    """
    experiment = named(recipe.experiment)
    task, tests = experiment.task(recipe), experiment.tests if only_tests else None
    data = (tests or experiment.data)(recipe, folder)
    for part in ("test",) if tests else ("train", "validation", "test"):
        targets = getattr(data, part).targets
        if not len(targets):
            raise InputError(f"{folder}: no {part} samples were found; give a folder that has some")
        task.check(targets, folder, recipe.experiment)
    if not recipe.hold_out:
        data = replace(data, train=data.train + data.validation)
    return data


def served(data: Data, recipe: Recipe) -> ServedData:
    """Return data as a recipe has them served."""
    return ServedData(data, batch_size=recipe.batch_size, seed=recipe.seed)
