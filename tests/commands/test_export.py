"""`stn export` on trained runs; its files are loaded anew."""

import onnx
import onnxruntime
import pytest
import torch
from torch.testing import assert_close

from spatial_transformers.commands import main
from spatial_transformers.experiments.run import load

pytestmark = pytest.mark.traced


@pytest.fixture(scope="module", params=["st-cnn", "cnn"])
def run_folder(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / request.param
    options = ["--model", request.param, "--epochs", "1", "--out", str(out)]
    assert main(["train", "rotated-digits", *options]) == 0
    return out


def test_onnx(run_folder, capsys):
    opset = ["--opset", "18"] if run_folder.name == "cnn" else []
    assert main(["export", str(run_folder), *opset]) == 0
    first, second = capsys.readouterr().out.splitlines()
    size = "any size" if run_folder.name == "st-cnn" else "16 × 16"
    assert first == f"{run_folder / 'model.onnx'}: image batch × 1 × {size}"
    assert float(second.rpartition(" ")[2]) < 1e-4
    _, network = load(run_folder)
    image = torch.rand(3, 1, 16, 16)
    version = onnx.load(run_folder / "model.onnx").opset_import[0].version
    assert version == (18 if opset else 20)
    session = onnxruntime.InferenceSession(run_folder / "model.onnx")
    found = [torch.from_numpy(a) for a in session.run(None, {"image": image.numpy()})]
    expected = [output for output in network(image) if output is not None]
    assert [o.name for o in session.get_outputs()] == ["output", "theta"][: len(expected)]
    assert_close(found, expected, rtol=0, atol=1e-4)


def test_archive(run_folder, tmp_path, capsys):
    path = tmp_path / "model.pt2"
    assert main(["export", str(run_folder), "--out", str(path), "--decompose"]) == 0
    assert "largest difference from PyTorch: " in capsys.readouterr().out
    assert path.is_file()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["{new}"], "No such file"),
        (["{run}", "--opset", "12"], "opset=12 was asked for; give one from 16"),
        (["{run}", "--out", "{new}.pb"], "ends in .onnx or .pt2"),
        (["{run}", "--out", "{new}.onnx", "--to", "pt2"], "ends in .pt2"),
        (["{run}", "--out", "{new}/none/x.pt2"], "No such file"),
    ],
)
def test_refusals(run_folder, tmp_path, capsys, options, reason):
    places = {"new": tmp_path / "new", "run": run_folder}
    assert main(["export", *(option.format(**places) for option in options)]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert reason in printed


def test_a_missing_runtime_is_named(monkeypatch, capsys):
    def absent(args):
        raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")

    monkeypatch.setattr("spatial_transformers.commands.export.run", absent)
    assert main(["export", "x"]) == 2
    assert "pip install '.[onnx]'" in capsys.readouterr().err
