"""The benchmark of hostile training: what counts as a failure, and that runs go on and repeat."""

import json
from dataclasses import replace

import pytest
import torch

from spatial_transformers import InputError
from spatial_transformers.benchmarks.hostile import images
from spatial_transformers.benchmarks.hostile import run as hostile
from spatial_transformers.benchmarks.hostile.loop import train
from spatial_transformers.benchmarks.hostile.networks import Network
from spatial_transformers.benchmarks.hostile.run import bench
from spatial_transformers.benchmarks.hostile.setups import SETUPS, VARIANTS
from spatial_transformers.benchmarks.hostile.verdict import failure, summary, table
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.distorted_mnist.distortions import DISTORTIONS

PLAIN = {"finite": True, "error": 10.0, "inside": 1.0, "scales": [1.0]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"error": 11.0}, ""),
        ({"error": 11.1}, "error"),
        ({"inside": 0.19}, "outside"),
        ({"scales": [1.0, 0.2]}, "scale"),
        ({"scales": [4.1]}, "scale"),
        ({"scales": [float("nan")]}, "scale"),
        ({"finite": False, "inside": 0.0}, "loss"),
    ],
)
def test_failures(change, expected):
    assert failure({**PLAIN, **change}, PLAIN) == expected


def _row(setup, variant, seed, error, **changes):
    fact = {"case": setup, "pass": f"{variant}/{seed}", "variant": variant, "seed": seed}
    return {**PLAIN, **fact, "error": error, **changes}


def test_table_and_summary():
    rows = [
        *(_row("border", v, 0, e) for v, e in zip(VARIANTS, (10, 90, 5), strict=True)),
        *(_row("border", v, 1, e) for v, e in zip(VARIANTS, (12, 6, 14), strict=True)),
        _row("border", "none", 2, 10),  # whose others are missing
        *(_row("deep", v, 0, e) for v, e in zip(VARIANTS, (90, 9, 9), strict=True)),  # not trained
    ]
    found = {"rows": rows}
    line = "| `border` | 11.0 | 48.0 | 9.5 | 1 of 2 (error) | 1 of 2 (error) | 1 of 2 |"
    assert table(found).splitlines()[2:] == [line]
    assert "2 runs in 1 set-ups" in summary(found)
    assert "fails in 1 and ours in 1" in summary(found)


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name)
def test_every_set_up_has_its_networks(setup):
    shape, classes = ((3, 32, 32), 43) if setup.images == "signs" else ((1, 42, 42), 10)
    for variant in VARIANTS:
        network = Network(setup, variant, shape, classes)
        logits, thetas = network(torch.rand(2, *shape))
        assert logits.shape == (2, classes)
        several = {"image": 1, "parallel": 2, "deep": 2}[setup.place]
        assert len(thetas) == (0 if variant == "none" else several)


def test_scipy_places_digits_as_the_distortion_does():
    given = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    draws = Draws(3, 0, torch.arange(5))
    placed = images._placed_by_scipy(given, draws)
    ours = DISTORTIONS["RTS"](given.float() / 255, draws, given)
    torch.testing.assert_close(placed, ours, rtol=0, atol=1e-4)


def test_runs_repeat():
    (setup,) = (s for s in SETUPS if s.name == "adam-1e-3")
    few = images.embedded(64, 32)
    first, second = (train(replace(setup, batch=16), "ours", 0, few, 1) for _ in range(2))
    for row in (first, second):
        del row["seconds"]
    assert first == second


def test_it_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    done = []

    def run(name, variant, seed, data, quick):
        done.append((name, variant, seed))
        return _row(name, variant, seed, 5.0)

    def in_order(todo, data, jobs, quick):
        yield from (run(*which, data, quick) for which in todo)

    monkeypatch.setattr(hostile, "_trained", in_order)
    path = tmp_path / "found.json"
    bench(None, names=("border",), seeds=1, path=path)
    assert "`border`" in bench(None, names=("border", "deep"), seeds=1, path=path)
    assert done == [(s, v, 0) for s in ("border", "deep") for v in VARIANTS]
    assert len(json.loads(path.read_text())["rows"]) == 6


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="set-up 'typo' was asked for; known: tutorial"):
        bench(None, names=("typo",))
    with pytest.raises(InputError, match="0 seeds"):
        bench(None, seeds=0)
    with pytest.raises(InputError, match=r"gtsrb32_train\.npz: the file is missing"):
        images.signs(tmp_path, 1, 1)
