"""The registry's names, and that every rival gives what ours gives, at sizes that cost nothing."""

import pytest
import torch

from spatial_transformers import Affine, Projective, ThinPlateSpline, VelocityField
from spatial_transformers.benchmarks.cases import AbsentError
from spatial_transformers.benchmarks.equality import UnequalError
from spatial_transformers.benchmarks.families import family
from spatial_transformers.benchmarks.libraries import (
    interpol,
    kornia_plate,
    kornia_warp,
    library,
    opencv,
)
from spatial_transformers.benchmarks.measure import measure
from spatial_transformers.benchmarks.registry import all_cases, find, groups
from spatial_transformers.benchmarks.rivals import basis_matmul, compiled, grid_sample, homography
from spatial_transformers.benchmarks.warps import warp_case

SHAPE, SIZE = (2, 3, 20, 26), (20, 26)
SPLINE = ThinPlateSpline(4)
RIVALS = {
    "affine": (Affine(), SHAPE, grid_sample(), {}),
    "affine, volume": (Affine(3), (2, 1, 7, 8, 9), grid_sample(), {}),
    "affine, channels last": (Affine(), SHAPE, grid_sample(), {"layout": "channels_last"}),
    "affine, shrunk": (Affine(), SHAPE, grid_sample((5, 4)), {"size": (5, 4)}),
    "affine, turned": (Affine(), SHAPE, grid_sample(), {"theta": (0.0, -1, 0, 1, 0.01, 0)}),
    "projective": (Projective(), SHAPE, homography(SIZE), {}),
    "spline": (SPLINE, SHAPE, basis_matmul(SPLINE, SIZE), {}),
    "kornia, affine": (Affine(), SHAPE, kornia_warp(Affine(), SIZE), {}),
    "kornia, projective": (Projective(), SHAPE, kornia_warp(Projective(), SIZE), {}),
    "kornia, spline": (SPLINE, SHAPE, kornia_plate(SPLINE), {}),
    "OpenCV": (Affine(), SHAPE, opencv(Affine(), SIZE), {"layout": "channels_last"}),
    "OpenCV, one channel": (Affine(), (2, 1, *SIZE), opencv(Affine(), SIZE), {}),
    "interpol": (Affine(), (2, 1, 40, 40), interpol(3), {"mode": "bspline3", "margin": 16}),
}


def test_names_are_one_case_each():
    assert sum(map(len, groups().values())) == len(all_cases())
    assert not set(groups()) & set(all_cases())
    assert find(["sizes", "size-1x1x8x8"]) == list(groups()["sizes"].values())


def test_contenders_come_after_what_they_must_equal():
    for case in all_cases().values():
        known = ["ours"]
        for rival in case.rivals:
            assert rival.equal_to in (None, *known), (case.name, rival.name)
            known.append(rival.name)
        assert len(set(known)) == len(known), case.name


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_give_what_ours_gives(name):
    transformation, shape, rival, options = RIVALS[name]
    case = warp_case(name, transformation, shape, rival, **options)
    for which in rival.passes:
        (row,) = measure(case, which, device=torch.device("cpu"), repeats=1).rows
        assert row["verified"]
        assert row["layout"] == options.get("layout", "NCDHW" if len(shape) == 5 else "NCHW")


@pytest.mark.parametrize("name", RIVALS)
def test_a_shift_by_a_fiftieth_of_a_pixel_is_found(name):
    from dataclasses import replace

    transformation, shape, rival, options = RIVALS[name]
    before = rival.convert or (lambda theta: theta)

    def shifted(theta):
        moved = torch.zeros_like(theta)
        moved[:, 2 if len(moved[0]) < 32 else slice(0, None, 2)] = 0.04 / shape[-1]
        return before(theta + moved)

    case = warp_case(name, transformation, shape, replace(rival, convert=shifted), **options)
    with pytest.raises(UnequalError):
        measure(case, "forward", device=torch.device("cpu"), repeats=1)


def test_families_are_multiples_of_an_affine_warp():
    field = VelocityField(2, steps=1)
    rivals = [family(field, SHAPE, warps=warps) for warps in (False, True)]
    case = warp_case("families", Affine(), SHAPE, *rivals)
    for which in rivals[0].passes:
        rows = measure(case, which, device=torch.device("cpu"), repeats=1).rows
        assert [row["rival"] for row in rows] == [f"{field}, grid", f"{field}"]
        assert all(row["ratio"] > 0 and row["verified"] is None for row in rows)


@pytest.mark.traced
def test_a_library_that_is_missing_is_absent():
    with pytest.raises(AbsentError, match="Nothing is not installed"):
        library("no_such_library", "Nothing")


@pytest.mark.traced
def test_what_does_not_compile_is_absent(monkeypatch):
    from torch._dynamo.exc import TorchDynamoException

    def broken(run, **options):
        def call(*inputs):
            raise TorchDynamoException("no compiler\nsecond line")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    run = compiled(grid_sample()).build(torch.device("cpu"))
    with pytest.raises(AbsentError, match=r"^does not compile here \(no compiler\)$"):
        run(torch.zeros(1, 1, 2, 2), torch.zeros(1, 6))
