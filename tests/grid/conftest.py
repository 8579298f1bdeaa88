"""Tests that ask for a family run once per transformation of `contract.py`, or per one able to."""

#: The name of a fixture, and what a family must do for the tests that ask for it.
ASKED = {
    "family": lambda family: True,
    "neutral": lambda family: family.neutral,
    "invertible": lambda family: "inverse" in family.closed,
    "composable": lambda family: "compose" in family.closed,
    "open_family": lambda family: len(family.closed) < 2,
    "singular": lambda family: family.singular,
}


def pytest_generate_tests(metafunc):
    for name, able in ASKED.items():
        if name in metafunc.fixturenames:
            from .contract import FAMILIES  # not before the import hook of `--typed` is in place

            families = [family for family in FAMILIES if able(family)]
            metafunc.parametrize(name, families, ids=lambda family: family.name)
