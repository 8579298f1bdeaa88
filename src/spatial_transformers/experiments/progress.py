"""How far a long job is: a bar on a terminal, a plain line each minute elsewhere."""

import sys
from collections.abc import Iterable
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm

MINUTE = 60.0  # seconds between lines that no terminal shows
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s [{elapsed}, {remaining} left]"


class Bar(tqdm):
    """tqdm's bar on standard error; where that is no terminal, a line each minute.

    A file that standard error goes to would keep every state of a bar. A job of less than a minute
    leaves nothing there.

    Args:
        steps: what is gone through; nothing if the steps are counted by `update`.
        doing: what is done, in a word or two.
        total: how many steps there are; the length of `steps` unless given.
        unit: of the steps.

    """

    def __init__(
        self, steps: Iterable[Any] | None = None, doing: str = "", *, unit: str, **options: Any
    ):
        if not sys.stderr.isatty():
            options |= {"file": _Lines(), "bar_format": _LINE}
            options |= {"mininterval": MINUTE, "delay": MINUTE}
        super().__init__(steps, doing, unit=unit, **options)


@rank_zero_only
def tell(line: str) -> None:
    """Print a line on standard error, once where several processes train together."""
    print(line, file=sys.stderr, flush=True)


class _Lines:
    """Takes what tqdm draws in one place, and writes a line of each state."""

    def write(self, text: str) -> None:
        """Write a line, unless there is nothing to see in it."""
        if line := text.strip():
            print(line, file=sys.stderr)

    def flush(self) -> None:
        """Write at once."""
        sys.stderr.flush()
