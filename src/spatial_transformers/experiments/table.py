"""Tables of test results: mean and spread over seeds, in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

from .base import Cell
from .task import Metric

Run = Mapping[str, Any]  # the metrics of a run
_WHEN = "before", "after"


class Result(NamedTuple):
    """A cell of the paper's table, and the metrics of our finished runs in the order of seeds."""

    cell: Cell
    runs: Sequence[Run]

    def values(self, metric: Metric) -> list[float]:
        """Return the metric of each run."""
        return _values(self.runs, metric)


def error_table(runs: Mapping[str, Sequence[Run]], metric: Metric) -> str:
    """Return a row per model, from the metrics of its runs.

    Example:
        >>> from spatial_transformers.experiments.task import Classification
        >>> seeds = [{"test_error": e, "parameters": 9} for e in (4.0, 5.0)]
        >>> print(error_table({"cnn": seeds}, Classification(10).metrics[0]))
        | model | parameters | seeds | test error (%) | spread (%) |
        | --- | ---: | ---: | ---: | ---: |
        | cnn | 9 | 2 | 4.50 | 0.71 |

    """
    columns = "parameters", "seeds", f"test {metric.label}", metric.with_unit("spread")
    rows = _head("model", *columns)
    for model, metrics in runs.items():
        values = _values(metrics, metric)
        counts = f"{metrics[0]['parameters']:,}", len(values)
        rows.append(_row(model, *counts, f"{mean(values):.2f}", _spread(values)))
    return "\n".join(rows)


def overview(results: Sequence[Result], metric: Metric) -> str:
    """Return a row per network and a column per data set: our mean, and the paper's number.

    Example:
        >>> from spatial_transformers.experiments.recipe import Recipe
        >>> from spatial_transformers.experiments.task import Classification
        >>> recipe = Recipe(experiment="distorted-mnist")
        >>> runs = [{"test_error": e, "parameters": 9} for e in (0.5, 0.6)]
        >>> cnn, stn = Cell("R", "cnn", recipe, 1.2), Cell("R", "st-cnn", recipe, 0.7)
        >>> print(overview([Result(cnn, []), Result(stn, runs)], Classification(10).metrics[0]))
        | ours (the paper's), % | R |
        | --- | ---: |
        | cnn | – (1.2) |
        | st-cnn | 0.55 (0.7) |

    """
    rows: dict[str, dict[str, str]] = {}
    for cell, runs in results:
        ours = f"{mean(_values(runs, metric)):.2f}" if runs else "–"
        paper = "" if cell.paper is None else f" ({cell.paper})"
        rows.setdefault(cell.row, {})[cell.column] = ours + paper
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = _head(f"ours (the paper's), {metric.unit or metric.name}", *columns)
    lines += [
        _row(row, *(found.get(column, "") for column in columns)) for row, found in rows.items()
    ]
    return "\n".join(lines)


def details(results: Sequence[Result], metric: Metric) -> str:
    """Return a row per cell: the paper's number, and the metrics of our runs if there are any.

    A network with a spatial transformer is also compared with our network without one (`baseline`).
    Where the baseline is worse than the paper's, the comparison proves nothing, and the baseline's
    row says so.

    Example:
        >>> from spatial_transformers.experiments.recipe import Recipe
        >>> from spatial_transformers.experiments.task import Classification
        >>> recipe = Recipe(experiment="distorted-mnist")
        >>> cnn = Cell("R", "cnn", recipe, 1.2)
        >>> stn = Cell("R", "st-cnn/affine", recipe, 0.7, baseline="cnn")
        >>> runs = [{"test_error": e, "parameters": 9} for e in (0.5, 0.6)]
        >>> results = [Result(cnn, runs[:1]), Result(stn, runs)]
        >>> print(details(results, Classification(10).metrics[0]))
        | cell | paper (%) | ours (%) | difference | baseline | spread | seeds | parameters |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | R/cnn | 1.2 | 0.50 | -0.70 |  | – | 1 | 9 |
        | R/st-cnn/affine | 0.7 | 0.55 | -0.15 | +0.05 | 0.07 | 2 | 9 |

    """
    compared = metric.with_unit("paper"), metric.with_unit("ours"), "difference", "baseline"
    rows = _head("cell", *compared, "spread", "seeds", "parameters")
    baselines = {f"{cell.column}/{cell.baseline}" for cell, _ in results}
    means = {result.cell.name: mean(result.values(metric)) for result in results if result.runs}
    for cell, runs in results:
        ours = difference = parameters = "–"
        baseline = "" if cell.baseline is None else "–"
        paper = "–" if cell.paper is None else cell.paper
        if runs:
            value = means[cell.name]
            ours, parameters = f"{value:.2f}", f"{runs[0]['parameters']:,}"
            if cell.paper is not None:
                void = cell.name in baselines and _worse(value, cell.paper, metric)
                difference = f"{value - cell.paper:+.2f}{' (void)' if void else ''}"
            if cell.baseline is not None and f"{cell.column}/{cell.baseline}" in means:
                baseline = f"{value - means[f'{cell.column}/{cell.baseline}']:+.2f}"
        spread = _spread(_values(runs, metric))
        rows.append(
            _row(cell.name, paper, ours, difference, baseline, spread, len(runs), parameters)
        )
    return "\n".join(rows)


def summary(tables: Iterable[tuple[Sequence[Result], Metric]]) -> str:
    """Return a row per column of several tables: the paper's number, ours, and without transformer.

    They are those of the column's first network that has a baseline; where none has, the means.

    Example:
        >>> from spatial_transformers.experiments.recipe import Recipe
        >>> from spatial_transformers.experiments.task import Classification
        >>> recipe = Recipe(experiment="distorted-mnist")
        >>> cnn, stn = Cell("R", "cnn", recipe), Cell("R", "st-cnn", recipe, 0.7, baseline="cnn")
        >>> results = [Result(stn, [{"test_error": 0.55}]), Result(cnn, [{"test_error": 0.9}])]
        >>> print(summary([(results, Classification(10).metrics[0])]))
        | experiment | network | number | paper | ours | without |
        | --- | --- | --- | ---: | ---: | ---: |
        | distorted-mnist R | st-cnn | error (%) | 0.7 | 0.55 | 0.90 |

    """
    lines = [
        _row("experiment", "network", "number", "paper", "ours", "without"),
        _row(*3 * ("---",), *3 * ("---:",)),
    ]
    for results, metric in tables:
        for column in dict.fromkeys(cell.column for cell, runs in results if runs):
            found = [r for r in results if r.cell.column == column and r.runs]
            named = {result.cell.row: result for result in found}
            chosen = [r for r in found if r.cell.baseline in named][:1]
            without = [named[r.cell.baseline] for r in chosen if r.cell.baseline]
            network = chosen[0].cell.row if chosen else f"mean of {len(found)}"
            theirs = [r.cell.paper for r in chosen or found if r.cell.paper is not None]
            ours = (_mean_of(group, metric) for group in (chosen or found, without))
            where = f"{found[0].cell.recipe.experiment} {column}"
            paper = f"{round(mean(theirs), 2)}" if theirs else ""
            lines.append(_row(where, network, metric.label, paper, *ours))
    return "\n".join(lines)


def _mean_of(results: Sequence[Result], metric: Metric) -> str:
    return f"{mean(mean(r.values(metric)) for r in results):.2f}" if results else ""


def poses(results: Sequence[Result]) -> str:
    """Return a row per trained transformer: how far apart images of a class lie, before → after it.

    Example:
        >>> from spatial_transformers.experiments.recipe import Recipe
        >>> turned, scaled = {"before": 45.0, "after": 8.8}, {"before": 0.2, "after": 0.11}
        >>> run = {"alignment": {"rotation (deg)": turned, "scale x": scaled}}
        >>> stn = Cell("R", "st-cnn/affine", Recipe(experiment="distorted-mnist"), 0.7)
        >>> print(poses([Result(stn, [run])]))
        | cell | rotation (deg) | scale x |
        | --- | ---: | ---: |
        | R/st-cnn/affine | 45 → 8.8 | 0.2 → 0.11 |

    """
    lines: list[str] = []
    for cell, runs in results:
        found = [metrics["alignment"] for metrics in runs if metrics["alignment"]]
        if not found:
            continue
        parts = list(found[0])
        if not lines:
            lines = _head("cell", *parts)
        means = ([mean(f[part][when] for f in found) for when in _WHEN] for part in parts)
        lines.append(
            _row(
                cell.name,
                *(" → ".join(f"{round(value, 3):.2g}" for value in pair) for pair in means),
            )
        )
    return "\n".join(lines)


def columns(results: Sequence[Result], metric: Metric) -> str:
    """Return a row per column of the paper's table: means over its cells, and the worst cell.

    Example:
        >>> from spatial_transformers.experiments.recipe import Recipe
        >>> from spatial_transformers.experiments.task import Classification
        >>> a, b = (Cell("R", row, Recipe(experiment="x"), 2.0) for row in ("fcn", "cnn"))
        >>> results = [Result(a, [{"test_error": 1.0}]), Result(b, [{"test_error": 1.5}])]
        >>> print(columns(results, Classification(10).metrics[0]))
        | column | cells | paper (%) | ours (%) | worst (%) |
        | --- | ---: | ---: | ---: | ---: |
        | R | 2 | 2.0 | 1.2 | 1.5 (cnn) |

    """
    lines = _head("column", "cells", *map(metric.with_unit, ("paper", "ours", "worst")))
    found: dict[str, list[tuple[float, Cell]]] = {}
    for cell, runs in results:
        if runs:
            found.setdefault(cell.column, []).append((mean(_values(runs, metric)), cell))
    for column, cells in found.items():
        values = [value for value, _ in cells]
        worst = (max if metric.less_is_better else min)(cells, key=lambda pair: pair[0])
        theirs = [cell.paper for _, cell in cells if cell.paper is not None]
        paper = f"{mean(theirs):.1f}" if theirs else "–"
        ours = f"{mean(values):.1f}", f"{worst[0]:.1f} ({worst[1].row})"
        lines.append(_row(column, len(cells), paper, *ours))
    return "\n".join(lines)


def independent(results: Sequence[Result], metric: Metric) -> str:
    """Return a row per cell: our metric, and on test inputs that were made without this library.

    Example:
        >>> from spatial_transformers.experiments.recipe import Recipe
        >>> from spatial_transformers.experiments.task import Classification
        >>> run = {"test_error": 0.55, "independent": {"SciPy": 0.57}}
        >>> results = [Result(Cell("R", "cnn", Recipe(experiment="distorted-mnist")), [run])]
        >>> print(independent(results, Classification(10).metrics[0]))
        | cell | ours (%) | SciPy (%) |
        | --- | ---: | ---: |
        | R/cnn | 0.55 | 0.57 |

    """
    scored = [r for r in results if any(run["independent"] for run in r.runs)]
    names = list(dict.fromkeys(n for _, runs in scored for run in runs for n in run["independent"]))
    lines = _head("cell", *map(metric.with_unit, ("ours", *names)))
    for cell, runs in scored:
        found = [[run["independent"][n] for run in runs if n in run["independent"]] for n in names]
        own = _values([run for run in runs if run["independent"]], metric)
        lines.append(_row(cell.name, *(f"{mean(v):.2f}" if v else "" for v in (own, *found))))
    return "\n".join(lines)


def parts(results: Sequence[Result]) -> str:
    """Return a row per transformer of every run: how its pose goes with that of each part.

    The two numbers of a part are the correlation of the poses, and the intersection over union of
    what the transformer reads with where the part lies.

    Example:
        >>> from spatial_transformers.experiments.recipe import Recipe
        >>> run = {
        ...     "recipe": {"seed": 0},
        ...     "correlations": {"transformer 1": {"part 1": 0.91, "part 2": -0.02}},
        ...     "overlaps": {"transformer 1": {"part 1": 0.6, "part 2": 0.1}},
        ... }
        >>> print(parts([Result(Cell("A", "st-cnn", Recipe(experiment="two-parts")), [run])]))
        | cell | seed | transformer | part 1 | part 2 |
        | --- | ---: | ---: | ---: | ---: |
        | A/st-cnn | 0 | 1 | 0.91, 0.60 | -0.02, 0.10 |

    """
    lines: list[str] = []
    for cell, runs in results:
        for metrics in runs:
            for name, followed in metrics.get("correlations", {}).items():
                if not lines:
                    lines = _head("cell", "seed", "transformer", *followed)
                frames = metrics["overlaps"][name]
                both = (f"{value:.2f}, {frames[part]:.2f}" for part, value in followed.items())
                number = name.removeprefix("transformer ")
                lines.append(_row(cell.name, metrics["recipe"]["seed"], number, *both))
    return "\n".join(lines)


def places(results: Sequence[Result]) -> str:
    """Return a row per transformer of every run: mean and spread of where it looks.

    Example:
        >>> from spatial_transformers.experiments.recipe import Recipe
        >>> look = {"mean": -20.0, "std": 4.0}
        >>> run = {"recipe": {"seed": 0}, "theta": {"translation x (%), transformer 1": look}}
        >>> print(places([Result(Cell("A", "st-cnn", Recipe(experiment="cub")), [run])]))
        | cell | seed | transformer | translation x (%) |
        | --- | ---: | ---: | ---: |
        | A/st-cnn | 0 | 1 | -20 ± 4 |

    """
    lines: list[str] = []
    for cell, runs in results:
        for metrics in runs:
            looks: dict[str, dict[str, str]] = {}
            for name, found in metrics["theta"].items():
                quantity, _, number = name.partition(", transformer ")
                if number:
                    digits = 0 if "%" in name or "deg" in name else 2
                    both = f"{found['mean']:.{digits}f} ± {found['std']:.{digits}f}"
                    looks.setdefault(number, {})[quantity] = both
            for number, look in looks.items():
                lines = lines or _head("cell", "seed", "transformer", *look)
                seed = metrics["recipe"]["seed"]
                lines.append(_row(cell.name, seed, number, *look.values()))
    return "\n".join(lines)


def _head(first: str, *columns: str) -> list[str]:
    """Return the two lines that open a table of numbers."""
    return [_row(first, *columns), _row("---", *("---:" for _ in columns))]


def _row(*columns: object) -> str:
    return f"| {' | '.join(map(str, columns))} |"


def _values(runs: Sequence[Run], metric: Metric) -> list[float]:
    return [metrics[f"test_{metric.key}"] for metrics in runs]


def _worse(ours: float, paper: float, metric: Metric) -> bool:
    """Return whether ours, rounded as the paper's numbers are, is worse."""
    ours = round(ours, 1)
    return ours > paper if metric.less_is_better else ours < paper


def _spread(values: Sequence[float]) -> str:
    return f"{stdev(values):.2f}" if len(values) > 1 else "–"
