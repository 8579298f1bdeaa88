"""Print versions, devices, and which backends can run or why not.

Example:
  stn info
"""

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no options."""


def run(args: argparse.Namespace) -> int:
    """Print the facts that a bug report needs."""
    import torch

    from .. import Affine, explain
    from ..sampler.backends import BACKENDS
    from ..sampler.backends.cpu import Cpu

    print(f"python {platform.python_version()} on {platform.platform()}")
    print(f"torch {torch.__version__}")  # with its build, which the installed version lacks
    for package in ("spatial-transformers", "numpy", "jaxtyping", "lightning", "matplotlib"):
        print(f"{package} {_version(package)}")
    print(f"devices: cpu ({torch.get_num_threads()} threads){_accelerators()}")
    cpu = next(b for b in BACKENDS if isinstance(b, Cpu))
    compiled = ", ".join(cpu.instruction_sets()) or "none"
    print(f"instruction sets of the cpu backend: {compiled}")
    for device in _devices():
        for ndim in (2, 3):
            affine = Affine(ndim)
            theta = affine.identity()[None].to(device)
            print(explain(torch.zeros((1, 1, *[2] * ndim), device=device), theta, affine))
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> list[str]:
    import torch

    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or not torch.accelerator.is_available():
        return ["cpu"]
    return ["cpu", accelerator.type]


def _accelerators() -> str:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return "".join(f", {name}" for name in names or _devices()[1:])
