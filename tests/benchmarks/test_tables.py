"""Tables of results, against rows written by hand."""

import io

import pytest

from spatial_transformers.benchmarks.measure import Found
from spatial_transformers.benchmarks.progress import Progress
from spatial_transformers.benchmarks.tables import TABLES, lines, renewed


def row(**changes):
    known = {
        "case": "size-1x1x8x8",
        "pass": "forward",
        "backend": "cpu",
        "ours_ms": 0.5,
        "ours_peak_mib": 12.3,
        "floor_ms": 0.1,
        "rival": "slow",
        "rival_ms": 2.0,
        "rival_peak_mib": None,
        "ratio": 4.0,
        "median_ratio": 3.456,
        "verified": True,
    }
    return {**known, **changes}


FOUND = {
    "rows": [
        row(),
        row(**{"pass": "forward+backward", "ours_ms": 1, "ratio": 2.0, "rival_peak_mib": 40.0}),
        row(case="affine-8x3x224x224"),
    ],
    "absent": [{"case": "x", "pass": "forward", "rival": "gone", "reason": "no"}],
}


def test_lines():
    absent = Found([row(), row(verified=None)], FOUND["absent"])
    first, other, missing = lines(absent)
    assert first == (
        "size-1x1x8x8, forward: 0.5 ms (cpu), slow 2.0 ms: 4.0× (medians 3.5×); 5.0 copies; "
        "12 and – MiB"
    )
    assert "slow 2.0 ms: another task (" in other
    assert missing == "x, forward: gone is absent: no"


def table(results, name):
    assert results == "some"
    return TABLES[name](FOUND)


def test_tables_of_a_page_are_made_anew():
    page = "a\n<!-- table: some sizes -->\nold\n<!-- end -->\nb\n"
    again = renewed(page, table)
    start, head, _, *body, end, last, _ = again.split("\n")[1:]
    assert (start, end, last) == ("<!-- table: some sizes -->", "<!-- end -->", "b")
    assert head.startswith("| case | rival | forward: ours ms | forward: rival ms | forward: ratio")
    assert body == ["| `size-1x1x8x8` | slow | 0.5 | 2.0 | 4.0 | 5.0 | 1.0 | 2.0 | 2.0 | 10 |"]
    assert renewed(again, table) == again


def test_missing_figures_are_dashes():
    page = "<!-- table: some shapes-memory -->\n<!-- end -->"
    *_, last, _ = renewed(page, table).split("\n")
    assert last == "| `affine-8x3x224x224` | slow | 12 | – | – | – |"
    two = renewed(f"{page}\ntext\n{page}", table)
    assert two.count("| slow |") == 2
    assert "\ntext\n" in two


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch, terminal):
    screen = io.StringIO()
    screen.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", screen)
    with Progress(2) as progress:
        for step in ("a", "b"):
            progress.show(step)
    shown = screen.getvalue()
    assert ("█" in shown) == terminal
    assert ("2/2 b\n" in shown) == (not terminal)
