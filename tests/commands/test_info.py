"""`stn info`: the facts of a bug report, and hardly slower than importing torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spatial_transformers import commands
from spatial_transformers.commands import main


def test_facts(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__}" in printed
    for backend in ("aten", "reference"):
        assert f"  {backend}: can run" in printed


#: Prints how long the command takes in units of the time that torch takes to be imported. Both are
#: the processor's, and of one process: neither another process nor a slow machine changes much.
TIMED = """
from time import process_time
start = process_time()
import torch
imported = process_time()
from spatial_transformers.commands import main
main(["info"])
print((process_time() - imported) / (imported - start))
"""


def test_hardly_slower_than_importing_torch():
    done = subprocess.run([sys.executable, "-c", TIMED], check=True, capture_output=True, text=True)
    assert float(done.stdout.splitlines()[-1]) < 0.25


def test_heavy_packages_stay_out():
    code = (
        "import sys; from spatial_transformers.commands import main; main(['info']);"
        "assert not {'lightning', 'matplotlib', 'PIL', 'sklearn',"
        "'spatial_transformers.benchmarks'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_names_every_command_on_a_line_of_its_own(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    folder = Path(commands.__file__).parent
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {line.split()[0] for line in lines if line.startswith("  ")} == {"-h,", *names}


@pytest.mark.parametrize("arguments", [["--help"], ["warp", "--help"], ["wrap"]])
def test_help_waits_for_no_import_of_torch(arguments):
    code = f"""
import sys
from spatial_transformers.commands import main
try:
    main({arguments})
except SystemExit:
    print({{"torch", "numpy"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize("run", [lambda args: torch.empty(1 << 46), lambda args: bytes(1 << 46)])
def test_too_little_memory_ends_in_a_line(run, monkeypatch, capsys):
    monkeypatch.setattr("spatial_transformers.commands.info.run", run)
    assert main(["info"]) == 2
    assert capsys.readouterr().err == (
        "stn info: memory is full; ask for smaller images or batches\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "arguments", [["warp", "--help"], ["info"], ["show", "none-\udcff-θ", "--out", "x"]]
)
def test_output_that_a_terminal_cannot_show_degrades(encoding, arguments):
    code = "from spatial_transformers.commands import main; import sys; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(os.fsencode, arguments)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == (2 if arguments[0] == "show" else 0)
    assert b"Traceback" not in done.stderr
    shown = (done.stdout + done.stderr).decode(encoding)
    assert ("θ" in shown) == (encoding == "utf-8" and arguments != ["info"])
