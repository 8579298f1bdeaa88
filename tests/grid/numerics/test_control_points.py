"""Layouts of control points and the checks of them; oracles: NumPy's linspace and meshgrid."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import InputError
from spatial_transformers.grid.numerics.control_points import (
    check_points,
    mesh_counts,
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


@pytest.mark.parametrize("margin", [0.05, (0.02, 0.1), [0, 0.25], np.float64(0.125)])
def test_a_margin_sets_points_in_by_a_share_of_the_extent(margin):
    """Oracle: linspace from m to 1 - m of an extent from 0 to 1."""
    mx, my = margin if isinstance(margin, tuple | list) else (margin, margin)
    found = (text_rows(10, margin=margin).numpy() + 1) / 2
    np.testing.assert_allclose(found[:5, 0], np.linspace(mx, 1 - mx, 5), rtol=0, atol=1e-15)
    np.testing.assert_allclose(found[5:, 0], found[:5, 0], rtol=0, atol=0)
    np.testing.assert_allclose(found[:5, 1], my, rtol=0, atol=1e-15)
    np.testing.assert_allclose(found[5:, 1], 1 - my, rtol=0, atol=1e-15)
    assert_identical(text_rows(10, margin=0.0), text_rows(10))


@pytest.mark.traced
@pytest.mark.parametrize("margin", [0.5, -0.1, math.nan, (0.1,), (0.1, 0.6), "0.1", None])
def test_margins_that_cannot_be(margin):
    with pytest.raises(InputError, match=r"text_rows\(margin=.* share of the extent from 0"):
        text_rows(margin=margin)


@pytest.mark.parametrize("counts", [(2, 5), (4, 4), (3, 2)])
def test_a_mesh_is_counted(counts):
    regular = regular_points(counts, 2)
    uneven = regular.sign() * regular.abs() ** 1.5
    assert mesh_counts(regular) == mesh_counts(uneven) == counts
    for other in (regular.flip(0), regular.flip(1), -regular, regular[1:], regular[:-1]):
        assert mesh_counts(other) is None
    moved = regular.clone()
    moved[-1, 0] += 0.01
    assert mesh_counts(moved) is None


def test_what_is_no_mesh():
    assert mesh_counts(torch.rand(9, 2)) is None
    assert mesh_counts(torch.stack((torch.arange(5.0), torch.zeros(5)), 1)) is None
    assert mesh_counts(regular_points(3, 3)) is None


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
