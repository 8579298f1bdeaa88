"""Time and peak memory of calls, and the comparison that comes before both."""

import time
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from .registry import Case, Contender, Inputs


class UnequalError(Exception):
    """A rival's result is not ours, so no ratio means anything."""


def compare(case: Case, repeats: int) -> dict[str, Any]:
    """Verify that all contenders of a case agree, then time them in turn.

    Raises:
        UnequalError: naming the rival and the difference.

    """
    inputs = case.inputs()
    expected, ours = _watched(case.ours, inputs)
    facts: dict[str, Any] = {"case": case.name, "threads": torch.get_num_threads(), "ours": ours}
    present = {name: r for name, r in case.rivals.items() if r.run is not None}
    found = {name: rival.absent for name, rival in case.rivals.items() if rival.run is None}
    facts["absent"], facts["rivals"] = found, {}
    repeated = {"ours": case.ours}
    for name, rival in present.items():
        assert rival.run is not None
        result, facts["rivals"][name] = _watched(rival.run, inputs)
        facts["rivals"][name]["difference"] = _require_equal(case, name, result, expected)
        del result
        if not rival.once:
            repeated[name] = rival.run
    del expected
    for name, seconds in _alternate(repeated, inputs, repeats).items():
        facts_of = ours if name == "ours" else facts["rivals"][name]
        facts_of |= {"seconds": median(seconds), "best": min(seconds), "runs": repeats}
    for rival in facts["rivals"].values():
        rival["ratio"] = rival["seconds"] / ours["seconds"]
        rival["ratio of the best runs"] = rival["best"] / ours["best"]
    return facts


def _require_equal(case: Case, name: str, result: Tensor, expected: Tensor) -> float:
    shapes = tuple(result.shape), tuple(expected.shape)
    if shapes[0] != shapes[1]:
        raise UnequalError(f"{case.name}: {name} gave shape {shapes[0]}, ours is {shapes[1]}")
    difference = (result.detach().double() - expected.detach().double()).abs().max().item()
    if not difference <= case.tolerance:
        raise UnequalError(
            f"{case.name}: {name} differs from ours by {difference:.2g}, more than "
            f"{case.tolerance:.2g}; nothing was compared"
        )
    return difference


def _watched(run: Contender, inputs: Inputs) -> tuple[Tensor, dict[str, Any]]:
    """Run once, and note its time and the most memory that torch held beyond the output."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        start = time.perf_counter()
        result = run(*inputs)
        seconds = time.perf_counter() - start
    events: list[Any] = profiled.profiler.kineto_results.events()  # pyright: ignore
    memory = [event for event in events if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(memory, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    beyond = (peak - result.untyped_storage().nbytes()) / 2**20
    return result, {
        "peak beyond the output (MiB)": beyond,
        "seconds": seconds,
        "best": seconds,
        "runs": 1,
    }


def _alternate(
    contenders: dict[str, Contender], inputs: Inputs, repeats: int
) -> dict[str, list[float]]:
    """Time all in turn, so that a busy machine is busy for all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            run(*inputs)
            seconds[name].append(time.perf_counter() - start)
    return seconds
