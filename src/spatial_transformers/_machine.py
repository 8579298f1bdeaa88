"""The facts that a result depends on besides its options: machine, versions, commit, threads."""

import platform
import subprocess
from hashlib import sha1
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_HERE = Path(__file__).parent


def facts(device: torch.device, *packages: str) -> dict[str, Any]:
    """Return machine, versions of packages, commit and threads, as plain values for JSON."""
    found = {name: _version(name) for name in ("spatial-transformers", "numpy", *packages)}
    versions = {"python": platform.python_version(), "torch": torch.__version__, **found}
    if device.type == "cuda":
        versions["triton"] = _version("triton")
    return {
        "machine": _machine(device),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "versions": versions,
        "commit": _commit(),
    }


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    cores = f"{len(names)} × " if names else ""
    level = torch.backends.cpu.get_cpu_capability()
    return f"{cores}{(names or [platform.machine()])[0]} ({platform.machine()}, {level})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the package's source and a digest of changes since; None if unknown."""
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:  # installed, not checked out
        return None
    head, changes = _git("rev-parse", "--short=12", "HEAD"), _git("diff", "HEAD", "--", ".")
    return f"{head}+{sha1(changes.encode()).hexdigest()[:6]}" if changes else head


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", _HERE, *arguments], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
