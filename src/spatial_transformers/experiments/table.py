"""Tables of test errors: mean and spread over seeds, in Markdown."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from .networks import plain

#: The paper's error and the metrics of our runs, by cell (`R/st-cnn/affine`).
Cells = Mapping[str, tuple[float, Sequence[Mapping[str, Any]]]]
_WHEN = "before", "after"


def error_table(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a row per model, from the metrics of its runs.

    Example:
        >>> seeds = [{"test_error": e, "parameters": 9} for e in (4.0, 5.0)]
        >>> print(error_table({"cnn": seeds}))
        | model | parameters | seeds | test error (%) | spread (%) |
        | --- | ---: | ---: | ---: | ---: |
        | cnn | 9 | 2 | 4.50 | 0.71 |

    """
    rows = _head("model", "parameters", "seeds", "test error (%)", "spread (%)")
    for model, metrics in runs.items():
        errors = _errors(metrics)
        columns = model, f"{metrics[0]['parameters']:,}", len(errors), f"{mean(errors):.2f}"
        rows.append(_row(*columns, _spread(errors)))
    return "\n".join(rows)


def overview(cells: Cells) -> str:
    """Return a row per network and a column per distortion: our mean error, and the paper's.

    Example:
        >>> runs = [{"test_error": e, "parameters": 9} for e in (0.5, 0.6)]
        >>> print(overview({"R/cnn": (1.2, []), "R/st-cnn": (0.7, runs), "E/st-cnn": (1.1, runs)}))
        | ours (the paper's), % | R | E |
        | --- | ---: | ---: |
        | cnn | – (1.2) |  |
        | st-cnn | 0.55 (0.7) | 0.55 (1.1) |

    """
    rows: dict[str, dict[str, str]] = {}
    for name, (paper, runs) in cells.items():
        column, _, row = name.partition("/")
        ours = f"{mean(_errors(runs)):.2f}" if runs else "–"
        rows.setdefault(row, {})[column] = f"{ours} ({paper})"
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = _head("ours (the paper's), %", *columns)
    lines += [
        _row(row, *(found.get(column, "") for column in columns)) for row, found in rows.items()
    ]
    return "\n".join(lines)


def details(cells: Cells) -> str:
    """Return a row per cell: the paper's error, and the metrics of our runs if there are any.

    A network with a spatial transformer is also compared with ours without (`baseline`). Where that
    one is worse than the paper's, the comparison proves nothing, and its row says so.

    Example:
        >>> runs = [{"test_error": e, "parameters": 9} for e in (0.5, 0.6)]
        >>> print(details({"R/cnn": (1.2, runs[:1]), "R/st-cnn/affine": (0.7, runs)}))
        | cell | paper (%) | ours (%) | difference | baseline | spread | seeds | parameters |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | R/cnn | 1.2 | 0.50 | -0.70 |  | – | 1 | 9 |
        | R/st-cnn/affine | 0.7 | 0.55 | -0.15 | +0.05 | 0.07 | 2 | 9 |

    """
    columns = "paper (%)", "ours (%)", "difference", "baseline", "spread", "seeds", "parameters"
    rows = _head("cell", *columns)
    means = {name: mean(_errors(runs)) for name, (_, runs) in cells.items() if runs}
    for name, (paper, runs) in cells.items():
        column, row, *_ = name.split("/")
        without = f"{column}/{plain(row)}"
        ours = difference = parameters = "–"
        baseline = "" if name == without else "–"
        if runs:
            error = means[name]
            void = " (void)" if name == without and round(error, 1) > paper else ""
            ours, difference = f"{error:.2f}", f"{error - paper:+.2f}{void}"
            parameters = f"{runs[0]['parameters']:,}"
            if name != without and without in means:
                baseline = f"{error - means[without]:+.2f}"
        spread = _spread(_errors(runs))
        rows.append(_row(name, paper, ours, difference, baseline, spread, len(runs), parameters))
    return "\n".join(rows)


def poses(cells: Cells) -> str:
    """Return a row per trained transformer: how far apart images of a class lie, before → after it.

    Example:
        >>> turned, scaled = {"before": 45.0, "after": 8.8}, {"before": 0.2, "after": 0.11}
        >>> run = {"alignment": {"rotation (deg)": turned, "scale x": scaled}}
        >>> print(poses({"R/cnn": (1.2, []), "R/st-cnn/affine": (0.7, [run])}))
        | cell | rotation (deg) | scale x |
        | --- | ---: | ---: |
        | R/st-cnn/affine | 45 → 8.8 | 0.2 → 0.11 |

    """
    lines: list[str] = []
    for name, (_, runs) in cells.items():
        found = [metrics["alignment"] for metrics in runs if metrics["alignment"]]
        if not found:
            continue
        parts = list(found[0])
        if not lines:
            lines = _head("cell", *parts)
        means = ([mean(f[part][when] for f in found) for when in _WHEN] for part in parts)
        lines.append(
            _row(name, *(" → ".join(f"{round(value, 3):.2g}" for value in pair) for pair in means))
        )
    return "\n".join(lines)


def _head(first: str, *columns: str) -> list[str]:
    """Return the two lines that open a table of numbers."""
    return [_row(first, *columns), _row("---", *("---:" for _ in columns))]


def _row(*columns: object) -> str:
    return f"| {' | '.join(map(str, columns))} |"


def _errors(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    return [metrics["test_error"] for metrics in runs]


def _spread(errors: Sequence[float]) -> str:
    return f"{stdev(errors):.2f}" if len(errors) > 1 else "–"
