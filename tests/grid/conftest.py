"""Tests that ask for a `family` run once per transformation of `contract.py`."""


def pytest_generate_tests(metafunc):
    if "family" in metafunc.fixturenames:
        from .contract import FAMILIES  # not before the import hook of `--typed` is in place

        metafunc.parametrize("family", FAMILIES, ids=lambda family: family.name)
