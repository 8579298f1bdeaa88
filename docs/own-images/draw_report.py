"""Draws what a browser shows of a run's report; needs Chromium.

python docs/own-images/draw_report.py runs/signs docs/own-images/report.png
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from spatial_transformers._drawing import few_colours
from spatial_transformers._files import whole
from spatial_transformers.experiments import report

_SIZE = 1060, 2300  # pixels of the browser's window
_COLOURS = 128


def draw(run: Path, path: Path) -> None:
    """Write the report of a run, open it from disk, and keep what is seen."""
    with TemporaryDirectory() as folder:
        page, seen = Path(folder) / "report.html", Path(folder) / "seen.png"
        report.write(run, page)
        command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars"]
        size = "--window-size={},{}".format(*_SIZE)
        subprocess.run([*command, size, f"--screenshot={seen}", page.as_uri()], check=True)
        with Image.open(seen) as image, whole(path) as temporary:
            few_colours(image, _COLOURS).save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
