"""`stn verify`: green here, and red where a backend is wrong."""

import pytest

from spatial_transformers.commands import main
from spatial_transformers.sampler import verify
from spatial_transformers.sampler.backends import BACKENDS


@pytest.fixture
def few_cases(monkeypatch):
    cases = verify.cases
    monkeypatch.setattr(verify, "cases", lambda backend: list(cases(backend))[::40])


@pytest.mark.usefixtures("few_cases")
def test_every_backend_agrees(capsys):
    assert main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [b.name for b in BACKENDS]


@pytest.mark.usefixtures("few_cases")
def test_a_wrong_backend_is_reported(monkeypatch, capsys):
    aten = next(b for b in BACKENDS if b.name == "aten")
    right = type(aten).run
    monkeypatch.setattr(type(aten), "run", lambda *args: 1.1 * right(*args))
    assert main(["verify", "--backend", "aten"]) == 1
    assert "sample of a 2-D" in capsys.readouterr().out


def test_unknown_backend(capsys):
    assert main(["verify", "--backend", "metal"]) == 2
    assert "known: cpu, triton, aten, reference" in capsys.readouterr().err
