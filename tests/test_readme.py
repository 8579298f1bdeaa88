"""The README's Python runs as printed, and starts before line 35."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 2
    scope = {}
    for block in blocks:
        exec(block, scope)
    assert scope["v"].shape == (8, 1, 28, 28)
    assert scope["grid"].shape == (1, 28, 28, 2)


def test_length():
    lines = README.read_text().splitlines()
    assert lines.index("```python") < 35
    assert len(lines) <= 120
