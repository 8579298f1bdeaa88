"""Several processes train as one does: the same batches, statistics and gradients.

In double precision: in float32 another order of summation puts a sample on the other side of a kink
(of ReLU, pooling or the bilinear kernel) within a few steps, whatever adds up.
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
    *("--epochs", "1", "--batch-size", str(BATCH), "--accelerator", "cpu"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """MNIST's layout with as many training images as there are steps, and a run of one process."""
    folder = tmp_path_factory.mktemp("processes")
    write_mnist(folder / "mnist", train=STEPS * BATCH * 6 // 5)
    finish(start(folder, "one"))
    return folder


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


def require_as_one_process(folder, out):
    """Every parameter and statistic agrees."""
    due, found = (load_file(folder / run / "model.safetensors") for run in ("one", out))
    assert due.keys() == found.keys()
    for name, value in due.items():
        difference = (found[name] - value).double().norm() / value.double().norm().clamp(min=1e-9)
        assert difference < 1e-6, name
    assert json.loads((folder / out / "metrics.json").read_text())["made"]["processes"] == 2


def test_two_processes(folder):
    finish(start(folder, "two", "--devices", "2"))
    require_as_one_process(folder, "two")


def test_two_nodes(folder):
    """`torchrun` on two addresses of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in (0, 1):
        where = f"--node-rank={rank}", f"--local-addr=127.0.0.{rank + 1}"
        master = "--master-addr=127.0.0.1", f"--master-port={port}"
        launcher = "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"
        nodes.append(start(folder, "nodes", launcher=(*launcher, *where, *master)))
    finish(*nodes)
    require_as_one_process(folder, "nodes")
