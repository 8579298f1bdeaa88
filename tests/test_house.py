"""The house rules that a machine can check: imports, lengths, and the public API's snapshot.

`python tests/test_house.py` writes the snapshot anew, for a change of the API that is meant.
"""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from spatial_transformers import _public

NAME = "spatial_transformers"
PACKAGE = Path(__file__).parents[1] / "src" / NAME
SNAPSHOT = Path(__file__).with_name("api.txt")

#: A module imports from its own layer's folder and from those further down only.
LAYERS = (
    ("commands",),
    ("benchmarks",),
    ("experiments",),
    ("_public",),
    ("exporting",),
    ("arrangements",),
    ("augmentation", "showing", "training"),
    ("transformer",),
    ("protection",),
    ("_drawing", "losses"),
    ("localisation", "sampler"),
    ("grid",),
    ("_images", "sharing"),
    ("_reading", "_tensors"),
    ("_draws", "_files", "_machine"),
    ("_context",),
    ("_config",),
    ("_hints", "_types"),
    ("_errors",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
LONGEST_FILE = 400
LONGEST_FUNCTION = {"triton/kernels.py": 90}
FILES = sorted(PACKAGE.rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> list[str]:
    """Return what a file imports of the package, as dotted names below it."""
    folder = path.relative_to(PACKAGE).parent.parts
    found = []
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            modules = [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            modules = [(f"{module}.{alias.name}".lstrip("."), node.level) for alias in node.names]
        else:
            continue
        for module, level in modules:
            if level:
                above = folder[: len(folder) - level + 1]
                found.append(".".join((*above, module)))
            elif module.partition(".")[0] == NAME:
                found.append("public:" + module.partition(".")[2])
    return found


def violations(path: Path) -> list[str]:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return [name for name in imports(path) if not allowed(name, room, path)]


def allowed(name: str, room: str, path: Path) -> bool:
    if name.startswith("public:"):
        return room == "experiments" and name.removeprefix("public:") in vars(_public)
    first = name.partition(".")[0]
    if first == room:
        return not ("backends" in path.parts and name.startswith("sampler.sampler."))
    if room == "experiments":  # a user of the library, beside the ground
        return RANK.get(first, 0) >= RANK["_images"] or first in ("_drawing", "protection")
    return first not in RANK or RANK[first] > RANK.get(room, -1)


def functions(path: Path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(parse(path)) if isinstance(node, kinds)]


def code_lines(node: ast.FunctionDef) -> int:
    """Return the length of a function without its docstring."""
    documented = ast.get_docstring(node) is not None
    docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if documented else 0
    return node.end_lineno - node.lineno + 1 - docstring


def describe_api() -> str:
    """Return a line per public name, and per public method, with its parameters and defaults."""
    lines = []
    for name, member in sorted(vars(_public).items()):
        if name.startswith("_") or inspect.ismodule(member):
            continue
        lines.append(f"{name}{signature(member)}")
        if inspect.isclass(member):
            own = [n for c in member.__mro__ if not _is_told(c, member) for n in vars(c)]
            for method in sorted({n for n in own if not n.startswith("_")}):
                lines.append(f"  .{method}{signature(getattr(member, method))}")
    return "\n".join(lines) + "\n"


def _is_told(base, member) -> bool:
    """Whether a class's members stand below another public name, or are not ours."""
    above = [c for c in member.__mro__[1:] if vars(_public).get(c.__name__) is c]
    return any(issubclass(c, base) for c in above) or not base.__module__.startswith(NAME)


def signature(member) -> str:
    if not callable(member) or (issubclass(type(member), type) and issubclass(member, Exception)):
        return ""
    found = inspect.signature(member)
    bare = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=found.empty))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    assert violations(path) == []


def test_an_import_upwards_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    for room, text in {
        "grid": "from ..sampler import warp",
        "sampler/backends": "from ..sampler import warp",
        "experiments": "from spatial_transformers.grid.transformation import Transformation",
    }.items():
        path = tmp_path / room / "module.py"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        assert violations(path), text


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_lengths(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
    longest = LONGEST_FUNCTION.get("/".join(path.parts[-2:]), 60)
    assert [f.name for f in functions(path) if code_lines(f) > longest] == []


@pytest.mark.traced  # the import hook wraps what is described here
def test_public_api_is_the_snapshot():
    assert describe_api() == SNAPSHOT.read_text(), "if meant: python tests/test_house.py"


def test_importing_the_package_imports_no_extra():
    extras = (
        "lightning matplotlib PIL sklearn safetensors tensorboard onnx onnxscript onnxruntime "
        "triton beartype scipy kornia cv2 interpol gradio huggingface_hub"
    )
    code = f"import sys, {NAME}._public; print([m for m in {extras.split()} if m in sys.modules])"
    assert said_by(code) == "[]"


def said_by(code: str) -> str:
    """Return what a process of its own prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("first", ["from {0} import Affine", "import {0}.exporting, {0}.showing"])
def test_the_package_hands_on_all_public_names_whatever_is_imported_first(first):
    code = f"""
import sys, {NAME} as package
assert "torch" not in sys.modules
{first.format(NAME)}
from {NAME} import _public
names = [name for name in vars(_public) if not name.startswith("_")]
assert all(getattr(package, name) is getattr(_public, name) for name in names)
assert set(names) == set(dir(package)) == set(package.__all__)
from {NAME} import *
print(export is package.export, package.grid.Affine is Affine, hasattr(package, "Afine"))
"""
    assert said_by(code) == "True True False"


if __name__ == "__main__":
    SNAPSHOT.write_text(describe_api())
