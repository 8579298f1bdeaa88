"""Unequal contenders are refused; ratios are arithmetic. Oracle: contenders made to differ."""

import pytest
import torch

from benchmarks.toys import Clock, double, toy
from spatial_transformers.benchmarks.cases import BOTH, FORWARD, AbsentError, Contender
from spatial_transformers.benchmarks.equality import UnequalError, require_equal, tolerances
from spatial_transformers.benchmarks.measure import measure

CPU = torch.device("cpu")


def found(case, which=FORWARD, repeats=3):
    return measure(case, which, device=CPU, repeats=repeats)


def row(*args, **options):
    (only,) = found(*args, **options).rows
    return only


@pytest.mark.traced
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, t: double(x, t) + 3e-3 * (x == 7), "values differ by 0.0001 of their range"),
        (lambda x, t: double(x, t) * torch.nan, "values differ by nan"),
        (lambda x, t: double(x, t)[None], r"values of shape \(1, 1, 1, 4, 4\), expected \(1, 1, 4"),
    ],
)
@pytest.mark.parametrize("which", [FORWARD, BOTH])
def test_other_values_are_refused(wrong, message, which):
    with pytest.raises(
        UnequalError, match=f"^toy, {which.replace('+', '.')}: other and ours: {message}"
    ):
        found(toy(wrong), which)


@pytest.mark.traced
@pytest.mark.parametrize(
    ("wrong", "number"),
    [
        (lambda x, t: double(x, t.detach()) + double(x.detach(), 1.001 * (t - t.detach())), 2),
        (lambda x, t: double(x.detach(), t) + double(1.001 * (x - x.detach()), t), 1),
        (lambda x, t: double(x.detach(), t), 1),
    ],
)
def test_other_gradients_are_refused(wrong, number):
    assert row(toy(wrong))["verified"]
    with pytest.raises(
        UnequalError, match=f"toy, forward.backward: other and ours: gradients {number}"
    ):
        found(toy(wrong), BOTH)


def test_a_stated_tolerance_lets_pass():
    def rough(image, theta):
        return double(image, theta) + 3e-3 * (image == 7)

    assert row(toy(rough, tolerance=2e-4))["difference"] == pytest.approx(1e-4, rel=0.01)
    with pytest.raises(UnequalError):
        found(toy(rough, gradient_tolerance=2e-4))


def test_gradients_have_their_own_tolerance():
    def steeper(by):
        return lambda x, t: double(x, t.detach()) + double(x.detach(), by * (t - t.detach()))

    assert row(toy(steeper(1.00005)), BOTH)["difference"] == pytest.approx(5e-5, rel=0.1)
    assert row(toy(steeper(1.001), gradient_tolerance=2e-3), BOTH)["verified"]
    with pytest.raises(UnequalError):
        found(toy(steeper(1.001), tolerance=2e-3), BOTH)


def test_tolerances_grow_with_the_side():
    assert tolerances(4096) == pytest.approx((1e-5 + 1 / 1024, 1e-4 + 1 / 64))


def test_nothing_differs_from_all_zeros_but_zeros():
    zeros = [torch.zeros(3)]
    assert require_equal("", zeros, zeros, [0.0]) == 0
    with pytest.raises((UnequalError, ZeroDivisionError)):
        require_equal("", zeros, [torch.tensor([0.0, 1e-30, 0.0])], [0.1])


def test_another_task_is_timed_but_not_verified():
    other = row(toy(lambda image, theta: -image, equal_to=None))
    assert other["verified"] is other["difference"] is None
    assert other["ratio"] > 0


def test_own_parameters_get_the_gradient_back_to_ours():
    def root(image, power):
        return image * power.sum(1).sqrt().sum()

    def convert(theta):
        return theta.sum(1, keepdim=True).square().expand(-1, 3) / 3

    assert row(toy(root, convert=convert), BOTH)["verified"]
    with pytest.raises(UnequalError, match=r"gradients 2|values"):
        found(toy(root, convert=lambda theta: 1.01 * convert(theta)), BOTH)


@pytest.mark.parametrize("which", [FORWARD, BOTH])
def test_ratio_is_of_minima_and_of_medians(monkeypatch, which):
    clock = Clock(monkeypatch)
    # calls: the first, the one that is watched, one that counts, then the five that are timed
    ours = clock.taking(9, 9, 9, 0.5, 0.2, 0.3, 0.4, 0.9)
    other = clock.taking(9, 9, 9, 0.8, 0.9, 0.6, 0.7, 1.2)
    facts = row(toy(other, ours=ours), which, repeats=5)
    assert [facts["ours_ms"], facts["ours_median_ms"]] == [200, 400]
    assert [facts["rival_ms"], facts["rival_median_ms"]] == [600, 800]
    assert [facts["ratio"], facts["median_ratio"]] == [3, 2]
    assert facts["rival_runs"] == 5


def test_a_slow_rival_runs_once(monkeypatch):
    clock, runs = Clock(monkeypatch), []
    ours, slow = clock.taking(0.5), clock.taking(4)
    facts = row(toy(lambda x, t: runs.append(1) or slow(x, t), ours=ours, once=True))
    assert len(runs) == facts["rival_runs"] == 1
    assert facts["rival_ms"] == facts["rival_median_ms"] == 4000
    assert facts["ratio"] == 8


def test_memory_is_what_a_call_holds_beyond_its_results():
    facts = row(toy(lambda image, theta: double(image.repeat(1, 2048, 1, 1)[:, :1], theta)))
    assert facts["ours_peak_mib"] < 32 / 2**20  # a result has 64 bytes
    assert facts["rival_peak_mib"] == pytest.approx(16 * 4 * 2048 / 2**20, rel=0.01)
    assert row(toy(torch_memory=False))["rival_peak_mib"] is None


def test_a_rival_that_is_absent_says_why():
    def build(device):
        raise AbsentError("not installed")

    case = toy(None)
    object.__setattr__(case, "rivals", (Contender("gone", build),))
    facts = found(case)
    assert facts.rows == []
    assert facts.absent == [
        {"case": "toy", "pass": "forward", "rival": "gone", "reason": "not installed"}
    ]


def test_without_ours_nothing_is_compared():
    def refuses(image, theta):
        assert torch.are_deterministic_algorithms_enabled()
        raise RuntimeError("toys have no deterministic implementation. Use another")

    case = toy()
    object.__setattr__(case, "ours", Contender("ours", lambda device: refuses, deterministic=True))
    facts = found(case)
    assert [fact["rival"] for fact in facts.absent] == ["ours"]
    assert facts.absent[0]["reason"] == "toys have no deterministic implementation"
    assert facts.rows == []
    assert not torch.are_deterministic_algorithms_enabled()


def test_compiling_takes_part_only_where_there_is_time():
    case = toy(compiles=True)
    assert len(found(case).rows) == 1
    assert measure(case, FORWARD, device=CPU, repeats=1, compiles=False).rows == []


def test_a_pass_that_a_rival_does_not_know_is_left_out():
    case = toy(passes=(FORWARD,))
    assert len(found(case).rows) == 1
    assert found(case, BOTH).rows == []
