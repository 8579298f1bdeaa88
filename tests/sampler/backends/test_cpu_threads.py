"""The same bits from any number of threads, and from any instruction set."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from equality import assert_identical

from .paths import CPU, MAPS, SIZED, Path, named, needs_library, threads

pytestmark = needs_library

every_path = named((*SIZED, *MAPS))


def use_threads(monkeypatch, count):
    """Give the library so many threads, and PyTorch's own operations about it one."""

    def threaded(original):
        def call(*args, **options):
            with threads(count):
                return original(CPU, *args, **options)

        return call

    for name in ("_run_compiled", "_filter"):
        monkeypatch.setattr(CPU, name, threaded(getattr(type(CPU), name)))


@every_path
def test_threads(path, monkeypatch):
    inputs = path.inputs(torch.float32)
    due = path.outcome(inputs)
    for count in (2, 7):
        use_threads(monkeypatch, count)
        assert_identical(path.outcome(inputs), due)


@every_path
def test_instruction_sets(path, monkeypatch):
    inputs = path.inputs(torch.float32)
    due = path.outcome(inputs)
    for k in range(len(CPU.instruction_sets())):
        monkeypatch.setattr(CPU, "isa", k)
        assert_identical(path.outcome(inputs), due)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_threads_and_instruction_sets_of_other_dtypes(dtype, monkeypatch):
    for path in SIZED:
        inputs = path.inputs(dtype)
        monkeypatch.setattr(CPU, "isa", -1)
        due = path.outcome(inputs)
        for k in range(len(CPU.instruction_sets())):
            monkeypatch.setattr(CPU, "isa", k)
            with threads(1 + k):
                assert_identical(path.outcome(inputs), due)


def test_offsets_of_64_bits_are_among_them():
    assert CPU.instruction_sets()[0] == "baseline"


@pytest.mark.parametrize("count", [1, 2])
def test_several_callers_at_once(count):
    path = Path("", (2, 3, 200, 190), options={"padding_mode": "constant"})
    inputs = path.inputs(torch.float32)
    due = path.outcome(inputs)
    with threads(count), ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: path.outcome(inputs), range(12)):
            assert_identical(found, due)


FORK = """
import torch
from torch.utils.data import DataLoader, Dataset
from spatial_transformers import Affine, warp

image = torch.randn(1, 1, 300, 300, generator=torch.Generator().manual_seed(0))

class Warped(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, k):
        theta = (Affine().identity() + 0.01 * k)[None].requires_grad_()
        output = warp(image, theta, Affine(), backend="cpu")
        return output.detach()[0], torch.autograd.grad(output.square().sum(), theta)[0][0]

torch.set_num_threads(2)
due = [torch.stack(t) for t in zip(*[Warped()[k] for k in range(4)])]  # by PyTorch's pool
loader = DataLoader(Warped(), batch_size=4, num_workers=1, multiprocessing_context="fork")
found = next(iter(loader))
assert all(torch.equal(a, b) for a, b in zip(found, due))
"""


def test_forked_workers():
    """A fork inherits a pool without its threads; a worker has one thread, which needs no pool."""
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=120)
