"""Runs: learned, repeated bit for bit, resumed after SIGKILL, and refused where damaged."""

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spatial_transformers import InputError
from spatial_transformers._files import _mark
from spatial_transformers.experiments import run
from spatial_transformers.experiments.data import distortion
from spatial_transformers.experiments.registry import defaults, read

from .mnist import write_mnist

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "distorted-mnist"


def train(recipe, out, **options):
    return run.train(recipe, out, enable_progress_bar=False, accelerator="cpu", **options)


def numbers(metrics):
    """What a run found, without how long it took and where."""
    return {name: value for name, value in metrics.items() if name != "made"}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A short run on the embedded digits, with its recipe and metrics."""
    recipe = defaults("rotated-digits", epochs=3)
    out = tmp_path_factory.mktemp("runs") / "short"
    return recipe, out, train(recipe, out)


def test_it_learns(short):
    _, _, metrics = short
    assert metrics["test_images"] == 20 * 450
    assert metrics["test_error"] < 25
    assert metrics["theta"]["outside (%)"]["mean"] < 10
    turns = metrics["alignment"]["rotation (deg)"]
    assert turns["before"] == pytest.approx(45, abs=1)  # of U(-90°, 90°)
    assert turns["after"] < 37


def test_evaluation_repeats_the_metrics(short):
    _, out, metrics = short
    again = run.evaluate(out, enable_progress_bar=False, accelerator="cpu")
    assert metrics == json.loads((out / "metrics.json").read_text())
    assert again == {name: metrics[name] for name in again}
    assert {"test_error", "theta", "alignment", "parameters"} <= set(again)


def test_same_seed_same_numbers(short, tmp_path):
    recipe, out, metrics = short
    assert numbers(train(recipe, tmp_path / "again")) == numbers(metrics)
    weights = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert weights == (out / "model.safetensors").read_bytes()
    other = train(replace(recipe, seed=1), tmp_path / "other")
    assert other["validation"] != metrics["validation"]


def test_held_out_images(tmp_path):
    """They train where the recipe says so: a batch of all images is more than the rest of them."""
    recipe = defaults("rotated-digits", epochs=1, batch_size=1197 + 150)
    with pytest.raises(InputError, match="1197 images"):
        train(recipe, tmp_path / "held out")
    metrics = train(replace(recipe, hold_out=False), tmp_path / "all")
    assert len(metrics["validation"]["error"]) == 1


def test_jitter_is_of_training_only_and_falls(tmp_path, monkeypatch):
    bent, seen = distortion._bent, set()

    def watched(points, images, draws, strength, shift):
        seen.add((draws.seed, draws.epoch, strength))
        return bent(points, images, draws, strength, shift)

    monkeypatch.setattr(distortion, "_bent", watched)
    train(defaults("rotated-digits", epochs=2, jitter=0.2), tmp_path / "run")
    assert sorted(seen) == [(0, 0, 0.2), (0, 1, pytest.approx(0.125))]


def test_theta_is_logged_each_epoch(short):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(short[1] / "tensorboard")).Reload()
    for tag in ("theta/rotation (deg), mean", "theta/scale x, std", "theta/outside (%), mean"):
        assert len(events.Scalars(tag)) == short[0].epochs


def test_bfloat16_autocast(tmp_path):
    recipe = defaults("rotated-digits", epochs=1, precision="bf16-mixed")
    metrics = train(recipe, tmp_path / "run")
    assert metrics["test_error"] < 80
    _, network = run.load(tmp_path / "run")
    assert network.transformer.localisation.head.bias.dtype == torch.float32


def command(out, *options):
    code = "from spatial_transformers.commands import main; import sys; sys.exit(main())"
    options = (*options, "--epochs", "8", "--accelerator", "cpu", "--out", str(out))
    return [sys.executable, "-c", code, "train", "rotated-digits", *options]


def test_killed_and_resumed_ends_at_the_same_numbers(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(whole), check=True, capture_output=True)
    process = subprocess.Popen(
        command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (killed / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (killed / "last.ckpt").exists()
    assert not (killed / "model.safetensors").exists()
    subprocess.run(command(killed, "--resume"), check=True, capture_output=True)
    for name in ("model.safetensors", "poses.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    metrics = [json.loads((out / "metrics.json").read_text()) for out in (killed, whole)]
    assert numbers(metrics[0]) == numbers(metrics[1])
    started = torch.load(killed / "last.ckpt", weights_only=True)["epoch"]
    assert started == 7


def test_resuming_a_finished_run_returns_its_metrics(short):
    recipe, out, metrics = short
    before = (out / "model.safetensors").stat().st_mtime_ns
    assert train(recipe, out, resume=True) == metrics
    assert (out / "model.safetensors").stat().st_mtime_ns == before


def test_a_claimed_folder_is_refused(short):
    recipe, out, _ = short
    with pytest.raises(InputError, match="holds a run already"):
        train(recipe, out)
    with pytest.raises(InputError, match=r"another recipe \(epochs: 3 → 4\)"):
        train(replace(recipe, epochs=4), out, resume=True)


def test_damaged_checkpoint(short, tmp_path):
    recipe, out, _ = short
    (tmp_path / "recipe.json").write_bytes((out / "recipe.json").read_bytes())
    (tmp_path / "last.ckpt").write_bytes((out / "last.ckpt").read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"last\.ckpt: damaged checkpoint \(.*\); delete it"):
        train(recipe, tmp_path, resume=True)


def test_weights_of_another_model(short, tmp_path):
    _, out, _ = short
    (tmp_path / "recipe.json").write_bytes((out / "recipe.json").read_bytes())
    with pytest.raises(InputError, match="finish the run"):
        run.load(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="not the weights of the st-cnn"):
        run.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"model\.safetensors: damaged"):
        run.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "vit"}, "model 'vit' .* known: cnn, st-cnn, fcn, st-fcn"),
        ({"distortion": "X"}, "distortion 'X'"),
        ({"transformation": "tps"}, "transformation 'tps' .* affine"),
        ({"epochs": 0}, "epochs 0"),
        ({"precision": "8-bit"}, "precision '8-bit' .* 32-true"),
        ({"jitter": -1.0}, "jitter -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0"),
        ({"batch_size": 2000}, "batches of 2000 were asked for, of 1197 images"),
    ],
)
def test_bad_recipes(tmp_path, change, reason):
    with pytest.raises(InputError, match=reason):
        train(defaults("rotated-digits", **change), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_embedded_data_have_no_folder(tmp_path):
    with pytest.raises(InputError, match="leave --data out"):
        train(defaults("rotated-digits"), tmp_path / "run", data=tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": "0"}, "seed is '0', not a whole number"),
        ({"patience": 3}, r"not a recipe \(differs in: \['patience'\]\)"),
        ({"version": 2}, "a recipe of version 2; give .* of version 1 to 1"),
        ({"version": "1"}, "a recipe of version '1'"),
        ({"experiment": "imagenet"}, "it names 'imagenet'"),
        ({"experiment": ["x"]}, "experiment is a list, not a text"),
    ],
)
def test_damaged_recipe(tmp_path, change, reason):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**defaults("rotated-digits").as_json(), **change}))
    with pytest.raises(InputError, match=rf"recipe\.json: .*{reason}"):
        read(path)


@pytest.mark.parametrize("facts", ["[]", "{}", "3"])
def test_what_is_no_recipe(tmp_path, facts):
    (tmp_path / "recipe.json").write_text(facts)
    with pytest.raises(InputError, match=r"recipe\.json: no recipe \("):
        read(tmp_path / "recipe.json")


def test_recipes_of_before_a_fact_are_read(tmp_path):
    """It then has its class's default, whatever the experiment's is by now."""
    facts = defaults("distorted-mnist").as_json()
    del facts["version"], facts["jitter"]
    (tmp_path / "recipe.json").write_text(json.dumps(facts))
    assert read(tmp_path / "recipe.json") == defaults("distorted-mnist", jitter=0.0)


def test_every_committed_recipe_is_read():
    found = [read(path) for path in RESULTS.rglob("recipe.json")]
    assert len(found) == 32
    assert {type(recipe) for recipe in found} == {type(defaults("distorted-mnist"))}


def test_a_run_begun_by_an_earlier_version(short, tmp_path):
    recipe, out, _ = short
    (tmp_path / "recipe.json").write_bytes((out / "recipe.json").read_bytes())
    checkpoint = torch.load(out / "last.ckpt", weights_only=True)
    checkpoint["story"] = {"errors": [50.0], "seconds": 1.0, "poses": {}}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"story, validation is missing"):
        train(recipe, tmp_path, resume=True)


@pytest.mark.parametrize("model", ["cnn", "st-fcn"])
def test_mnist_from_idx_files(tmp_path, model):
    data = write_mnist(tmp_path / "mnist")
    recipe = defaults("distorted-mnist", model=model, epochs=1, batch_size=16)
    assert train(recipe, tmp_path / "run", data=data)["test_images"] == 32


@pytest.mark.parametrize(
    ("counts", "missing"),
    [({"test": 0}, "test"), ({"train": 5}, "validation"), ({"train": 0}, "train")],
)
def test_no_images(tmp_path, counts, missing):
    data = write_mnist(tmp_path / "mnist", **counts)
    with pytest.raises(InputError, match=f"mnist: no {missing} samples"):
        train(defaults("distorted-mnist"), tmp_path / "run", data=data)
    assert not (tmp_path / "run").exists()


def test_a_full_disk(tmp_path, monkeypatch):
    """The error names the file that has no room, and no part of it stays."""
    data = write_mnist(tmp_path / "mnist")
    recipe = defaults("distorted-mnist", epochs=1, batch_size=16)
    whole_file = Path.write_bytes, Path.write_text

    def write(path, content, full, number):
        whole_file[number](path, content[:10])
        if path.name.startswith(_mark(Path(full))):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole_file[number](path, content)

    for full in ("recipe.json", "last.ckpt"):
        for number, name in enumerate(("write_bytes", "write_text")):
            monkeypatch.setattr(Path, name, partialmethod(write, full=full, number=number))
        out = tmp_path / full
        with pytest.raises(OSError, match=f"No space left on device: '.*{full}'"):
            train(recipe, out, data=data)
        assert not (out / full).exists()
        assert not list(out.glob(".*"))


def test_no_room_for_curves(tmp_path, monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def write(writer, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    data = write_mnist(tmp_path / "mnist")
    monkeypatch.setattr(RecordWriter, "write", write)
    recipe = defaults("distorted-mnist", epochs=1, batch_size=16)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/run'"):
        train(recipe, tmp_path / "run", data=data)


def test_a_label_beyond_the_classes(tmp_path):
    data = write_mnist(tmp_path / "mnist")
    labels = data / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(labels.read_bytes()))
    content[-1] = 17
    labels.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match="label of 17"):
        train(defaults("distorted-mnist"), tmp_path / "run", data=data)
