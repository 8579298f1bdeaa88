"""Every notebook runs to its end, and what must hold at its steps holds; it is committed run."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def run(notebook, folder, monkeypatch):
    """Run a notebook's cells in a kernel of its own, as a process of one thread in `folder`."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests run beside it
    monkeypatch.setenv("IPYTHONDIR", str(folder))
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, resources=resources).execute(env=dict(os.environ))


def test_there_are_three():
    assert len(NOTEBOOKS) == 3


@pytest.mark.traced  # the kernel imports the package as users do
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    run(nbformat.read(path, as_version=4), tmp_path, monkeypatch)


@pytest.mark.traced
def test_a_statement_that_does_not_hold_ends_it(tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    with pytest.raises(CellExecutionError, match="AssertionError"):
        run(notebook, tmp_path, monkeypatch)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_gave(path):
    cells = nbformat.read(path, as_version=4).cells
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert counts == [*range(1, len(counts) + 1)]  # run once, from the top to the end
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert path.stat().st_size < 1_500_000
