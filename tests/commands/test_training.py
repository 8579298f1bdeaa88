"""`stn train`, `eval`, `show` and `demo`: one after the other on one folder, and their refusals."""

import json
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from spatial_transformers.commands import main


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "rotated-digits", "--epochs", "1", "--out", str(out)]) == 0
    return out


def test_eval_prints_what_train_printed(run_folder, capsys):
    assert main(["eval", str(run_folder)]) == 0
    first = capsys.readouterr().out
    assert main(["train", "rotated-digits", "--resume", "--out", str(run_folder)]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.startswith(f"{run_folder}: test error ")
    assert line in first
    assert "rotation (deg)" in first


def test_eval_prints_json_and_nothing_else(run_folder, capsys):
    assert main(["eval", str(run_folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    kept = json.loads((run_folder / "metrics.json").read_text())
    assert {name: kept[name] for name in found} == found


def test_show(run_folder, tmp_path, capsys):
    assert main(["show", str(run_folder), "--count", "3", "--out", str(tmp_path / "x.png")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "x.png")
    Image.open(tmp_path / "x.png").verify()


def test_demo(tmp_path, capsys, monkeypatch):
    from dataclasses import replace

    from spatial_transformers.experiments import registry

    name = "small-digits"
    quick = registry.EXPERIMENTS[name]
    quick = replace(quick, recipe=replace(quick.recipe, epochs=1))
    monkeypatch.setitem(registry.EXPERIMENTS, name, quick)
    assert main(["demo", "--seeds", "2", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| cnn | 24,314 | 2 |" in printed
    assert "| st-cnn | 24,240 | 2 |" in printed
    for kind, name in (("picture", "st-cnn.png"), ("film", "st-cnn.gif")):
        assert f"{kind}: {tmp_path / name}" in printed
        Image.open(tmp_path / name).verify()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "imagenet", "--out", "{new}"], "known: rotated-digits, small-digits"),
        (["train", "foldr", "--out", "{new}"], "'foldr' was asked for (did you mean folder?); "),
        (["train", "distorted-mnist", "--out", "{new}"], "needs --data"),
        (["train", "rotated-digits", "--out", "{run}"], "holds a run already"),
        (["train", "distorted-mnist", "--resume", "--out", "{run}"], "rotated-digits → distorted"),
        (["train", "rotated-digits", "--out", "{run}/recipe.json/x"], "Not a directory"),
        (["train", "rotated-digits", "--seed", "5", "--resume", "--out", "{run}"], "seed: 0 → 5"),
        (["eval", "{new}"], "No such file"),
        (["show", "{run}", "--count", "0", "--out", "{new}.png"], "give 1 to 32"),
        (["show", "{run}", "--out", "{new}/none/x.png"], "No such file"),
        (["demo", "--seeds", "0", "--out", "{new}"], "give 1 or more"),
    ],
)
def test_refusals(run_folder, tmp_path, capsys, arguments, reason):
    places = {"new": tmp_path / "new", "run": run_folder}
    assert main([a.format(**places) for a in arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert reason in printed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian", "x"], "stn: no command is called trian (did you mean train?); see stn --help"),
        (["zzz"], "stn: no command is called zzz; see stn --help"),
        ([], "stn: the following arguments are required: COMMAND; see stn --help"),
        (["eval", "x", "--jason"], "--jason has no meaning here (did you mean --json?)"),
        (["eval", "x", "y"], "stn eval: y has no meaning here; see stn eval --help"),
        (["train", "folder", "--epochs=a", "--out", "x"], "--epochs: invalid int value: 'a'; see"),
        (["train", "folder", "--epochen=1", "--out", "x"], "(did you mean --epochs?)"),
    ],
)
def test_what_is_not_understood_is_refused_in_a_line(capsys, arguments, line):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    printed = capsys.readouterr().err
    assert line in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        (["eval", "x"], "lightning", "experiments"),
        (["eval", "x"], "onnx", "onnx"),
        (["page"], "gradio", "page"),
        (["page"], "lightning", "page"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, capsys, command, package, extra):
    def absent(args):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(f"spatial_transformers.commands.{command[0]}.run", absent)
    assert main(command) == 2
    assert f"pip install '.[{extra}]'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "reproduce"])
def test_a_missing_extra_is_named_by_the_help_that_needs_it(command):
    """In a process of its own, where the package is missing before anything is imported."""
    code = f"""
import sys
sys.modules["safetensors"] = None
from spatial_transformers.commands import main
sys.exit(main([{command!r}, "--help"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"stn {command}: needs the package 'safetensors'; run: pip ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["page", "--help"]])
def test_help_imports_neither_torch_nor_gradio(arguments):
    code = (
        "import atexit, sys\n"
        "from spatial_transformers.commands import main\n"
        "atexit.register(lambda: print({'torch', 'gradio'} & {*sys.modules}))\n"
        f"main({arguments})"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "set()"


def test_interrupted(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("spatial_transformers.commands.eval.run", interrupted)
    assert main(["eval", "x"]) == 130
    assert capsys.readouterr().err == "stn eval: interrupted\n"


@pytest.mark.parametrize(
    "name",
    ["info", "verify", "demo", "train", "eval", "show", "apply", "page", "export", "warp"],
)
def test_help_shows_an_example(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"  stn {name}" in capsys.readouterr().out


@pytest.fixture
def heeds_interrupts():
    """Heed Ctrl-C also where the suite runs in the background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        (["train", "rotated-digits", "--out", "{}"], "the same command with --resume continues"),
        (["demo", "--out", "{}"], "the same command continues"),
    ],
)
def test_signals(
    tmp_path, capsys, monkeypatch, heeds_interrupts, arguments, how, number, status, word
):
    """They end training at once, and tell how it goes on."""
    from spatial_transformers.experiments.learner import Learner

    before = signal.getsignal(number)
    steps = []

    def step(self, *batch):
        steps.append(1)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(Learner, "on_train_batch_end", step)
    assert main([a.format(tmp_path / "run") for a in arguments]) == status
    assert capsys.readouterr().err.splitlines()[-1] == f"stn {arguments[0]}: {word}; {how}"
    assert len(steps) == 1
    assert signal.getsignal(number) == before
    assert not [path for path in tmp_path.rglob(".*") if path.suffix == ".partial"]


def test_a_signal_beside_training(monkeypatch, capsys):
    monkeypatch.setattr(
        "spatial_transformers.commands.eval.run", lambda args: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert main(["eval", "x"]) == 143
    assert capsys.readouterr().err == "stn eval: terminated\n"
