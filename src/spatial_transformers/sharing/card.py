"""The card of a shared model, which the Hub shows: facts for its search, then words and code."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .._errors import InputError
from .._files import require_regular

CARD = "README.md"
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


class Card(NamedTuple):
    """What a card says.

    Args:
        title: of the model, a line.
        says: what it is, in a sentence or two.
        code: Python that loads and runs it.
        made: what it was made with, as it prints.
        license: its name on the Hub, as `apache-2.0`.
        numbers: by what they tell.
        picture: a file, which is copied.
        pipeline: the Hub's name of what it does.

    """

    title: str
    says: str
    code: str
    made: str
    license: str | None = None
    numbers: Mapping[str, Any] = {}
    picture: Path | None = None
    pipeline: str | None = None

    @property
    def _picture_name(self) -> str:
        return "" if self.picture is None else f"picture{self.picture.suffix.lower()}"

    def check(self) -> None:
        """Refuse a picture that is none.

        Raises:
            InputError: naming it.

        """
        if self.picture is None:
            return
        require_regular(self.picture)
        if not self.picture.is_file() or self.picture.suffix.lower() not in _PICTURES:
            raise InputError(
                f"{self.picture}: no picture for a card; give a file that ends in "
                f"{', '.join(_PICTURES)}"
            )

    def write(self, temporary: Path, folder: Path) -> None:
        """Write card and picture for a folder into its temporary one; leave a card as it is."""
        if (folder / CARD).exists():
            return
        (temporary / CARD).write_text(str(self), encoding="utf-8")
        if self.picture is not None:
            shutil.copyfile(self.picture, temporary / self._picture_name)

    def __str__(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from ("---", "library_name: spatial-transformers")
        for key, value in (("pipeline_tag", self.pipeline), ("license", self.license)):
            if value is not None:
                yield f"{key}: {json.dumps(value)}"
        yield from ("tags:", "- spatial-transformer")
        yield from ("---", "", f"# {self.title}", "", self.says, "")
        if self.picture is not None:
            yield from (f"![What the transformer does]({self._picture_name})", "")
        yield from ("```python", self.code.strip(), "```", "")
        if self.numbers:
            yield from ("| | |", "| --- | ---: |")
            yield from (f"| {_cell(name)} | {_cell(n)} |" for name, n in self.numbers.items())
            yield ""
        yield from ("It was made with:", "", "```", self.made, "```")


def _cell(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
