"""Runs by name and on the Hub: the committed numbers again, cards that run, refusals in a line."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard

from sharing.endpoint import TOKEN
from sharing.test_hub import hub  # noqa: F401 - a fixture
from sharing.test_shared import Malicious, code_of, refusal
from spatial_transformers.commands import main
from spatial_transformers.experiments import run, sharing, supply
from spatial_transformers.experiments.page.view import DIGITS

NAME = "someone/digits"
CELL = "distorted-mnist/R/st-cnn/affine"


def error_of(network) -> float:
    """Return the share of test images in percent that a network takes for another digit."""
    wrong = []
    with torch.no_grad():
        for images, digits in supply.data_of(network.recipe, DIGITS).test_batches():
            wrong.append(network(images)[0].argmax(1) != digits)
    return 100 * torch.cat(wrong).double().mean().item()


def test_a_run_that_was_pushed_gives_its_printed_error(hub, tmp_path):  # noqa: F811
    address = sharing.push(DIGITS, "digits", token=TOKEN, license="apache-2.0")
    assert address.startswith(f"{hub.url}/{NAME}/commit/")
    assert {*hub.commits[NAME][0]} == {
        *("README.md", "recipe.json", "metrics.json", "model.safetensors")
    }
    network = sharing.from_pretrained(NAME)
    assert not network.training
    assert network.recipe.experiment == "rotated-digits"
    printed = network.metrics["test_error"]
    assert error_of(network) == pytest.approx(printed, abs=1e-6)
    (tmp_path / "README.md").write_bytes(hub.commits[NAME][0]["README.md"])
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.license == "apache-2.0"
    for line in (f"| test error (%) | {printed:.2f} |", "| test images | 9,000 |"):
        assert line in card.text.splitlines()
    exec(code_of(tmp_path), found := {})
    assert found["output"].shape == (1, 10)


def test_a_committed_cell_is_loaded_by_its_name():
    network = sharing.from_pretrained(CELL)
    assert network.metrics["test_error"] == 1.04
    _, other = run.load(sharing.RESULTS / CELL / "0")
    image = torch.rand(2, 1, 42, 42)
    assert torch.equal(network(image)[0], other(image)[0])
    assert sharing.from_pretrained(f"{CELL}/0").recipe == network.recipe


def test_the_folder_of_a_shared_run_is_a_run(tmp_path, capsys):
    cell, folder = sharing.RESULTS / CELL / "0", tmp_path / "shared"
    assert main(["export", str(cell), "--to", "hub", "--out", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert (folder / "picture.png").read_bytes() == (cell / "picture.png").read_bytes()
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "metrics.json", "model.safetensors", "picture.png", "recipe.json")
    }
    for name in ("metrics.json", "model.safetensors", "recipe.json"):
        assert (folder / name).read_bytes() == (cell / name).read_bytes()
    text = (folder / "README.md").read_text()
    assert "| error of inputs of SciPy (%) | 1.01 |" in text
    assert "](picture.png)" in text
    assert run.load(folder)[0] == run.load(cell)[0]
    exec(code_of(folder), found := {})
    assert found["theta"].shape == (1, 6)


def test_export_pushes_a_run(hub, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    command = ["export", str(DIGITS), "--to", "hub", "--push", NAME, "--license", "mit"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith(f"{hub.url}/{NAME}/commit/")
    assert b'license: "mit"' in hub.commits[NAME][0]["README.md"]


@pytest.mark.traced
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--license", "mit"], "give --to hub"),
        (["--push", NAME], "give --to hub"),
        (["--to", "hub", "--opset", "18"], "--decompose and --opset are of a file"),
        (["--to", "hub", "--push", NAME, "--out", "x"], "--out and --push were asked for together"),
    ],
)
def test_options_that_do_not_go_together(options, reason, capsys):
    assert main(["export", str(DIGITS), *options]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert reason in printed


@pytest.mark.traced
def test_names_that_are_none():
    line = refusal(sharing.from_pretrained, "distorted-mnist/E/cnn/0")
    assert "was committed without its weights" in line
    assert f"{CELL}/0" in line
    line = refusal(sharing.from_pretrained, "distorted-mnist/R/st-cnn/afine")
    assert "no cell of the repository's docs/results" in line
    assert f"{CELL}/0" in line


@pytest.fixture
def left(tmp_path):
    return shutil.copytree(DIGITS, tmp_path / "run")


@pytest.mark.traced
def test_weights_of_another_family_are_refused(left):
    recipe, network = run.load(left)
    other = replace(recipe, transformation="affine-geometric")  # of six entries, too
    (left / "recipe.json").write_text(json.dumps(other.as_json()))
    line = refusal(sharing.from_pretrained, left)
    assert f"{left / 'model.safetensors'}: not the weights of the st-cnn" in line
    assert "their theta means 'Affine (" in line
    older = {n: t for n, t in network.state_dict().items() if not n.endswith("_extra_state")}
    run.tensors.write(left / "model.safetensors", older)  # which do not say what θ means
    assert "metrics of another recipe (transformation: " in refusal(sharing.from_pretrained, left)


@pytest.mark.traced
def test_a_run_of_a_later_version_or_with_an_unknown_fact_is_refused(left):
    facts = json.loads((left / "recipe.json").read_text())
    for change, message in (
        ({"version": 2}, "a recipe of version 2; give the folder of a run of version 1 to 1"),
        ({"shear": 1}, "not a recipe (differs in: ['shear'])"),
    ):
        (left / "recipe.json").write_text(json.dumps({**facts, **change}))
        assert message in refusal(sharing.from_pretrained, left)


@pytest.mark.traced
def test_what_a_repository_of_a_run_must_not_lack(hub, left, tmp_path):  # noqa: F811
    files = {path.name: path.read_bytes() for path in left.iterdir()}
    hub.commit(NAME, files)
    assert "has no README.md" in refusal(sharing.from_pretrained, NAME)
    torch.save(Malicious(tmp_path / "made"), tmp_path / "pickle")
    files |= {"README.md": b"words", "pytorch_model.bin": (tmp_path / "pickle").read_bytes()}
    for name in ("model.safetensors", "recipe.json", "metrics.json"):
        hub.commit(NAME, {n: content for n, content in files.items() if n != name})
        assert name in refusal(sharing.from_pretrained, NAME)
    assert not (tmp_path / "made").exists()
