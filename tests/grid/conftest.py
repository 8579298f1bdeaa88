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


def pytest_itemcollected(item):
    """Note the family and the check of a test of the battery, for the table."""
    for name in ASKED:
        if name in getattr(getattr(item, "callspec", None), "params", {}):
            check = item.originalname.removeprefix("test_").replace("_", " ")
            item.user_properties.append(("cell", (item.callspec.params[name].name, check)))
