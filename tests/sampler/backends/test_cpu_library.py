"""Without a library that can be used, one line says why, and other backends do the work."""

import shutil
import subprocess
import sys

import pytest
import torch

from spatial_transformers import Affine, explain, sample, warp
from spatial_transformers.commands import main
from spatial_transformers.sampler.backends.aten import Aten
from spatial_transformers.sampler.backends.cpu.backend import Cpu
from spatial_transformers.sampler.backends.cpu.call import ABI
from spatial_transformers.sampler.backends.reference import Reference

from .paths import CPU

NAME = "libspatial_transformers.so"
MODULE = sys.modules["spatial_transformers.sampler.sampler"]  # the name itself is the function
COMPILER = shutil.which("g++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="stubs are compiled by g++")


def compiled(folder, source):
    """Return the backend of a folder with a library of this source."""
    (folder / "stub.cpp").write_text(f'extern "C" {{ {source} }}\n')
    command = [COMPILER, "-shared", "-fPIC", "-o", folder / NAME, folder / "stub.cpp"]
    subprocess.run(command, check=True)
    return Cpu(folder)


def test_no_library(tmp_path):
    assert Cpu(tmp_path).missing == "its library was not compiled: install the package to build it"


def test_the_reason_of_the_installation(tmp_path):
    (tmp_path / "cpu_missing.txt").write_text("no C++ compiler was found\n")
    assert Cpu(tmp_path).missing == "its library was not compiled: no C++ compiler was found"


def test_a_file_that_is_no_library(tmp_path):
    (tmp_path / NAME).write_text("text " * 100)
    assert Cpu(tmp_path).missing.startswith("its library cannot be loaded: ")
    assert NAME in Cpu(tmp_path).missing


@needs_compiler
def test_a_library_of_another_interface(tmp_path):
    stub = compiled(tmp_path, "long stn_abi() { return 99; } long stn_call_size() { return 8; }")
    assert stub.missing == f"its library has interface 99, not {ABI}: install the package anew"


@needs_compiler
def test_a_library_of_something_else(tmp_path):
    assert compiled(tmp_path, "int other;").missing.startswith("its library cannot be loaded: ")


def test_a_pytorch_without_the_function_that_runs_loops(monkeypatch, tmp_path):
    if CPU.missing:
        pytest.skip(CPU.missing)
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    assert Cpu().missing.startswith("its library cannot be loaded: ")


@pytest.fixture
def without_library(monkeypatch, tmp_path):
    (tmp_path / "cpu_missing.txt").write_text("no C++ compiler was found\n")
    monkeypatch.setattr(MODULE, "BACKENDS", (Cpu(tmp_path), Aten(), Reference()))


@pytest.mark.usefixtures("without_library")
def test_the_package_says_so_and_works(capsys):
    image, theta = torch.randn(2, 3, 9, 8), Affine().identity().repeat(2, 1) + 0.1
    grid = Affine().grid(theta, (5, 6))
    line = "  cpu: its library was not compiled: no C++ compiler was found"
    assert line in explain(image, theta, Affine()).splitlines()
    assert explain(image, theta, Affine()).splitlines()[0].endswith("context eager: aten")
    assert main(["info"]) == 0
    assert line in capsys.readouterr().out.splitlines()
    for found, due in (
        (warp(image, theta, Affine()), warp(image, theta, Affine(), backend="aten")),
        (sample(image, grid), sample(image, grid, backend="aten")),
    ):
        assert torch.equal(found, due)


def test_nothing_is_missing_where_there_is_a_compiler():
    assert COMPILER is None or CPU.missing == ""
