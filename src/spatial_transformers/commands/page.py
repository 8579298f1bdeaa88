"""Serve a page to play with: draw, bend, straighten, explain.

Examples:
  stn page
  stn page runs/photos --port 8000
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, and where the page is served."""
    parser.add_argument(
        "run_folder", metavar="RUN", type=Path, nargs="?", help="folder made by stn train (digits)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="0 for any that is free (7860)")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, which is how it ends."""
    from ..experiments.page.serve import serve

    try:
        serve(args.run_folder, host=args.host, port=args.port)
    except KeyboardInterrupt:
        print()  # a line of its own for what the terminal echoes
    return 0
