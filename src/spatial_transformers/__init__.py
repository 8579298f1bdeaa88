"""Spatial transformer networks for PyTorch.

Importing the package is quick: the first use of a public name imports the library, and PyTorch with
it. So `stn --help` answers at once.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._public import *

    __version__: str
else:

    def __getattr__(name):
        """Return a public name, and from then on have all of them."""
        if name == "__all__":
            return __dir__()
        if name == "__version__":
            from importlib.metadata import version

            return version("spatial-transformers")
        if not name.startswith("_"):
            globals().update(_names())
        if name not in globals():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name]

    def __dir__():
        return [*_names()]

    def _names():
        from . import _public

        return {name: value for name, value in vars(_public).items() if not name.startswith("_")}
