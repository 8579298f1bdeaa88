"""Try an installed package as its user would, with nothing but the package and this tree's README.

    python -I .ci/installed.py            in an environment that has the package installed
    python -I .ci/installed.py cpu        which fails unless the backend `cpu` runs, too

It needs no test runner, no compiler and no extra. With `-I` Python sees the environment only, not
the sources.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

import torch

import spatial_transformers as st
from spatial_transformers.commands import main
from spatial_transformers.sampler.backends import BACKENDS

ROOT = Path(__file__).parents[1]
STN = Path(sys.executable).with_name("stn")
CPU = next(backend for backend in BACKENDS if backend.name == "cpu")


def tell() -> None:
    """The package is the installed one, of this tree's version, and its command answers."""
    assert ROOT / "src" not in Path(st.__file__).parents, f"{st.__file__} is the source"
    (version,) = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert st.__version__ == version, f"{st.__version__} is installed, {version} is the source's"
    said = _run("info")
    assert said.returncode == 0, said
    print(said.stdout)


def verify() -> None:
    """Backends agree with the reference; the compiled one does by each of its instruction sets."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # images are tiny: a second thread only waits
    assert main(["verify", "--quick"]) == 0
    for isa, name in enumerate(CPU.instruction_sets()[:-1]):  # the last is what has just run
        CPU.isa = isa
        print(f"with {name}: ", end="", flush=True)
        assert main(["verify", "--quick", "--backend", "cpu"]) == 0
    CPU.isa = -1
    torch.set_num_threads(threads)


def learn() -> None:
    """A transformer finds out, from its loss alone, by how much a picture was moved."""
    torch.manual_seed(0)
    family, image = st.Translation(), torch.zeros(1, 1, 16, 16)
    image[..., 6:10, 6:10] = 1
    moved = st.warp(image, torch.tensor([[0.25, -0.125]]), family)
    stn = st.SpatialTransformer(st.LocalisationCNN(family, in_channels=1), family, size=16)
    optimiser = torch.optim.Adam(st.parameter_groups(stn, lr=1e-2))
    losses = []
    for _ in range(40):
        losses.append((stn(moved) - image).square().mean())
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < losses[0] / 4, losses


def read() -> None:
    """The README's Python runs; its commands tell their options, or which extra they need."""
    text, names = (ROOT / "README.md").read_text(encoding="utf-8"), {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S):
        exec(block, names)
    assert names["v"].shape == (8, 1, 28, 28)
    for command in re.findall(r"^stn (\w+)", text, re.M):
        done = _run(command, "--help")
        lacks = done.stderr.startswith(f"stn {command}: needs the package ")  # of an extra
        assert lacks or done.stdout.startswith(f"usage: stn {command}"), done


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([STN, *arguments], capture_output=True, encoding="utf-8")


if __name__ == "__main__":
    for step in (tell, verify, learn, read):
        print(f"\n{step.__doc__}", flush=True)
        start = time.perf_counter()
        step()
        print(f"{time.perf_counter() - start:.1f} s")
    if missing := set(sys.argv[1:]) - {b.name for b in BACKENDS if not getattr(b, "missing", "")}:
        sys.exit(f"{', '.join(missing)} is missing: {CPU.missing}")
