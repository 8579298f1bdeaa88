"""The README's Python runs as printed, and its table is that of the committed results."""

import json
import re
from pathlib import Path

from spatial_transformers.experiments.registry import named
from spatial_transformers.experiments.table import error_table

README = Path(__file__).parents[1] / "README.md"
RESULTS = README.parent / "docs" / "results" / "rotated-digits.json"


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


def test_table_is_of_the_committed_results():
    assert (
        error_table(json.loads(RESULTS.read_text()), named("rotated-digits").headline)
        in README.read_text()
    )
