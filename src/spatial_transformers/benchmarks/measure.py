"""One case in one pass: verify that all contenders agree, then time them in turn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeAlias

import torch

from .calls import Call, Results, calling
from .cases import BOTH, AbsentError, Case, Contender, Inputs
from .equality import require_equal, tolerances
from .memory import watched
from .timing import alternate, clock, copies

Row: TypeAlias = dict[str, Any]


@dataclass
class Found:
    """What is known of a case in one pass: a row per rival, and why others are absent."""

    rows: list[Row] = field(default_factory=list)
    absent: list[Row] = field(default_factory=list)


@dataclass
class _Entry:
    """A contender that takes part."""

    contender: Contender
    call: Call
    results: Results  # gradients to a contender's own parameters are converted to ones to θ
    peak: float
    seconds: list[float]
    difference: float | None = None


def measure(
    case: Case, which: str, *, device: torch.device, repeats: int, compiles: bool = True
) -> Found:
    """Return a row per rival of one case, in the pass `which`.

    Raises:
        UnequalError: if any contender's values or gradients differ from those they must equal.

    """
    inputs, found = case.inputs(device), Found()
    entries: dict[str, _Entry] = {}
    for contender in (case.ours, *case.rivals):
        if which not in contender.passes or (contender.compiles and not compiles):
            continue
        try:
            entry = _enter(contender, which, inputs, device)
        except AbsentError as error:
            fact = {"case": case.name, "pass": which, "rival": contender.name, "reason": str(error)}
            found.absent.append(fact)
            if contender is case.ours:
                return found
        else:
            _verify(f"{case.name}, {which}", case.margin, entry, entries, inputs)
            entries[contender.name] = entry
    ours, *rivals = entries.values()
    floor = _time(entries, which, inputs, repeats, device)
    facts = _facts(case, which, inputs, ours) | {"floor_ms": _ms(floor)}
    found.rows += [facts | _comparison(ours, rival) for rival in rivals]
    return found


def _enter(contender: Contender, which: str, inputs: Inputs, device: torch.device) -> _Entry:
    """Run for the first time, which may compile, and once more to see memory."""
    run, (*others, theta) = contender.build(device), inputs
    own = theta.detach().requires_grad_(which == BOTH)
    converted = contender.convert(own) if contender.convert else own
    leaves = tuple(x.detach().requires_grad_(which == BOTH) for x in (*others, converted))
    call = calling(run, leaves, which, deterministic=contender.deterministic)
    if not contender.once:
        call()
    seconds = [0.0]

    def once() -> Results:
        results: list[Results] = []
        seconds[0] = clock(lambda: results.append(call()), 1, device)
        return results[0]

    results, peak = watched(once, device)
    if which == BOTH and contender.convert:
        results = *results[:-1], torch.autograd.grad(converted, own, results[-1])[0]
    return _Entry(contender, call, results, peak, seconds)


def _verify(
    name: str, margin: int, entry: _Entry, entries: Mapping[str, _Entry], inputs: Inputs
) -> None:
    """Compare a contender with the one that it must equal, which came before it."""
    contender = entry.contender
    if not entries or contender.equal_to is None:
        return
    side = max(n for x in (inputs[0], entry.results[0]) for n in x.shape[2:])
    values, gradients = tolerances(side)
    limits = [max(values, contender.tolerance)]
    limits += [max(gradients, contender.gradient_tolerance)] * (len(entry.results) - 1)
    expected = entries[contender.equal_to].results
    entry.difference = require_equal(
        f"{name}: {contender.name} and {contender.equal_to}",
        _inner(expected, margin),
        _inner(entry.results, margin),
        limits,
    )


def _inner(results: Results, margin: int) -> Results:
    """Return results without the border of the gradient to the image."""
    if not margin or len(results) < 3:
        return results
    values, image, theta = results
    return values, image[..., margin:-margin, margin:-margin], theta


def _time(
    entries: Mapping[str, _Entry], which: str, inputs: Inputs, repeats: int, device: torch.device
) -> float:
    """Time every contender that is to be repeated, and return the seconds of the floor."""
    given = sum(x.nbytes for x in inputs)
    result = next(iter(entries.values())).results[0].nbytes
    for entry in entries.values():
        entry.results = ()  # memory that the timed calls should find free
    calls = {name: e.call for name, e in entries.items() if not e.contender.once}
    floor = copies(given, result, which, device)
    seconds = alternate({"": floor, **calls}, repeats, device)
    for name in calls:
        entries[name].seconds = seconds[name]
    return min(seconds[""])


def _facts(case: Case, which: str, inputs: Inputs, ours: _Entry) -> Row:
    return {
        "case": case.name,
        "transformation": case.transformation,
        "shape": list(inputs[0].shape),
        "layout": case.layout,
        "dtype": str(inputs[0].dtype).removeprefix("torch."),
        "pass": which,
        "backend": case.backend(inputs[0]) if case.backend else None,
        "ours_ms": _ms(min(ours.seconds)),
        "ours_median_ms": _ms(median(ours.seconds)),
        "ours_peak_mib": _short(ours.peak),
    }


def _comparison(ours: _Entry, rival: _Entry) -> Row:
    """Return the rest of a row: a ratio above 1 says that ours is faster."""
    pair = rival.seconds, ours.seconds
    return {
        "rival": rival.contender.name,
        "rival_ms": _ms(min(rival.seconds)),
        "rival_median_ms": _ms(median(rival.seconds)),
        "rival_peak_mib": _short(rival.peak) if rival.contender.torch_memory else None,
        "rival_runs": len(rival.seconds),
        "ratio": _short(min(pair[0]) / min(pair[1])),
        "median_ratio": _short(median(pair[0]) / median(pair[1])),
        "equal_to": rival.contender.equal_to,
        "difference": None if rival.difference is None else _short(rival.difference),
        "verified": None if rival.difference is None else True,
    }


def _ms(seconds: float) -> float:
    return _short(1e3 * seconds)


def _short(number: float) -> float:
    return float(f"{number:.4g}")
