"""`python -m benchmarks [NAME ...] [--repeats N] [--out FILE]`."""

import argparse
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from spatial_transformers.experiments.files import write_json

from .measure import UnequalError, compare
from .registry import all_cases


def main() -> int:
    """Compare, print a table, and write what was found."""
    cases = all_cases()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(cases)}")
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of each contender")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(cases))
    if unknown or asked.repeats < 1:
        parser.error(f"unknown: {', '.join(unknown)}" if unknown else "--repeats is at least 1")
    found, failed = [], False
    for name in asked.names or cases:
        try:
            found.append(compare(cases[name], asked.repeats))
        except UnequalError as error:
            failed = True
            print(error, file=sys.stderr)
        else:
            print(table(found[-1]), flush=True)
    if asked.out and not failed:
        machine = {"torch": torch.__version__, "cpu": platform.processor() or platform.machine()}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(asked.out, {**machine, "cases": found})
    return int(failed)


def table(facts: dict[str, Any]) -> str:
    """Return the lines of one case: the median time, the ratio to ours, memory, difference."""
    lines = [f"{facts['case']}, {facts['threads']} threads"]
    for name, row in {"ours": facts["ours"], **facts["rivals"]}.items():
        times = f"{1e3 * row['seconds']:10.1f} ms (best {1e3 * row['best']:.1f})"
        ratios = (
            f"{row['ratio']:.2f}× ({row['ratio of the best runs']:.2f}×)" if name != "ours" else ""
        )
        line = f"  {name:<14}{times:<32}{ratios:<20}{row['peak beyond the output (MiB)']:8.1f} MiB"
        if "difference" in row:
            line += f"   within {row['difference']:.1g} of ours"
        lines.append(line + ("   (1 run)" if row["runs"] == 1 else ""))
    lines += [f"  {name:<14} absent: {reason}" for name, reason in facts["absent"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
