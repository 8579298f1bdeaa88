"""Several processes train as one does: the same batches, statistics and gradients.

In double precision: in float32 another order of summation puts a sample on the other side of a kink
(of ReLU, pooling or the bilinear kernel) within a few steps, whatever adds up. And at a tenth of
the recipe's rate, which on so few images makes a change of the last bit up to ten times as large in
every step, by one process too.
"""

import json
import os
import socket
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from .mnist import write_mnist

STEPS, BATCH = 20, 16
MAIN = "from spatial_transformers.commands import main; import sys; sys.exit(main())"
OPTIONS = (
    *("--distortion", "TC", "--jitter", "0.5", "--precision", "64-true"),
    *("--epochs", "1", "--batch-size", str(BATCH), "--lr", "3e-4", "--accelerator", "cpu"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """MNIST's layout with as many training images as there are steps."""
    folder = tmp_path_factory.mktemp("processes")
    write_mnist(folder / "mnist", train=STEPS * BATCH * 6 // 5)
    return folder


@pytest.fixture(scope="module", params=["st-cnn", "st-fcn"])
def model(request, folder):
    """A model, of which `folder` holds a run of one process."""
    finish(start(folder, f"{request.param} one", "--model", request.param))
    return request.param


def start(folder, out, *options, launcher=()):
    """Start a training; `launcher` comes before what Python runs."""
    script = folder / "stn.py"
    script.write_text(MAIN)
    given = ("train", "distorted-mnist", *OPTIONS, "--data", folder / "mnist")
    return subprocess.Popen(
        [*map(str, (sys.executable, *launcher, script, *given, "--out", folder / out, *options))],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-3000:]


def require_as_one_process(folder, model, out):
    """Every parameter and statistic agrees."""
    runs = (folder / f"{model} one", folder / out)
    due, found = (load_file(run / "model.safetensors") for run in runs)
    assert due.keys() == found.keys()
    for name, value in due.items():
        difference = (found[name] - value).double().norm() / value.double().norm().clamp(min=1e-9)
        assert difference < 1e-7, name
    assert json.loads((folder / out / "metrics.json").read_text())["made"]["processes"] == 2


def test_two_processes(folder, model):
    finish(start(folder, f"{model} two", "--model", model, "--devices", "2"))
    require_as_one_process(folder, model, f"{model} two")


@pytest.mark.parametrize(
    "model", ["st-cnn", pytest.param("st-fcn", marks=pytest.mark.only_all)], indirect=True
)
def test_two_nodes(folder, model):
    """`torchrun` on two addresses of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in (0, 1):
        where = f"--node-rank={rank}", f"--local-addr=127.0.0.{rank + 1}"
        master = "--master-addr=127.0.0.1", f"--master-port={port}"
        launcher = "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"
        launcher += *where, *master
        nodes.append(start(folder, f"{model} nodes", "--model", model, launcher=launcher))
    finish(*nodes)
    require_as_one_process(folder, model, f"{model} nodes")
