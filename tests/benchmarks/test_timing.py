"""The stopwatch, on a clock that tests turn; and the floor's bytes, counted by hand."""

import pytest
import torch

from benchmarks.toys import Clock
from spatial_transformers.benchmarks.cases import BOTH, FORWARD
from spatial_transformers.benchmarks.timing import alternate, copies

CPU = torch.device("cpu")


def test_contenders_take_turns(monkeypatch):
    clock, order = Clock(monkeypatch), []

    def call(name, seconds):
        order.append(name)
        clock.now += seconds

    calls = {"a": lambda: call("a", 1.0), "b": lambda: call("b", 2.0)}
    seconds = alternate(calls, 3, CPU)
    assert seconds == {"a": [1.0] * 3, "b": [2.0] * 3}
    assert order == ["a", "b", *["a", "b"] * 3]  # a call of each counts how many one timing needs


@pytest.mark.parametrize("each", [1e-6, 3e-5, 4e-4])
def test_short_calls_are_repeated_within_one_timing(monkeypatch, each):
    clock, calls = Clock(monkeypatch), []

    def call():
        calls.append(1)
        clock.now += each

    (seconds,) = (alternate({"short": call}, 1, CPU)["short"],)
    assert seconds == [pytest.approx(each)]
    calls.clear()
    alternate({"short": call}, 100, CPU)
    assert 1e-3 <= len(calls) / 100 * each < 4e-3


def test_the_floor_copies_what_must_be_moved():
    def moved(which):
        return [block.nbytes for block in copies(600, 200, which, CPU)()]

    assert moved(FORWARD) == [400]  # reads 600, writes 200
    assert moved(BOTH) == [400, 700]  # reads 600 and 200, writes 600
