"""Run the notebooks of this folder, and keep what they print and draw in them.

    python docs/run_notebooks.py [NAME…]

An error in a cell ends it, and leaves the notebook as it was.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

FOLDER = Path(__file__).parent / "notebooks"


def run(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with what its cells give, run one after the other in a new kernel."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, record_timing=False).execute()
    return notebook


if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parents[1] / "src"))
    from spatial_transformers._files import whole

    for path in tqdm(sorted(FOLDER.glob("*.ipynb"))):
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            notebook = run(path)
            with whole(path) as temporary:
                nbformat.write(notebook, temporary)
