"""Make the tables of these pages anew from the results beside them: `python docs/renew_tables.py`.

`make bench` measures those of `performance.md`; the other results name their command on their page.
"""

import json
from pathlib import Path
from typing import Any

from spatial_transformers.benchmarks.tables import renewed

DOCS = Path(__file__).parent


def read(name: str) -> Any:
    """Return the results of that name."""
    return json.loads((DOCS / "results" / f"{name}.json").read_text())


def main() -> None:
    """Write every page that has changed."""
    for page in DOCS.rglob("*.md"):
        before = page.read_text()
        if (after := renewed(before, read)) != before:
            page.write_text(after)
            print(page)


if __name__ == "__main__":
    main()
