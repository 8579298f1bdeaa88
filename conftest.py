"""The suite's two passes, and the traps that every test runs under.

`pytest --typed` installs jaxtyping's import hook, which checks every annotated shape, and leaves
out the tests marked `traced`. `pytest -m traced` runs those on the package as users import it.
Plain `pytest` runs everything without the hook.
"""

import sys

import pytest
import torch
from torch.utils._device import _device_constructors

#: Examples of docstrings that trace; other tests carry the mark themselves.
TRACED_EXAMPLES = ("spatial_transformers.export.export",)


def pytest_addoption(parser):
    parser.addoption("--typed", action="store_true", help="check shapes; leaves `traced` tests out")
    parser.addoption("--all", action="store_true", help="compile every transformation by inductor")
    parser.addoption("--table", action="store_true", help="print transformations × checks")


def pytest_configure(config):
    torch.set_num_threads(1)  # tensors are tiny: a second thread only waits
    if config.getoption("--typed"):
        from jaxtyping import install_import_hook

        assert "spatial_transformers" not in sys.modules
        install_import_hook("spatial_transformers", "typechecker.checked")


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at marks
def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.name in TRACED_EXAMPLES:
            item.add_marker("traced")
    if config.getoption("--typed"):
        traced = [item for item in items if item.get_closest_marker("traced")]
        config.hook.pytest_deselected(items=traced)
        items[:] = [item for item in items if item not in set(traced)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _poison_empty(monkeypatch):
    """Fill uninitialised memory with NaN, so that reading it shows."""
    _device_constructors()  # cached: must know the real ones, for `with torch.device(...)`
    for name in ("empty", "empty_like"):
        make = getattr(torch, name)

        def poisoned(*args, make=make, **kwargs):
            tensor = make(*args, **kwargs)
            if tensor.is_floating_point() and tensor.device.type != "meta":
                with torch.no_grad():
                    tensor.fill_(torch.nan)
            return tensor

        monkeypatch.setattr(torch, name, poisoned)
