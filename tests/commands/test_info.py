"""`stn info`: the facts of a bug report, and hardly slower than importing torch."""

import os
import subprocess
import sys

import torch

from spatial_transformers.commands import main


def test_facts(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__}" in printed
    for backend in ("aten", "reference"):
        assert f"  {backend}: can run" in printed


def seconds(code: str) -> float:
    """Return the processor time of a new interpreter, which other processes do not lengthen."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def test_no_slower_than_importing_torch_by_half_a_second():
    info = "from spatial_transformers.commands import main; main(['info'])"
    pairs = [(seconds("import torch"), seconds(info)) for _ in range(3)]
    assert min(i for _, i in pairs) - min(t for t, _ in pairs) < 0.5


def test_heavy_packages_stay_out():
    code = (
        "import sys; from spatial_transformers.commands import main; main(['info']);"
        "assert not {'lightning', 'matplotlib', 'PIL', 'sklearn',"
        "'spatial_transformers.benchmarks'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
