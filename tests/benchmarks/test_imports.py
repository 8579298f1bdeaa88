"""Files of benchmarks/ import one way; oracle: the imports that are written in them."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from spatial_transformers import benchmarks

FOLDER = Path(benchmarks.__file__).parent


def _imported(text, names):
    """Return the files of a folder that a text imports, within functions too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {module.partition(".")[0] for module in modules}
    return found & names


def _order(texts):
    """Return the names with those first that others import; CycleError where there is a circle."""
    graph = {name: _imported(text, set(texts)) for name, text in texts.items()}
    return list(TopologicalSorter(graph).static_order())


def test_no_circle():
    order = _order({path.stem: path.read_text() for path in FOLDER.glob("*.py")})
    assert order.index("cases") < order.index("warps") < order.index("registry")


@pytest.mark.parametrize("back", ["from . import a", "def f():\n    from .a import x"])
def test_a_circle_is_found(back):
    with pytest.raises(CycleError):
        _order({"a": "from .b import y", "b": back})
