"""Make the tables of these pages anew from the results beside them: `python docs/renew_tables.py`.

`make bench` measures those of `performance.md`; the other results name their command on their page.
"""

import json
from pathlib import Path

from spatial_transformers.benchmarks.tables import TABLES, renewed
from spatial_transformers.experiments import reproduce
from spatial_transformers.experiments.registry import EXPERIMENTS, named
from spatial_transformers.experiments.table import (
    Result,
    columns,
    details,
    independent,
    overview,
    parts,
    places,
    poses,
    summary,
)

DOCS = Path(__file__).parent
RESULTS = DOCS / "results"
_TABLES = {"poses": poses, "parts": parts, "places": places}
_SCORES = {"details": details, "columns": columns, "independent": independent}


def table(results: str, name: str) -> str:
    """Return a table of measurements, or of an experiment's cells: all, or those of one model."""
    if results == "experiments":
        run = [name for name in EXPERIMENTS if (RESULTS / name).is_dir()]
        return summary((_found(name), named(name).headline) for name in run)
    if not (RESULTS / results).is_dir():
        return TABLES[name](json.loads((RESULTS / f"{results}.json").read_text()))
    found = _found(results)
    metric = named(results).headline
    if name in _TABLES:
        return _TABLES[name](found)
    if name in _SCORES:
        return _SCORES[name](found, metric)
    models = {result.cell.recipe.model for result in found}
    return overview([r for r in found if name not in models or name == r.cell.recipe.model], metric)


def _found(experiment: str) -> list[Result]:
    return reproduce.finished(reproduce.cells(experiment), RESULTS / experiment)


def main() -> None:
    """Write every page that has changed."""
    for page in (DOCS.parent / "README.md", *DOCS.rglob("*.md")):
        before = page.read_text()
        if (after := renewed(before, table)) != before:
            page.write_text(after)
            print(page)


if __name__ == "__main__":
    main()
