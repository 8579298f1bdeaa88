"""What an experiment is: its recipe, data, networks and task, and the paper's numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from spatial_transformers import Recurrent, SpatialTransformer

from .data.samples import Data, InMemory
from .origin import Held
from .recipe import Recipe
from .task import Metric, Task


class Network(nn.Module):
    """A network of an experiment: what it returns, and the transformer whose work is shown."""

    transformer: SpatialTransformer | Recurrent | None
    recipe: Recipe  # of the run that it was loaded from
    metrics: Mapping[str, Any]  # likewise

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output, which a task scores, and the transformer's θ; None without one.

        θ is (N, P), or (N, K, P) of K transformers side by side.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Cell:
    """One number of a table of the paper.

    Args:
        column: the first part of the name, as `R`.
        row: the rest of it, a network, as `st-cnn/affine`.
        recipe: what trains it, with seed 0.
        paper: the paper's number, if it gives one.
        baseline: the row of the network without a spatial transformer that it is compared with.

    """

    column: str
    row: str
    recipe: Recipe
    paper: float | None = None
    baseline: str | None = None

    @property
    def name(self) -> str:
        """Column and row, as `R/st-cnn/affine`."""
        return f"{self.column}/{self.row}"


class Choice(NamedTuple):
    """Facts that were chosen for some data, and why."""

    facts: Mapping[str, Any]
    reason: str


def _no_cells(recipe: Any) -> Sequence[Cell]:
    return ()


@dataclass(frozen=True)
class Experiment:
    """One of the paper's experiments, or another one.

    The functions take a recipe of the same class as `recipe`, and may read its facts.

    Args:
        recipe: what trains a network unless options say otherwise. Its class has the experiment's
            own facts.
        data: reads the data from a folder, or without one from what ships with a package.
        network: builds an untrained network.
        task: says what is learned.
        shape: channels and size of what a network sees: (C, *size).
        cells: the paper's table, in the order in which it is trained.
        quick: turns a cell's recipe into one that ends within a minute, on data that ship.
        threads: processor threads at most. Small networks gain little from a second thread, and
            wait long for it where the other core is busy.
        verify: refuses a folder whose data are not the paper's.
        independent: makes test inputs without this library, by the names of what made them.
        choose: chooses facts that depend on the data of a folder, for a recipe that a run starts
            with; what the user gave goes before.
        tests: reads the test samples alone, where that is cheaper; the others are empty.
        held: says what a folder holds without reading it, so that a run notices a change.
        see: turns pictures (N, 3, *size) in [0, 1] into what a network sees, where image files are
            its inputs.

    """

    recipe: Recipe
    data: Callable[[Any, Path | None], Data]
    network: Callable[[Any], Network]
    task: Callable[[Any], Task]
    shape: Callable[[Any], tuple[int, ...]]
    cells: Callable[[Any], Sequence[Cell]] = _no_cells
    quick: Callable[[Any], Recipe] | None = None
    threads: int | None = None
    verify: Callable[[Path], None] | None = None
    independent: Callable[[Any, Path | None], Mapping[str, InMemory]] | None = None
    choose: Callable[[Any, Path | None], Sequence[Choice]] | None = None
    tests: Callable[[Any, Path | None], Data] | None = None
    held: Callable[[Any, Path | None], Held] | None = None
    see: Callable[[Tensor], Tensor] | None = None

    @property
    def headline(self) -> Metric:
        """The metric that stands in tables."""
        return self.task(self.recipe).metrics[0]
