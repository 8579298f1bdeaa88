"""Tests that ask for a family run once per transformation of `contract.py`, or per one able to."""

import pytest

#: The name of a fixture, and what a family must do for the tests that ask for it.
ASKED = {
    "family": lambda family: True,
    "affine": lambda family: True,
    "neutral": lambda family: family.neutral,
    "invertible": lambda family: "inverse" in family.closed,
    "composable": lambda family: "compose" in family.closed,
    "open_family": lambda family: len(family.closed) < 2,
    "singular": lambda family: family.singular,
}
#: Of all families, those that tests run for by default that ask for `affine`.
AFFINE = ("affine-2d", "affine-3d")


def pytest_generate_tests(metafunc):
    for name, able in ASKED.items():
        if name in metafunc.fixturenames:
            from .contract import FAMILIES  # not before the import hook of `--typed` is in place

            families = [family for family in FAMILIES if able(family)]
            marks = pytest.mark.only_all
            params = [
                pytest.param(family, id=family.name, marks=marks)
                if name == "affine" and family.name not in AFFINE
                else pytest.param(family, id=family.name)
                for family in families
            ]
            metafunc.parametrize(name, params)


def pytest_collection_modifyitems(items):
    """Note the family of each test of the battery, for the table."""
    for item in items:
        for name in ASKED:
            if name in getattr(getattr(item, "callspec", None), "params", {}):
                item.user_properties.append(("family", item.callspec.params[name].name))


def pytest_terminal_summary(terminalreporter, config):
    """With `--table`, print family × check: ✓ held, ✗ did not, empty where it has no meaning."""
    if not config.getoption("--table"):
        return
    cells = {}
    for outcome, mark in (("passed", "✓"), ("failed", "✗"), ("error", "✗")):
        for report in terminalreporter.stats.get(outcome, []):
            family = dict(report.user_properties).get("family")
            if family:
                check = report.nodeid.partition("::test_")[2].partition("[")[0]
                cells[family, check] = mark if cells.get((family, check)) != "✗" else "✗"
    families, checks = ({key[i]: None for key in cells} for i in (0, 1))
    for number, check in enumerate(checks, 1):
        terminalreporter.write_line(f"{number:>3} {check.replace('_', ' ')}")
    terminalreporter.write_line(" " * 28 + "".join(f"{n:>3}" for n in range(1, len(checks) + 1)))
    for family in sorted(families):
        marks = "".join(f"{cells.get((family, check), ''):>3}" for check in checks)
        terminalreporter.write_line(f"{family:<28}{marks}")
