"""Tables of test errors: mean and spread over seeds, in Markdown."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any


def error_table(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return a row per model, from the metrics of its runs.

    Example:
        >>> seeds = [{"test_error": e, "parameters": 9} for e in (4.0, 5.0)]
        >>> print(error_table({"cnn": seeds}))
        | model | parameters | seeds | test error (%) | spread (%) |
        | --- | ---: | ---: | ---: | ---: |
        | cnn | 9 | 2 | 4.50 | 0.71 |

    """
    rows = [
        "| model | parameters | seeds | test error (%) | spread (%) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for model, metrics in runs.items():
        errors = [m["test_error"] for m in metrics]
        spread = f"{stdev(errors):.2f}" if len(errors) > 1 else "–"
        parameters = f"{metrics[0]['parameters']:,}"
        rows.append(f"| {model} | {parameters} | {len(errors)} | {mean(errors):.2f} | {spread} |")
    return "\n".join(rows)
