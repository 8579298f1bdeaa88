"""A run as one page of HTML that needs no other file: what was learnt, how well, and how."""

from pathlib import Path

from spatial_transformers import InputError

from ..._files import whole
from .findings import find
from .page import written


def write(out: Path, path: Path, *, data: Path | None = None) -> None:
    """Write the report of a finished run.

    Args:
        out: the run's folder. If it has one of `stn train --baseline` in it, both are compared.
        path: ends in .html.
        data: the folder of the data set, if it has moved.

    Raises:
        InputError: if the run is not finished or damaged, or for another name of a file.

    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path} was asked for; give a name that ends in .html")
    page = written(find(out, data))
    with whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
