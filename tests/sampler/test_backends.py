"""Every backend computes what the reference does; oracle: the reference, by `verify`."""

from collections import defaultdict
from itertools import product
from typing import get_args

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spatial_transformers import Affine, sample, warp
from spatial_transformers.sampler.backends import BACKENDS
from spatial_transformers.sampler.backends.aten import Aten
from spatial_transformers.sampler.backends.fused import Fused
from spatial_transformers.sampler.backends.reference import Reference
from spatial_transformers.sampler.padding import PADDING_MODES
from spatial_transformers.sampler.verify import Situation, cases, check

from .oracles import NAMES

VERIFIED = [b for b in BACKENDS if b.name in NAMES and b.name != "reference"]
OPERATIONS = {"aten": "aten.grid_sampler_"}  # what a backend's own work looks like to torch


def _grouped():
    """Return the cases of every backend by operation, dimensions and padding."""
    groups = defaultdict(list)
    for backend in VERIFIED:
        for case in cases(backend):
            spec = case.spec
            groups[backend, spec.operation, spec.ndim, spec.padding_mode].append(case)
    return groups


GROUPS = _grouped()
battery = pytest.mark.parametrize(
    ("key", "group"),
    GROUPS.items(),
    ids=[f"{b.name}-{operation}-{n}d-{padding}" for b, operation, n, padding in GROUPS],
)


def _spied(backend):
    """Return a copy of a backend, and the list of the specs that it is run with."""
    specs = []

    class Spied(type(backend)):
        def run(self, spec, *args):
            specs.append(spec)
            return super().run(spec, *args)

    return Spied(), specs


def _compare(backend, group):
    backend, specs = _spied(backend)
    faults = [f"{case}: {line}" for case in group for line in check(backend, case)]
    assert specs == [case.spec for case in group]
    assert not faults, "\n".join(faults)


@pytest.mark.traced  # the import hook makes so many small calls several times slower
@battery
def test_agrees_with_the_reference(key, group):
    _compare(key[0], group)


@battery
def test_agrees_where_types_are_checked(key, group):
    """Some cases, of every situation: there are 7 or 8 of them, in a row."""
    _compare(key[0], group[::17])


class _Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def _watch(monkeypatch, backend):
    """Return the list of the passes that a fused backend will run."""
    ran = []
    for name in ("forward", "backward") if isinstance(backend, Fused) else ():
        original = getattr(type(backend), name)

        def watched(*args, name=name, original=original):
            ran.append(name)
            return original(backend, *args)

        monkeypatch.setattr(backend, name, watched)
    return ran


@pytest.mark.parametrize("backend", VERIFIED, ids=lambda backend: backend.name)
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_pinned_backend_does_the_work_itself(monkeypatch, backend, ndim):
    image = torch.randn(1, 1, *[4] * ndim, requires_grad=True)
    theta = Affine(ndim).identity()[None].requires_grad_()
    grid = torch.zeros(1, *[2] * ndim, ndim, requires_grad=True)
    for call in (
        lambda: warp(image, theta, Affine(ndim), backend=backend.name),
        lambda: sample(image, grid, backend=backend.name),
    ):
        mine = _watch(monkeypatch, backend)
        with _Operations() as seen:
            call().sum().backward()
        mine += [name for name in seen.names if name.startswith(OPERATIONS.get(backend.name, "-"))]
        assert len(mine) == 2, seen.names  # forward and backward
        assert "aten.gather.default" not in seen.names


def test_cases_cover_what_a_backend_can():
    """Every option, dtype and situation occurs; the reference itself has nothing to prove."""
    for backend in VERIFIED:
        specs = [case.spec for case in cases(backend)]
        assert len(set(cases(backend))) == len(specs)
        assert not any(backend.why_not(spec) for spec in specs)
    aten = list(cases(Aten()))
    seen = {(c.spec.operation, c.spec.ndim, c.spec.mode, c.spec.padding_mode) for c in aten}
    paddings = set(PADDING_MODES) - {"wrap", "renormalise"}
    due = set(product(("sample", "warp"), (2, 3), ("nearest", "bilinear"), paddings))
    due |= set(product(("sample",), (2,), ("bicubic",), paddings))
    assert seen == due | {("warp", 2, "bicubic", padding) for padding in ("zeros", "constant")}
    assert {c.spec.dtype for c in aten} == set(Aten.tolerance)
    assert {c.situation for c in aten} == set(get_args(Situation))
    assert not list(cases(Reference()))
