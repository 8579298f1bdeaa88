"""The package builds and installs with and without a compiler. Behind `--all`: it asks an index.

What is installed is tried by `.ci/installed.py`, as `make wheel` does with all that it depends on.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PACKAGE = "spatial_transformers"
BACKENDS = f"{PACKAGE}/sampler/backends/cpu"
LEFT_OUT = (".git", ".venv", "runs", "build", "dist", "__pycache__", ".hypothesis", "*_cache")
LITTER = (
    "CMakeCache",
    "CMakeFiles",
    "CMakeInit",
    "ninja",
    "cmake_install",
    ".skbuild",
    ".egg-info",
)

pytestmark = pytest.mark.only_all


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the interpreter of a new environment, which has the build's tools only."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    interpreter = folder / "bin" / "python"
    pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pinned = ["-c", ROOT / "constraints.txt", "scikit-build-core", "cmake", "ninja"]
    subprocess.run([*pip, *pinned], check=True)
    return interpreter


def build(python, kind, source, folder, **environment):
    """Build an `sdist` or a `wheel` of a source tree; return its file."""
    folder.mkdir(exist_ok=True)
    code = f"from scikit_build_core.build import build_{kind} as b; b({str(folder)!r})"
    path = f"{python.parent}:{os.environ['PATH']}"
    subprocess.run(
        [python, "-c", code],
        cwd=source,
        env={**os.environ, "PATH": path, **environment},
        check=True,
    )
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="module")
def sdist(python, tmp_path_factory):
    """Return the archive of a working tree in which an editable installation has built."""
    source = tmp_path_factory.mktemp("tree") / "copy"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
    csrc = source / "src" / BACKENDS / "csrc"
    for name in ("CMakeCache.txt", "build.ninja", "cmake_install.cmake"):
        (csrc / name).touch()
    return build(python, "sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree


def said_by(python, wheel, *backends):
    """Install a wheel, try it where there is no compiler, and return the lines that this prints."""
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    others = packages / "others.pth"  # of what is installed here, after the environment's own
    others.unlink(missing_ok=True)  # pip shall not see them
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
    subprocess.run([*pip, wheel], check=True)
    others.write_text(f"{Path(torch.__file__).parents[1]}\n")
    done = subprocess.run(
        [python, "-I", ROOT / ".ci" / "installed.py", *backends],
        env={"PATH": str(python.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def littered(files):
    return [name for name in files if any(part in name for part in LITTER)]


def test_the_sources_are_complete(unpacked):
    files = [str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {*files} == {*listed.stdout.splitlines(), "PKG-INFO"}
    assert not littered(files)
    assert not [name for name in files if name.endswith((".so", "cpu_missing.txt"))]


def test_without_a_compiler(python, unpacked, tmp_path):
    """The wheel holds the reason, `stn info` shows it, and other backends do the work."""
    wheel = build(python, "wheel", unpacked, tmp_path / "wheel", CXX=str(tmp_path / "none"))
    assert "-py3-none-" in wheel.name
    assert f"{BACKENDS}/cpu_missing.txt" in names(wheel)
    assert not littered(names(wheel))
    assert not any(name.endswith(".so") for name in names(wheel))
    assert f"{PACKAGE}/experiments/page/digits/model.safetensors" in names(wheel)
    assert f"{PACKAGE}/experiments/page/pad.js" in names(wheel)
    reason = "no C++ compiler was found when the package was installed"
    assert f"  cpu: its library was not compiled: {reason}" in said_by(python, wheel)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")
def test_with_a_compiler(python, unpacked, tmp_path):
    """The wheel holds the library, knows no version of Python, and is for one platform."""
    wheel = build(python, "wheel", unpacked, tmp_path / "wheel")
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    assert f"{BACKENDS}/libspatial_transformers.so" in names(wheel)
    assert not littered(names(wheel))
    assert f"{BACKENDS}/cpu_missing.txt" not in names(wheel)
    assert "  cpu: can run" in said_by(python, wheel, "cpu")
