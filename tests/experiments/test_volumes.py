"""An experiment of another kind is trained, tabled, drawn and exported by what knows none of it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from spatial_transformers import Attention, SpatialTransformer
from spatial_transformers.commands import main
from spatial_transformers.experiments import registry
from spatial_transformers.experiments.data.samples import InFiles
from spatial_transformers.experiments.learner import Learner
from spatial_transformers.experiments.task import Regression

from . import volumes

CPU = "--accelerator", "cpu"


@pytest.fixture(scope="module", autouse=True)
def _listed():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.EXPERIMENTS, "balls", volumes.EXPERIMENT)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("balls")
    assert main(["reproduce", "balls", "--seeds", "1", "--out", str(out), *CPU]) == 0
    return out


def test_table(results):
    table = (results / "table.md").read_text()
    ours, plain = (
        json.loads((results / f"balls/{row}/0/metrics.json").read_text())["test_rmse"]
        for row in ("st-linear", "linear")
    )
    assert "| ours (the paper's), lux | balls |" in table
    assert f"| st-linear | {ours:.2f} (0.01) |" in table
    row = f"| balls/st-linear | 0.01 | {ours:.2f} | {ours - 0.01:+.2f} | {ours - plain:+.2f} |"
    assert row in table
    assert f"| balls/linear | – | {plain:.2f} | – |  |" in table


def test_pictures(results):
    for name in ("bars.png", "balls/st-linear/0/picture.png", "balls/st-linear/0/alignment.gif"):
        with Image.open(results / name) as picture:
            picture.verify()


def test_check_eval_and_resume(results, capsys):
    assert main(["reproduce", "balls", "--check", "--out", str(results), *CPU]) == 0
    assert "2 of 2 as before" in capsys.readouterr().out
    run = str(results / "balls/st-linear/0")
    assert main(["eval", run, *CPU]) == 0
    printed = capsys.readouterr().out
    assert "test root mean square error" in printed
    assert "lux of 16 images" in printed
    assert main(["train", "balls", "--resume", "--out", run, *CPU]) == 0


def test_its_own_facts(results, tmp_path, capsys):
    options = "--out", str(tmp_path / "run"), *CPU
    assert main(["train", "balls", "--noise", "-1", *options]) == 2
    assert "noise -1.0 was asked for; give 0 or more" in capsys.readouterr().err
    assert main(["train", "balls", "--jitter", "1", *options]) == 2
    assert "jitter was asked for; recipes of balls have: model, " in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "standard deviation of every voxel in training: balls: 0 or more (balls:" in printed


@pytest.mark.traced
def test_export(results, tmp_path, capsys):
    path = tmp_path / "balls.onnx"
    assert main(["export", str(results / "balls/st-linear/0"), "--out", str(path)]) == 0
    assert f"{path}: image batch × 2 × any size" in capsys.readouterr().out


def test_targets_that_are_no_numbers(monkeypatch, tmp_path, capsys):
    def damaged(count, seed):
        samples = balls(count, seed)
        samples.targets[3] = torch.nan
        return samples

    balls = volumes.balls
    monkeypatch.setattr(volumes, "balls", damaged)
    assert main(["train", "balls", "--out", str(tmp_path / "run"), *CPU]) == 2
    assert "a target that is not finite was found" in capsys.readouterr().err


def in_files(samples, folder):
    """Return the samples, each in a file of its own."""
    paths = [folder / f"{number}.npy" for number in range(len(samples))]
    folder.mkdir()
    for path, volume in zip(paths, samples.inputs, strict=True):
        np.save(path, volume.numpy())
    return InFiles(paths, samples.targets, lambda path: torch.from_numpy(np.load(path)))


def test_files_train_as_memory_does(results, tmp_path, monkeypatch):
    def data(recipe, folder):
        whole = volumes.data(recipe, folder)
        parts = {name: getattr(whole, name) for name in ("train", "validation", "test")}
        files = {name: in_files(part, tmp_path / name) for name, part in parts.items()}
        return replace(whole, **files, workers=2)

    monkeypatch.setitem(registry.EXPERIMENTS, "balls", replace(volumes.EXPERIMENT, data=data))
    assert main(["train", "balls", "--out", str(tmp_path / "run"), *CPU]) == 0
    weights = (results / "balls/st-linear/0", tmp_path / "run")
    assert len({(out / "model.safetensors").read_bytes() for out in weights}) == 1


def test_every_transformer_has_its_own_rate():
    """Also one inside of another's localisation network, or one whose network is shared."""
    network = volumes.network(volumes.EXPERIMENT.recipe)
    first = network.transformer
    network.second = SpatialTransformer(first.localisation, Attention(3))
    learner = Learner(network, Regression(), replace(volumes.EXPERIMENT.recipe, localisation_lr=9))
    learner.trainer = SimpleNamespace(estimated_stepping_batches=10)
    others, aligning = learner.configure_optimizers()["optimizer"].param_groups
    assert others["params"] == list(network.read.parameters())
    assert {id(p) for p in aligning["params"]} == {id(p) for p in first.parameters()}
    assert len(aligning["params"]) == len(list(first.parameters()))
    assert aligning["max_lr"] == pytest.approx(9 * others["max_lr"])
    assert aligning["weight_decay"] == 0
