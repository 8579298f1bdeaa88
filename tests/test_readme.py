"""The README's Python runs as printed, and its table is that of the committed results."""

import json
import re
from pathlib import Path
from statistics import mean

from spatial_transformers.experiments.registry import named
from spatial_transformers.experiments.table import error_table

README = Path(__file__).parents[1] / "README.md"
RESULTS = README.parent / "docs" / "results" / "small-digits.json"


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
        error_table(json.loads(RESULTS.read_text()), named("small-digits").headline)
        in README.read_text()
    )


def test_a_transformer_halves_the_error_of_the_demo():
    """Networks of one size, by one recipe; the CNN had learned what it could."""
    results = json.loads(RESULTS.read_text())
    errors = {model: mean(run["test_error"] for run in runs) for model, runs in results.items()}
    assert errors["st-cnn"] < errors["cnn"] / 2
    pairs = list(zip(results["cnn"], results["st-cnn"], strict=True))
    assert len(pairs) == 3
    for without, behind in pairs:
        assert behind["recipe"] == {**without["recipe"], "model": "st-cnn"}
        assert behind["parameters"] <= without["parameters"]
        course = without["validation"]["error"]
        assert mean(course[-12:-6]) - mean(course[-6:]) < 1
