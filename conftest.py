"""The suite's two passes, and the traps that every test runs under.

`pytest --typed` installs jaxtyping's import hook, which checks every annotated shape, and leaves
out the tests marked `traced`. `pytest -m traced` runs those on the package as users import it.
Plain `pytest` runs everything without the hook.

What takes seconds is done for a sample of a test's instances, and with `--all` for all of them:
`_sample` says which run of tests marked `costly`, and where derivatives are checked entry by entry.
"""

import sys
from itertools import groupby

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._device import _device_constructors

#: It is read by a type checker, and does not run.
collect_ignore = ["tests/typing/mistakes.py"]
#: Examples of docstrings that trace; other tests carry the mark themselves.
TRACED_EXAMPLES = ("spatial_transformers.exporting.export",)
#: The costly instances that are done in full.
CHOSEN = pytest.StashKey[set[pytest.Item]]()


def pytest_addoption(parser):
    parser.addoption("--typed", action="store_true", help="check shapes; leaves `traced` tests out")
    parser.addoption("--all", action="store_true", help="all instances of what is costly")
    parser.addoption("--table", action="store_true", help="print what holds in the batteries")


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
    _leave_out_costly(config, items)


def _leave_out_costly(config, items):
    """Without `--all` keep, of tests marked `costly`, a sample of their instances."""
    every = config.getoption("--all")
    costly = [item for item in items if item.get_closest_marker("costly")]
    checked = [i for i in items if "check_derivatives" in getattr(i, "fixturenames", ())]
    chosen = {*costly, *checked} if every else {*_sample(costly), *_sample(checked)}
    config.stash[CHOSEN] = chosen
    left_out = set(costly) - chosen
    left_out |= {i for i in items if i.get_closest_marker("only_all") and not every}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _sample(items):
    """Yield instances of each test in which every kind of every parameter's values occurs.

    The k-th takes the k-th kind of each parameter, those with fewer kinds beginning anew.
    """
    for _, group in groupby(items, lambda item: item.nodeid.partition("[")[0]):
        first = {}
        for item in group:
            first.setdefault(_kinds(item), item)
        columns = [list(dict.fromkeys(column)) for column in zip(*first, strict=True)]
        for k in range(max(map(len, columns), default=1)):
            yield first[tuple(column[k % len(column)] for column in columns)]


def _kinds(item):
    """Return the values, or their `kind`, of each parameter, or of those that go together.

    Instances share the objects that `parametrize` was given.
    """
    params = dict(getattr(getattr(item, "callspec", None), "params", {}))
    names = [mark.args[0] for mark in item.iter_markers("parametrize")]
    names = [found.split(",") if isinstance(found, str) else found for found in names]
    together = [[params.pop(name.strip()) for name in found] for found in names]
    values = [*together, *([value] for value in params.values())]
    return tuple(tuple(getattr(v, "kind", id(v)) for v in found) for found in values)


def pytest_terminal_summary(terminalreporter, config):
    """With `--table`, print row × check: ✓ held, ✗ did not, empty where it has no meaning.

    Tests of a battery have both as the property `cell`.
    """
    if not config.getoption("--table"):
        return
    cells = {}
    for outcome, mark in (("passed", "✓"), ("failed", "✗"), ("error", "✗")):
        for report in terminalreporter.stats.get(outcome, []):
            cell = dict(getattr(report, "user_properties", ())).get("cell")
            if cell:
                cells[tuple(cell)] = mark if cells.get(tuple(cell)) != "✗" else "✗"
    rows, checks = ({key[i]: None for key in cells} for i in (0, 1))
    for number, check in enumerate(checks, 1):
        terminalreporter.write_line(f"{number:>3} {check}")
    terminalreporter.write_line(" " * 28 + "".join(f"{n:>3}" for n in range(1, len(checks) + 1)))
    for row in sorted(rows):
        marks = "".join(f"{cells.get((row, check), ''):>3}" for check in checks)
        terminalreporter.write_line(f"{row:<28}{marks}")


@pytest.fixture
def check_derivatives(request):
    """Compare first and second derivatives with differences along a direction.

    First ones are compared entry by entry, too, in a sample of a test's instances, and with `--all`
    both, in all. Where `alone` is given, that is done for these inputs only.
    """
    whole = request.node in request.config.stash[CHOSEN]
    every = request.config.getoption("--all")

    def check(function, inputs, *, alone=None, **options):
        for test, entry_by_entry in ((gradcheck, whole), (gradgradcheck, every)):
            if not entry_by_entry or alone:
                assert test(function, inputs, fast_mode=True, **options)
            if entry_by_entry:
                assert test(function, alone or inputs, **options)

    return check


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
