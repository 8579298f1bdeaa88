"""The cases of `stn bench`, in groups; each group is a module of cases."""

from collections.abc import Mapping, Sequence
from functools import cache

from .. import InputError
from . import cuda, families, kernels, peers, shapes, sizes, splines, thin_plate_spline
from .cases import Case


@cache
def groups() -> Mapping[str, Mapping[str, Case]]:
    """Return the cases of each group, by name."""
    modules = (shapes, sizes, peers, splines, kernels, families, thin_plate_spline, cuda)
    return {
        module.__name__.rpartition(".")[2].replace("_", "-"): {c.name: c for c in module.CASES}
        for module in modules
    }


def all_cases() -> dict[str, Case]:
    """Return every case by name."""
    return {name: case for group in groups().values() for name, case in group.items()}


def find(names: Sequence[str]) -> list[Case]:
    """Return the cases of these names, or of groups of these names.

    Raises:
        InputError: for an unknown name, with those that there are.

    """
    known = {name: [case] for name, case in all_cases().items()}
    known |= {name: list(group.values()) for name, group in groups().items()}
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"case {unknown[0]!r} was asked for; groups: {', '.join(groups())}; "
            f"cases: {', '.join(all_cases())}"
        )
    return list({case.name: case for name in names for case in known[name]}.values())
