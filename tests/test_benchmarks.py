"""The benchmarks refuse to compare what is not equal; oracle: contenders made to differ."""

import pytest
import torch
from benchmarks.__main__ import table
from benchmarks.measure import UnequalError, compare
from benchmarks.registry import Case, Rival


def _case(rival, tolerance=1e-3, **options):
    return Case(
        "doubling",
        lambda: (torch.arange(2.0**18),),
        lambda x: 2 * x,
        {"other": Rival(rival, **options)},
        tolerance,
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: 2 * x + 2e-3 * (x == 7), "other differs from ours by 0.002, more than 0.001"),
        (lambda x: 2 * x * torch.nan, "other differs from ours by nan"),
        (lambda x: 2 * x[None], r"other gave shape \(1, 262144\), ours is \(262144,\)"),
    ],
)
def test_a_rival_that_differs_is_not_compared(wrong, message):
    with pytest.raises(UnequalError, match=f"^doubling: {message}"):
        compare(_case(wrong), 1)


def test_memory_is_what_a_call_holds_beyond_its_output():
    facts = compare(_case(lambda x: (x.repeat(8)[: len(x)]) + x), 3)
    assert facts["ours"]["peak beyond the output (MiB)"] == pytest.approx(0, abs=1e-3)
    theirs = facts["rivals"]["other"]["peak beyond the output (MiB)"]
    assert theirs == pytest.approx(8, abs=1e-3)  # 2**18 numbers, 8 times
    assert facts["rivals"]["other"]["runs"] == 3
    assert "other" in table(facts)


def test_a_rival_that_is_absent_says_why():
    facts = compare(_case(None, absent="not installed"), 1)
    assert facts["rivals"] == {}
    assert "other          absent: not installed" in table(facts)


def test_a_slow_rival_runs_once():
    runs = []
    facts = compare(_case(lambda x: runs.append(1) or x + x, once=True), 5)
    assert len(runs) == facts["rivals"]["other"]["runs"] == 1
    assert facts["ours"]["runs"] == 5
