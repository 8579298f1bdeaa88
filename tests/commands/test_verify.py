"""`stn verify`: green here, red where a backend is wrong, and plain about what is not verified."""

from typing import get_args

import pytest

from spatial_transformers.commands import main
from spatial_transformers.sampler import verify
from spatial_transformers.sampler.backends import BACKENDS
from spatial_transformers.sampler.backends.triton import backend as triton

NAMED = {b.name: b for b in BACKENDS}


@pytest.fixture(autouse=True)
def _few_specs(monkeypatch):
    """Verify a few options of every kind: all of them take minutes."""
    specs = verify._specs
    monkeypatch.setattr(verify, "_specs", lambda device: specs(device)[::61])


@pytest.fixture
def checked(monkeypatch):
    """Claim that there is a GPU, and return the cases that are checked, all of which agree."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(triton, "_INSTALLED", True)
    monkeypatch.setattr(verify, "expect", lambda case: case)
    seen = []

    def check(backend, case, expected):
        assert expected is case
        seen.append((backend.name, case))
        return []

    monkeypatch.setattr(verify, "check", check)
    return seen


def _printed(capsys):
    return capsys.readouterr().out.splitlines()


def test_every_backend_agrees(capsys):
    assert main(["verify", "--device", "cpu"]) == 0
    lines = _printed(capsys)
    assert [line.partition(":")[0] for line in lines if line[0] != " "] == list(NAMED)
    assert "triton: not verified on cpu: it runs on cuda only" in lines
    assert "reference: what the others are compared with on cpu" in lines
    number = len(list(verify.cases(NAMED["aten"])))
    assert f"aten: {number} of {number} cases agree on cpu" in lines
    without = "it has no prefilter with renormalise, which divides by small differences"
    assert lines[1] == f"  not verified: {without}"


def test_a_wrong_backend_is_reported(monkeypatch, capsys):
    right = type(NAMED["aten"]).run
    monkeypatch.setattr(type(NAMED["aten"]), "run", lambda *args: 1.1 * right(*args))
    assert main(["verify", "--backend", "aten", "--device", "cpu"]) == 1
    first, _, *faults = _printed(capsys)
    number = len(list(verify.cases(NAMED["aten"])))
    assert len(faults) > number / 2  # zeros, of points outside, agree
    assert first == f"aten: {number - len(faults)} of {number} cases agree on cpu"
    assert all("values: off by" in fault for fault in faults)


def test_cuda_is_where_all_is_verified(checked, capsys):
    assert main(["verify", "--device", "cuda"]) == 0
    assert {case.spec.device for _, case in checked} == {"cuda"}
    assert {name for name, _ in checked} == {"triton", "aten"}
    lines = _printed(capsys)
    number = len(list(verify.cases(NAMED["triton"], "cuda")))
    assert number > 0
    assert f"triton: {number} of {number} cases agree on cuda" in lines
    assert "cpu: not verified on cuda: it runs on cpu only" in lines


def test_all_devices_are_verified_by_default(checked, capsys):
    assert main(["verify"]) == 0
    assert {case.spec.device for _, case in checked} == {"cpu", "cuda"}
    assert "triton: not verified on cpu: it runs on cuda only" in _printed(capsys)


@pytest.mark.usefixtures("checked")
def test_a_missing_library_is_named(monkeypatch, capsys):
    monkeypatch.setattr(triton, "_INSTALLED", False)
    assert main(["verify", "--device", "cuda"]) == 0
    assert "triton: not verified on cuda: Triton is not installed" in _printed(capsys)
    assert main(["verify", "--device", "cuda", "--backend", "triton"]) == 1


def test_the_reference_runs_once_per_case(checked, monkeypatch):
    ran = []
    monkeypatch.setattr(verify, "expect", lambda case: ran.append(str(case)) or case)
    assert main(["verify", "--device", "cpu"]) == 0
    assert len(ran) == len(set(ran)) < len(checked)
    assert set(ran) == {str(case) for _, case in checked}


def test_no_cuda(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["verify", "--device", "cuda"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stn verify: device cuda was asked for; PyTorch ")
    assert line.endswith(
        "finds no GPU; give --device cpu, or run it where torch.cuda.is_available()"
    )


@pytest.mark.parametrize("backend", [NAMED["cpu"], NAMED["aten"]], ids=["cpu", "aten"])
def test_few_cases_have_every_kind_of_every_option(backend, monkeypatch):
    monkeypatch.undo()
    every, few = ([*verify.cases(backend, quick=quick)] for quick in (False, True))
    assert len(few) < len(every) / 15
    options = ("mode", "padding_mode", "align_corners", "max_shrink")
    for kind in ("operation", "ndim", "dtype", *options):
        assert {getattr(c.spec, kind) for c in few} == {getattr(c.spec, kind) for c in every}, kind
    assert {c.situation for c in few} == set(get_args(verify.Situation))


def test_quick_checks_the_few_cases(checked):
    assert main(["verify", "--quick", "--device", "cpu"]) == 0
    few = verify.cases(NAMED["aten"], quick=True)
    assert [str(case) for name, case in checked if name == "aten"] == [*map(str, few)] != []


def test_unknown_backend(capsys):
    assert main(["verify", "--backend", "metal"]) == 2
    assert "known: cpu, triton, aten, reference" in capsys.readouterr().err
