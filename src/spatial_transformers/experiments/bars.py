"""Test errors as bars, the paper's as a mark on each: a panel per distortion, a bar per network."""

from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure

from .._files import whole
from .networks import has_transformer, plain
from .table import Cells

_OURS, _PAPER, _PLAIN = "#2e6f95", "#d1495b", "#9aa5ab"


def draw(cells: Cells, path: Path) -> None:
    """Write a PNG of the cells (`R/st-cnn/affine`): the paper's error and our runs' metrics."""
    panels: dict[str, list[tuple[str, float, list[float]]]] = {}
    for name, (paper, runs) in cells.items():
        column, _, row = name.partition("/")
        panels.setdefault(column, []).append((row, paper, [m["test_error"] for m in runs]))
    rows = list(dict.fromkeys(row for panel in panels.values() for row, _, _ in panel))
    places = {row: i for i, row in enumerate(sorted(rows, key=_order))}
    figure = Figure(figsize=(2.4 * len(panels) + 1.6, 0.34 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (column, bars) in zip(axes, panels.items(), strict=True):
        for row, paper, errors in bars:
            at = places[row]
            if errors:
                colour = _OURS if has_transformer(row) else _PLAIN
                panel.barh(at, mean(errors), color=colour, height=0.7)
                panel.plot(errors, [at] * len(errors), ".", color="black", markersize=3)
            panel.plot([paper, paper], [at - 0.42, at + 0.42], color=_PAPER, linewidth=2)
        panel.set_title(column, fontsize=10)
        panel.set_xlabel("test error (%)", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.set_yticks(list(places.values()), list(places) if panel is axes[0] else [])
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.set_xlim(left=0)
    handles = [
        axes[0].plot([], [], "|", color=_PAPER, markersize=10, label="paper")[0],
        axes[0].barh(0, 0, color=_OURS, label="ours"),
        axes[0].barh(0, 0, color=_PLAIN, label="ours, without transformer"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _order(row: str) -> tuple[bool, bool]:
    """Networks of convolutions come last, and before those with a transformer the plain one."""
    return plain(row).startswith("cnn"), has_transformer(row)
