"""The library gives PyTorch's bits to a driver with threads of its own, and without Python."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from spatial_transformers.sampler import backends

from .paths import CPU, SIZED, needs_library
from .recording import record

COMPILER = shutil.which("g++")
FOLDER = Path(backends.__file__).parent / "cpu"
DRIVER = Path(__file__).with_name("driver.cpp")

RECORDED = ("strips", "strips, one image", "cells", "blocks of 19", "blocks, one θ", "19 last")
RECORDED += ("wide, 3 channels of 4 taps", "wide, strips", "wide, 3-D")
RECORDED += ("widened, kept axes", "widened, strips", "widened, one θ")

pytestmark = [
    needs_library,
    pytest.mark.skipif(COMPILER is None, reason="the driver is compiled by g++"),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    program = tmp_path_factory.mktemp("driver") / "driver"
    library = FOLDER / "libspatial_transformers.so"
    options = ["-std=c++17", "-O1", "-pthread", f"-I{FOLDER / 'csrc'}", f"-Wl,-rpath,{FOLDER}"]
    command = [COMPILER, *options, DRIVER, library, "-o", program]
    subprocess.run(command, check=True)
    return program


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    file = tmp_path_factory.mktemp("calls") / "calls.bin"
    record(file, (torch.float32,), [p for p in SIZED if p.name in RECORDED])
    return file


def replay(driver, file):
    return subprocess.run([driver, file], capture_output=True, text=True, timeout=120)


def test_replays(driver, calls):
    found = replay(driver, calls)
    assert found.returncode == 0, found.stdout
    count, runs = (int(word) for word in found.stdout.split()[:3:2])
    assert count == 2 * len(RECORDED)  # forward and backward
    assert runs == count * 3 * len(CPU.instruction_sets())


def test_a_wrong_bit_and_a_short_file_are_found(driver, calls, tmp_path):
    content = bytearray(calls.read_bytes())
    short = tmp_path / "short.bin"
    short.write_bytes(content[:-9])
    found = replay(driver, short)
    assert found.returncode == 1
    assert "ends early" in found.stdout
    content[-5 - 8] ^= 1  # in the last output; after it comes that there is none for the stretch
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(content)
    found = replay(driver, wrong)
    assert found.returncode == 1
    assert found.stdout.count(" differs") == 3 * len(CPU.instruction_sets())
