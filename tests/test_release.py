"""What a release says of itself is true: its version, where it runs, what SECURITY.md promises."""

import ast
import re
from pathlib import Path

import pytest

import spatial_transformers
from spatial_transformers.sampler.backends.cpu import backend as cpu

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "spatial_transformers"
LIBRARY = Path(cpu.__file__).with_name("libspatial_transformers.so")
#: The glibc of manylinux2014, by the name that PEP 600 gives it.
MANYLINUX = (2, 17)
#: How what comes from outside is read; nothing else may unpickle.
READERS = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
UNPICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def found(pattern, name):
    (text,) = re.findall(pattern, (ROOT / name).read_text(), re.MULTILINE)
    return text


def test_the_version_is_one():
    version = found(r'^version = "(.*)"', "pyproject.toml")
    assert found(r"^version: (.*)", "CITATION.cff") == version
    assert spatial_transformers.__version__ == version, "install the package anew"


def test_the_changelog_begins_with_the_version():
    """What is in development has no date, and what is released has one, that of the citation."""
    version = found(r'^version = "(.*)"', "pyproject.toml")
    newest = re.search(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    if ".dev" in version:
        assert newest == "Unreleased"
    else:
        assert newest == f"{version} – {found(r'^date-released: (.*)', 'CITATION.cff')}"


@pytest.mark.skipif(
    not LIBRARY.exists() or not LIBRARY.read_bytes().startswith(b"\x7fELF"),
    reason="the library is not compiled, or not for Linux",
)
def test_the_library_runs_on_any_linux():
    """It asks for no newer glibc than manylinux2014 has, and for no other library of a compiler."""
    library = LIBRARY.read_bytes()
    asked = {tuple(map(int, m)) for m in re.findall(rb"GLIBC_(\d+)\.(\d+)", library)}
    assert asked
    assert max(asked) <= MANYLINUX
    assert not re.search(rb"lib(stdc\+\+|gcc_s|gomp|atomic)\.so", library)


def unpickling(code):
    """Yield the parts of a module's code that may run what a file says."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {getattr(node, "module", None) or "", *(alias.name for alias in node.names)}
            if {name.partition(".")[0] for name in names} & UNPICKLES:
                yield ast.unparse(node)
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called in READERS:
            name, value = READERS[called]
            given = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == name]
            if given != [str(value)]:
                yield ast.unparse(node)


def test_nothing_is_unpickled():
    texts = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    assert [(path, part) for path, text in texts.items() for part in unpickling(text)] == []
    assert sum(text.count("weights_only=True") for text in texts.values()) > 0


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from joblib import load", "torch.load(f)", "np.load(f, allow_pickle=True)"],
)
def test_what_unpickles_is_found(code):
    assert [*unpickling(code)] == [code]
