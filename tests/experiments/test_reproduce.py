"""The paper's table: its cells, runs that continue, side by side, and refusals."""

import json
import shutil
from dataclasses import replace

import pytest
from filelock import FileLock
from PIL import Image

from spatial_transformers import InputError
from spatial_transformers.commands import main
from spatial_transformers.experiments import registry, reproduce
from spatial_transformers.experiments.data import digits

from .mnist import write_mnist

CELLS = "TC/cnn", "TC/st-cnn/affine"
NAME = "distorted-mnist"
SHORT = {"epochs": 1, "batch_size": 16, "lr": 2e-3, "precision": "32-true"}


@pytest.fixture(scope="module", autouse=True)
def _short(tmp_path_factory):
    """Train for an epoch on a tiny set in place of MNIST."""
    with pytest.MonkeyPatch.context() as patch:
        usual = registry.EXPERIMENTS[NAME]
        short = replace(usual, recipe=replace(usual.recipe, **SHORT), verify=None)
        patch.setitem(registry.EXPERIMENTS, NAME, short)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_mnist(tmp_path_factory.mktemp("data") / "mnist")


@pytest.fixture(scope="module")
def results(data, tmp_path_factory):
    """Two cells of one seed."""
    out = tmp_path_factory.mktemp("results")
    assert stn(out, "--data", data, "--only", ",".join(CELLS), "--seeds", 1) == 0
    return out


def stn(out, *options):
    return main(["reproduce", NAME, "--accelerator", "cpu", "--out", str(out), *map(str, options)])


def test_cells_are_the_paper_s():
    cells = {cell.name: cell for cell in reproduce.cells(NAME)}
    assert len(cells) == 8 * 4 + 4
    assert [*cells][:2] == ["R/st-cnn/affine", "RTS/st-cnn/affine"]
    assert cells["E/st-fcn/thin-plate-spline"].paper == 2.4
    assert cells["TC/fcn"].paper == 13.2
    recipe = cells["P/st-fcn/projective"].recipe
    assert (recipe.distortion, recipe.model, recipe.transformation) == ("P", "st-fcn", "projective")


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ("R/cnn", ["R/cnn"]),
        ("TC", ["TC/st-cnn/affine", "TC/st-fcn/affine", "TC/cnn", "TC/fcn"]),
        ("R/st-cnn/", [f"R/st-cnn/{f}" for f in ("affine", "projective", "thin-plate-spline")]),
        ("TC/st-f", ["TC/st-fcn/affine"]),
    ],
)
def test_cells_are_meant_by_how_their_names_begin(only, names):
    assert sorted(cell.name for cell in reproduce.cells(NAME, [only])) == sorted(names)


def test_all_cells_have_one_schedule():
    """Only what the cells are named after differs, and R hides what tells its angle."""
    named = {"distortion": "", "model": "", "transformation": ""}
    same = {
        replace(cell.recipe, **named, shift=0.0, widening=0.0) for cell in reproduce.cells(NAME)
    }
    assert len(same) == 1
    hidden = {cell.column for cell in reproduce.cells(NAME) if cell.recipe.shift}
    widened = {cell.column for cell in reproduce.cells(NAME) if cell.recipe.widening}
    assert hidden == widened == {"R"}
    assert registry.defaults(NAME, model="cnn") == reproduce.cells(NAME, ["R/cnn"])[0].recipe


def test_a_run_tells_how_it_was_made(results):
    metrics = json.loads((results / "TC/st-cnn/affine/0/metrics.json").read_text())
    assert metrics["recipe"]["transformation"] == "affine"
    assert 0 <= metrics["test_error"] <= 100
    assert len(metrics["validation"]["error"]) == 1
    made = metrics["made"]
    assert {"machine", "device", "threads", "versions", "commit"} <= set(made)
    assert 0 < made["preparing"] < made["seconds"]
    assert made["processes"] == 1


def test_table_and_pictures(results, data, capsys):
    assert stn(results, "--table", "--only", ",".join(CELLS)) == 0
    table = (results / "table.md").read_text()
    assert table == capsys.readouterr().out
    error = json.loads((results / "TC/cnn/0/metrics.json").read_text())["test_error"]
    assert f"| TC/cnn | 3.5 | {error:.2f} | {error - 3.5:+.2f} (void) |  | – | 1 |" in table
    for name in ("bars.png", "TC/st-cnn/affine/0/picture.png", "TC/st-cnn/affine/0/alignment.gif"):
        with Image.open(results / name) as picture:
            picture.verify()
    assert not (results / "TC/cnn/0/picture.png").exists()


def test_table_without_weights(results, tmp_path):
    """Results that keep their errors but not their weights have a table and no pictures."""
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    cell = tmp_path / "TC/st-cnn/affine/0"
    pictures = cell / "picture.png", cell / "alignment.gif"
    for path in (cell / "model.safetensors", *pictures):
        path.unlink(missing_ok=True)
    assert stn(tmp_path, "--table", "--only", ",".join(CELLS)) == 0
    assert not any(path.exists() for path in pictures)


def test_finished_runs_are_not_repeated(results, data):
    path = results / "TC/cnn/0/model.safetensors"
    before = path.stat().st_mtime_ns
    assert stn(results, "--data", data, "--only", "TC/cnn", "--seeds", 1) == 0
    assert path.stat().st_mtime_ns == before


def test_check(results, data, capsys):
    options = "--data", data, "--only", ",".join(CELLS), "--check"
    assert stn(results, *options) == 0
    printed = capsys.readouterr().out
    assert "TC/cnn/0, inputs of SciPy: " in printed
    assert "4 of 4 as before" in printed
    path = results / "TC/cnn/0/metrics.json"
    written = path.read_text()
    metrics = json.loads(written)
    path.write_text(json.dumps({**metrics, "test_error": metrics["test_error"] + 1}))
    assert stn(results, *options) == 1
    assert "3 of 4 as before" in capsys.readouterr().out
    path.write_text(json.dumps({**metrics, "independent": {"photographs": 1.0}}))
    assert stn(results, *options) == 2
    assert "scored on inputs of photographs, which are not made" in capsys.readouterr().err
    path.write_text(written)


def test_side_by_side(results, data, tmp_path):
    """Two processes at a time find what one finds."""
    chosen = reproduce.cells(NAME, CELLS)
    lines = list(reproduce.train(chosen, tmp_path, seeds=1, jobs=2, data=data, accelerator="cpu"))
    assert sorted(line.partition(",")[0] for line in lines) == sorted(CELLS)
    for cell in CELLS:
        weights = (folder / cell / "0/model.safetensors" for folder in (tmp_path, results))
        assert len({path.read_bytes() for path in weights}) == 1


def test_a_claimed_run_is_left_alone(data, tmp_path):
    (tmp_path / "TC/cnn/0").mkdir(parents=True)
    with FileLock(tmp_path / "TC/cnn/0/.lock"):
        assert stn(tmp_path, "--data", data, "--only", "TC/cnn", "--seeds", 1) == 0
    assert not (tmp_path / "TC/cnn/0/metrics.json").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--only", "R/vit"], "no cell is called R/vit"),
        (["--only", "R/stcnn"], "no cell is called R/stcnn (did you mean R/st-cnn?); known: R/st-"),
        (["--only", "R/st-c,TC/"], "R/st-c begins several names: R/st-cnn/affine, R/st-cnn/thin"),
        (["--seeds", "0"], "--seeds 0 --jobs 1 were asked for"),
        (["--only", "R/cnn"], "needs --data"),
        (["--quick", "--data", "digits"], "--quick was asked for with --data digits"),
        (["--devices", "2", "--jobs", "2"], "--jobs and --devices were asked for together"),
    ],
)
def test_refusals(tmp_path, capsys, options, reason):
    assert stn(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "Traceback" not in error


def test_an_experiment_without_a_table(tmp_path):
    with pytest.raises(InputError, match="rotated-digits has no table"):
        reproduce.cells("rotated-digits")


def test_results_of_another_recipe(results, data, monkeypatch, capsys):
    other = registry.EXPERIMENTS[NAME]
    other = replace(other, recipe=replace(other.recipe, lr=1e-3))
    monkeypatch.setitem(registry.EXPERIMENTS, NAME, other)
    for options in (["--table"], ["--data", data], ["--check"]):
        assert stn(results, *options, "--only", "TC/cnn") == 2
        assert "another recipe (lr: 0.002 → 0.001)" in capsys.readouterr().err


def test_only_the_real_mnist_is_compared(data):
    with pytest.raises(InputError, match=r"train-images.* where MNIST's has 6bbc9ace"):
        digits.verify(data)
