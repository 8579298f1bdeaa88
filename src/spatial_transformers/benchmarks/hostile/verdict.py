"""What is a failure, and the tables of failures and errors."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from .setups import SETUPS, VARIANTS

FEW, FAR, WORSE = 0.2, 4.0, 1.0
_TRAINS = 50.0  # percent of errors; a network without a transformer that errs more has not trained

Row = Mapping[str, Any]


def failure(row: Row, plain: Row) -> str:
    """Return why a run failed, compared with the network without a transformer; empty if not."""
    if not row["finite"]:
        return "loss"
    if row["inside"] < FEW:
        return "outside"
    if any(not 1 / FAR <= scale <= FAR for scale in row["scales"]):
        return "scale"
    return "error" if row["error"] > plain["error"] + WORSE else ""


def table(found: Mapping[str, Any]) -> str:
    """Return a row per set-up: errors, and failures of runs, of every variant."""
    lines = [
        "| set-up | without | tutorial | ours | its failures | our failures | ours is better |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for setup in SETUPS:
        runs = _of(found["rows"], setup.name)
        if runs:
            better = sum(ours["error"] < plain["error"] for plain, _, ours in runs)
            errors = [f"{mean(run[i]['error'] for run in runs):.1f}" for i in range(len(VARIANTS))]
            lost = [_failures(runs, i) for i in (1, 2)]
            cells = [f"`{setup.name}`", *errors, *lost, f"{better} of {len(runs)}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(found: Mapping[str, Any]) -> str:
    """Return the sentence on all runs."""
    runs = [run for setup in SETUPS for run in _of(found["rows"], setup.name)]
    lost = [sum(bool(failure(run[i], run[0])) for run in runs) for i in (1, 2)]
    better = sum(run[2]["error"] < run[0]["error"] for run in runs)
    setups = len({run[0]["case"] for run in runs})
    return (
        f"Of {len(runs)} runs in {setups} set-ups, the tutorial's module fails in {lost[0]} and "
        f"ours in {lost[1]}; ours errs less than the network without a transformer in {better}."
    )


def _of(rows: Sequence[Row], setup: str) -> list[tuple[Row, Row, Row]]:
    """Return the runs of a set-up that count, in the order of `VARIANTS`: a triple per seed."""
    known = {row["pass"]: row for row in rows if row["case"] == setup}
    seeds = sorted({row["seed"] for row in known.values()})
    runs = [tuple(known.get(f"{variant}/{seed}") for variant in VARIANTS) for seed in seeds]
    return [
        run  # type: ignore[misc]
        for run in runs
        if all(run) and run[0]["finite"] and run[0]["error"] < _TRAINS  # type: ignore[index]
    ]


def _failures(runs: Sequence[tuple[Row, Row, Row]], variant: int) -> str:
    reasons = [failure(run[variant], run[0]) for run in runs]
    some = sorted({reason for reason in reasons if reason})
    count = sum(map(bool, reasons))
    return f"{count} of {len(runs)}" + (f" ({', '.join(some)})" if some else "")
