"""How far a long command is: a bar on a terminal, a line per step elsewhere; on standard error."""

import sys
from types import TracebackType
from typing import TextIO

_WIDTH = 24
_CLEAR = "\r\x1b[K"


class Progress:
    """Counts steps up to `total`; other output is printed by its `print`, which keeps the bar."""

    def __init__(self, total: int):
        self.total, self.done = total, 0
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        """Show nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave an empty line on a terminal."""
        if self._terminal:
            print(_CLEAR, end="", file=sys.stderr, flush=True)

    def show(self, step: str) -> None:
        """Say which step begins."""
        count = f"{self.done + 1}/{self.total}"
        self.done += 1
        if self._terminal:
            full = _WIDTH * (self.done - 1) // self.total
            bar = "█" * full + "·" * (_WIDTH - full)
            print(f"{_CLEAR}{bar} {count} {step}", end="", file=sys.stderr, flush=True)
        else:
            print(f"{count} {step}", file=sys.stderr, flush=True)

    def print(self, text: str, file: TextIO | None = None) -> None:
        """Print a text below earlier output, in place of the bar."""
        if self._terminal:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
        if text:
            print(text, file=file or sys.stdout, flush=True)
