"""Test results as bars, the paper's as a mark on each: a panel per column, a bar per network."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure

from .._files import whole
from .base import Cell
from .table import Result
from .task import Metric

_OURS, _PAPER, _PLAIN = "#2e6f95", "#d1495b", "#9aa5ab"


def draw(results: Sequence[Result], metric: Metric, path: Path) -> None:
    """Write a PNG of the paper's numbers and of our runs' metrics."""
    panels: dict[str, list[Result]] = {}
    for result in results:
        panels.setdefault(result.cell.column, []).append(result)
    compared = any(result.cell.baseline for result in results)
    rows = {result.cell.row: result.cell for panel in panels.values() for result in panel}
    places = {row: i for i, row in enumerate(sorted(rows, key=lambda row: _order(rows[row])))}
    figure = Figure(figsize=(2.4 * len(panels) + 1.6, 0.34 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (column, bars) in zip(axes, panels.items(), strict=True):
        for result in bars:
            at, values, paper = places[result.cell.row], result.values(metric), result.cell.paper
            if values:
                colour = _PLAIN if compared and result.cell.baseline is None else _OURS
                panel.barh(at, mean(values), color=colour, height=0.7)
                panel.plot(values, [at] * len(values), ".", color="black", markersize=3)
            if paper is not None:
                panel.plot([paper, paper], [at - 0.42, at + 0.42], color=_PAPER, linewidth=2)
        panel.set_title(column, fontsize=10)
        panel.set_xlabel(f"test {metric.label}", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.set_yticks(list(places.values()), list(places) if panel is axes[0] else [])
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.set_xlim(left=0)
    handles = [
        axes[0].plot([], [], "|", color=_PAPER, markersize=10, label="paper")[0],
        axes[0].barh(0, 0, color=_OURS, label="ours"),
    ]
    if compared:
        handles.append(axes[0].barh(0, 0, color=_PLAIN, label="ours, without transformer"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _order(cell: Cell) -> tuple[str, bool]:
    """Put a network beside the plain one that it is compared with, the plain one first."""
    return cell.baseline or cell.row, cell.baseline is not None
