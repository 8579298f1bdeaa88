"""Layouts of control points and the checks of them; oracles: NumPy's linspace and meshgrid."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import InputError
from spatial_transformers.grid.numerics.control_points import (
    check_points,
    regular_points,
    text_rows,
)


@pytest.mark.parametrize(("counts", "ndim"), [(4, 2), ((5, 3), 2), (3, 3), ([2, 3, 4], 3)])
def test_regular_points_are_the_mesh_grid_with_x_fastest(counts, ndim):
    per_axis = (counts,) * ndim if isinstance(counts, int) else counts
    axes = [np.linspace(-1, 1, n) for n in per_axis]
    mesh = np.meshgrid(*axes, indexing="ij")[::-1]
    expected = np.stack([axis.ravel() for axis in mesh], -1)
    np.testing.assert_allclose(regular_points(counts, ndim), expected, rtol=0, atol=1e-15)


def test_regular_points_are_symmetric_and_reach_the_ends():
    points = regular_points((7, 4), 2)
    assert_close(points, -points.flip(0), rtol=0, atol=1e-15)
    assert_identical(points.amax(0), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("count", [4, 6, 20])
def test_text_rows_run_along_both_edges(count):
    top, bottom = text_rows(count).chunk(2)
    along = torch.linspace(-1, 1, count // 2, dtype=torch.float64)
    assert_identical(top, torch.stack((along, torch.full_like(along, -1)), 1))
    assert_identical(bottom, torch.stack((along, torch.ones_like(along)), 1))


def test_text_rows_are_20_by_default():
    assert text_rows().shape == (20, 2)


@pytest.mark.parametrize("kind", ["float32", "array", "list"])
def test_points_come_back_in_float64(kind):
    points = [[0.0, 0.5], [1.0, 0.25], [-1.0, 1.0]]
    given = {"float32": torch.tensor(points), "array": np.array(points), "list": points}[kind]
    assert_identical(check_points(given, 2, 3, "A map"), torch.tensor(points).double())


def test_points_are_a_copy():
    given = torch.rand(5, 2, dtype=torch.float64)
    found = check_points(given, 2, 3, "A map")
    given.zero_()
    assert found.abs().min() > 0


@pytest.mark.traced
@pytest.mark.parametrize(
    ("counts", "ndim"), [(1, 2), ((3, 1), 2), ((3, 3), 3), (True, 2), (2.5, 2)]
)
def test_a_grid_that_cannot_be(counts, ndim):
    with pytest.raises(InputError, match=r"control points was asked for.*at least 2"):
        regular_points(counts, ndim)


@pytest.mark.traced
@pytest.mark.parametrize("count", [2, 7, 0, True])
def test_rows_that_cannot_be(count):
    with pytest.raises(InputError, match="give an even number from 4"):
        text_rows(count)


LINE = [[0.1 * i, 0.3 - 0.2 * i] for i in range(5)]
SQUARE = [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]


@pytest.mark.traced
@pytest.mark.parametrize(
    ("points", "message"),
    [
        (SQUARE[:2], "2 control points; give at least 3"),
        ([[0.0, 1.0, 2.0]] * 3, r"shape \(3, 3\); give \(K, 2\)"),
        ([0.0, 1.0], r"shape \(2,\); give \(K, ndim\)"),
        ([[0.0, 1.0], [0.0]], "no table of numbers"),
        ("points", "no table of numbers"),
        ([*SQUARE, [float("nan"), 0], [0, float("inf")]], "not finite: 4, 5$"),
        ([*SQUARE, [1, -1], [0, 0], [-1, 1 + 1e-8]], "coincide: 1 and 4, 2 and 6; leave one"),
        (LINE, r"all lie on one line: 0 \(0.0, 0.3\), 1 \(0.1, 0.1\), .*4 \(0.4, -0.5\); give"),
    ],
)
def test_points_that_define_no_map(points, message):
    with pytest.raises(InputError, match=f"^A map was given.*{message}"):
        check_points(points, 2, 3, "A map")


@pytest.mark.traced
def test_points_of_a_plane_define_no_map_of_volumes():
    points = torch.rand(12, 2, dtype=torch.float64) @ torch.rand(2, 3, dtype=torch.float64)
    with pytest.raises(InputError, match=r"all lie on one plane: 0 .*, 7 .*, …; give"):
        check_points(points, 3, 4, "A map")
    points[3, 1] += 0.01
    check_points(points, 3, 4, "A map")
