"""Results for people: lines as they come, and the tables of the documentation's pages."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .cases import BOTH, FORWARD, PASSES
from .hostile import verdict
from .measure import Found, Row
from .registry import groups

_MARKED = re.compile(r"(<!-- table: (\S+) (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def lines(found: Found) -> list[str]:
    """Return a line per row: times, their ratio, how many copies ours takes, and memory."""
    shown = [_line(row) for row in found.rows]
    return shown + [
        f"{fact['case']}, {fact['pass']}: {fact['rival']} is absent: {fact['reason']}"
        for fact in found.absent
    ]


def _line(row: Row) -> str:
    ratio = "another task" if row["verified"] is None else f"{_figure(row['ratio'])}×"
    memory = f"{_figure(row['ours_peak_mib'])} and {_figure(row['rival_peak_mib'])} MiB"
    return (
        f"{row['case']}, {row['pass']}: {_figure(row['ours_ms'])} ms ({row['backend'] or 'ours'}), "
        f"{row['rival']} {_figure(row['rival_ms'])} ms: {ratio} (medians "
        f"{_figure(row['median_ratio'])}×); {_figure(_copies(row))} copies; {memory}"
    )


def renewed(page: str, table: Callable[[str, str], str]) -> str:
    """Return a page in which the tables between marks are made anew.

    Marks are `<!-- table: RESULTS NAME -->` and `<!-- end -->`; `table` gives the table of that
    name from those results.
    """

    def marked(match: re.Match[str]) -> str:
        start, results, name, end = match.groups()
        return f"{start}{table(results, name)}\n{end}"

    return _MARKED.sub(marked, page)


def _where(found: Mapping[str, Any]) -> str:
    """Return a sentence on how results were measured."""
    versions = [f"{name} {v}" for name, v in found["versions"].items() if v]
    commit = f", commit {found['commit']}" if found["commit"] else ""
    return (
        f"Measured on {found['machine']}, {found['device']}, {found['threads']} threads, "
        f"{found['repeats']} repeats, with {', '.join(versions)}{commit}."
    )


def _times(found: Mapping[str, Any], group: str) -> str:
    """Return times of ours and rivals, their ratio, and how many copies ours takes."""
    heads = "ours ms", "rival ms", "ratio", "copies"

    def cells(row: Row | None) -> list[float | None]:
        if row is None:
            return [None] * len(heads)
        return [row["ours_ms"], row["rival_ms"], row["ratio"], _copies(row)]

    return _compared(found, group, heads, cells)


def _memory(found: Mapping[str, Any], group: str) -> str:
    """Return peak memory of ours and rivals."""

    def cells(row: Row | None) -> list[float | None]:
        return [row[name] if row else None for name in ("ours_peak_mib", "rival_peak_mib")]

    return _compared(found, group, ("ours MiB", "rival MiB"), cells)


def _compared(
    found: Mapping[str, Any],
    group: str,
    heads: Sequence[str],
    cells: Callable[[Row | None], list[float | None]],
) -> str:
    """Return a row per case and rival, with the cells of either pass beside each other."""
    rows = {(row["case"], row["rival"], row["pass"]): row for row in found["rows"]}
    pairs = dict.fromkeys(key[:2] for key in rows if key[0] in groups()[group])
    titles = [f"{name}: {head}" for name in ("forward", "and backward") for head in heads]
    body = [
        [
            f"`{case}`",
            rival,
            *(_figure(c) for w in PASSES for c in cells(rows.get((case, rival, w)))),
        ]
        for case, rival in pairs
    ]
    return _markdown(["case", "rival", *titles], body, 2)


def _absent(found: Mapping[str, Any]) -> str:
    """Return why rivals are absent, a line each."""
    said = {f"- {a['rival']}, `{a['case']}`: {a['reason']}": None for a in found["absent"]}
    return "\n".join(said) or "None."


def _kernels(found: Mapping[str, Any], columns: Mapping[str, tuple[str, str]]) -> str:
    """Return times as multiples of bilinear's, and memory; each head has a case and a pass."""
    picked = {
        head: [row for row in found["rows"] if (row["case"], row["pass"]) == key]
        for head, key in columns.items()
    }
    titles = [f"{head}: {what}" for head in columns for what in ("median", "best", "MiB")]
    first, *_ = picked.values()
    body = [["bilinear"], *([row["rival"]] for row in first)]
    for rows in picked.values():
        body[0] += ["1.0", "1.0", f"{rows[0]['ours_peak_mib']:.0f}"]
        for line, row in zip(body[1:], rows, strict=True):
            line += [_figure(row["median_ratio"]), _figure(row["ratio"])]
            line.append(f"{row['rival_peak_mib']:.0f}")
    return _markdown(["", *titles], body, 1)


def _markdown(titles: Sequence[str], body: Sequence[Sequence[str]], names: int) -> str:
    marks = [" --- "] * names + [" ---: "] * (len(titles) - names)
    head = [f"| {' | '.join(titles)} |".replace("|  |", "| |"), f"|{'|'.join(marks)}|"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in body])


def _copies(row: Row) -> float | None:
    return row["ours_ms"] / row["floor_ms"] if row["floor_ms"] else None


def _figure(number: float | None) -> str:
    """Return two digits or the whole part; a dash for None."""
    if number is None:
        return "–"
    if number >= 9.95:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 0.995 else f"{number:.2g}"


#: What a page may show of results, by name.
TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "where": _where,
    "hostile": verdict.table,
    "hostile-summary": verdict.summary,
    "absent": _absent,
    **{
        name: partial(_times, group=name)
        for name in ("shapes", "sizes", "peers", "splines", "cuda")
    },
    **{f"{name}-memory": partial(_memory, group=name) for name in ("shapes", "peers", "cuda")},
    "kernels-turned": partial(
        _kernels,
        columns={"forward": ("kernels-turned", FORWARD), "and backward": ("kernels-turned", BOTH)},
    ),
    "kernels-shrunk": partial(
        _kernels,
        columns={f"by {n}": (f"kernels-shrunk-{n}", FORWARD) for n in (2, 4)},
    ),
}
