"""Piecewise affine maps; oracles: scikit-image, OpenCV's affine maps, SciPy's Delaunay."""

import sys

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from skimage.transform import PiecewiseAffineTransform
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import InputError, PiecewiseAffine
from spatial_transformers.grid.regular import regular_grid

SQUARE = [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]


def _scattered(n=20):
    return torch.rand(n, 2, dtype=torch.float64) * 2 - 1


def _theta(piecewise, n=3, spread=0.1):
    return spread * (torch.rand(n, piecewise.num_parameters, dtype=torch.float64) * 2 - 1)


def _points(n=300, extent=1.0):
    return (torch.rand(1, n, 2, dtype=torch.float64) * 2 - 1) * extent


def test_map_is_that_of_scikit_image():
    vertices, points = _scattered(), _points()
    piecewise = PiecewiseAffine(vertices, outside="nan")
    theta = _theta(piecewise, 1)
    oracle = PiecewiseAffineTransform.from_estimate(
        vertices.numpy(), (vertices + theta.reshape(-1, 2)).numpy()
    )
    expected = torch.from_numpy(oracle(points[0].numpy()))
    inside = torch.from_numpy(Delaunay(vertices.numpy()).find_simplex(points[0].numpy()) >= 0)
    assert 100 < inside.sum() < 290
    moved = piecewise.transform_points(theta, points)[0]
    assert_close(moved[inside], expected[inside], rtol=0, atol=1e-9)
    assert moved[~inside].isnan().all()


def test_a_cell_is_split_in_two_affine_maps():
    piecewise = PiecewiseAffine((2, 2))
    theta = _theta(piecewise, 1)
    points = _points()
    target = np.float32(SQUARE)
    source = target + theta.reshape(-1, 2).numpy().astype(np.float32)
    upper = points[0].sum(1) < 0  # the diagonal from top right to bottom left
    for chosen, corners in ((upper, [0, 1, 2]), (~upper, [1, 2, 3])):
        matrix = torch.from_numpy(cv2.getAffineTransform(target[corners], source[corners]))
        expected = points[0][chosen] @ matrix[:, :2].T + matrix[:, 2]
        found = piecewise.transform_points(theta, points)[0][chosen]
        assert_close(found, expected, rtol=0, atol=1e-6)


def test_points_outside_follow_the_nearest_triangle():
    vertices, points = _scattered(12), _points(200, 2.0)
    piecewise = PiecewiseAffine(vertices)
    theta, triangles = _theta(piecewise, 1), piecewise.mesh.triangles
    found = piecewise.transform_points(theta, points)[0]
    corners = vertices[triangles].numpy().astype(np.float32)
    outside = torch.from_numpy(Delaunay(vertices.numpy()).find_simplex(points[0].numpy()) < 0)
    assert outside.sum() > 100
    sources = (vertices + theta.reshape(-1, 2))[triangles].numpy()
    for point, moved in zip(points[0][outside], found[outside], strict=True):
        distances = [-cv2.pointPolygonTest(c, tuple(point.tolist()), True) for c in corners]
        nearest = np.flatnonzero(np.array(distances) < min(distances) + 1e-5)
        candidates = []
        for t in nearest:
            square = np.c_[vertices[triangles[t]].numpy(), np.ones(3)]
            candidates.append(np.r_[point.numpy(), 1] @ np.linalg.solve(square, sources[t]))
        assert np.abs(np.array(candidates) - moved.numpy()).max(1).min() < 1e-9


@pytest.mark.parametrize("points", [2, 5, (3, 4), (2, 6)])
def test_a_regular_grid_of_points_is_delaunay_and_its_identity_exact(points):
    piecewise = PiecewiseAffine(points)
    rows, columns = (points, points) if isinstance(points, int) else points
    assert piecewise.num_parameters == 2 * columns * rows
    expected = regular_grid((rows, columns), align_corners=True, dtype=torch.float64)
    assert_close(piecewise.points, expected.flatten(0, 1), rtol=0, atol=1e-12)
    assert len(piecewise.mesh.triangles) == 2 * (columns - 1) * (rows - 1)
    identity = piecewise.identity()[None]
    assert_identical(piecewise.grid(identity, (9, 12))[0], regular_grid((9, 12)))
    pixels = piecewise.pixels(identity, 64, 64, align_corners=True)
    assert_identical(pixels, pixels.round())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_map_is_continuous_across_edges_and_at_points(dtype):
    piecewise = PiecewiseAffine(4)
    theta = _theta(piecewise, 1, 0.2).to(dtype)
    size = (13, 13)  # of whose pixel centres many lie on edges and at points
    grid = regular_grid(size, align_corners=True, dtype=dtype).reshape(1, -1, 2)
    here = piecewise.transform_points(theta, grid)
    step = 1e-6
    for direction in ((0.3, 0.7), (-0.7, 0.2), (0.1, -0.9), (-0.5, -0.6)):
        there = piecewise.transform_points(
            theta, grid + step * torch.tensor(direction, dtype=dtype)
        )
        inside = (grid.abs() < 1).all(-1)
        assert_close(there[inside], here[inside], rtol=0, atol=5e-6)
    vertices = piecewise.points.to(dtype)[None]
    moved = piecewise.transform_points(theta, vertices)
    assert_close(moved, vertices + theta.reshape(1, -1, 2), rtol=0, atol=1e-6)


def test_neither_orientation_nor_order_of_triangles_matters():
    vertices = _scattered()
    triangles = torch.from_numpy(Delaunay(vertices.numpy()).simplices).long()
    one, other = (
        PiecewiseAffine(vertices, triangles=t, outside="nan")
        for t in (triangles, triangles[:, [0, 2, 1]].flip(0))
    )
    theta, points = _theta(one), _points().expand(3, -1, -1)
    a, b = (p.transform_points(theta, points) for p in (one, other))
    assert_close(a, b, rtol=0, atol=1e-12, equal_nan=True)


def test_positions_are_points_and_displacements():
    vertices = _scattered()
    moves = PiecewiseAffine(vertices)
    positions = PiecewiseAffine(vertices, parameters="positions")
    theta, points = _theta(moves), _points().expand(3, -1, -1)
    assert_identical(positions.identity(), vertices.float().flatten())
    moved = positions.transform_points(theta + vertices.flatten(), points)
    assert_close(moved, moves.transform_points(theta, points), rtol=0, atol=1e-12)
    assert (moves.entries[:3], positions.entries[-1]) == (("dx1", "dy1", "dx2"), "y20")


def test_bounds_hold_the_entries():
    piecewise = PiecewiseAffine(3, bounds=(-0.1, 0.1))
    theta = 100 * _theta(piecewise)
    assert piecewise.describe(theta)["largest displacement (%)"].max() <= 5 * 2**0.5 + 1e-12


def test_inverse_points_is_nan_where_nothing_maps_to():
    piecewise = PiecewiseAffine(5, outside="nan")
    theta, points = _theta(piecewise, 1, 0.08), _points(extent=1.2)
    found = piecewise.inverse_points(theta, points)[0]
    known = found.isfinite().all(1)
    rim = [0, 1, 2, 3, 4, 9, 14, 19, 24, 23, 22, 21, 20, 15, 10, 5]
    outline = (piecewise.points + theta.reshape(-1, 2))[rim].float().numpy()
    within = [cv2.pointPolygonTest(outline, tuple(p), False) >= 0 for p in points[0].tolist()]
    assert 150 < sum(within) < 290
    assert known.tolist() == within
    undone = piecewise.transform_points(theta, found[None])[0]
    assert_close(undone[known], points[0][known], rtol=0, atol=1e-12)


def test_every_point_found_maps_to_the_one_asked_for_also_outside_and_where_the_map_folds():
    piecewise = PiecewiseAffine(4)
    theta, points = _theta(piecewise, 20, 0.5), _points(100, 1.5).expand(20, -1, -1)
    found = piecewise.inverse_points(theta, points)
    known = found.isfinite().all(-1)
    assert 0.6 < known.double().mean() <= 1
    moved = piecewise.transform_points(theta, found)
    assert_close(moved[known], points[known], rtol=0, atol=1e-4)


def test_points_outside_have_no_slope_where_they_are_nan():
    piecewise = PiecewiseAffine(torch.tensor(SQUARE[:3]), outside="nan")
    theta = torch.zeros(1, 6, requires_grad=True)
    points = torch.tensor([[[0.5, 0.5], [-0.5, -0.5]]], requires_grad=True)
    moved = piecewise.transform_points(theta, points)
    assert moved.isnan().tolist() == [[[True, True], [False, False]]]
    gradients = torch.autograd.grad(moved.nan_to_num().sum(), (theta, points))
    assert all(g.isfinite().all() for g in gradients)
    assert gradients[1].tolist() == [[[0, 0], [1, 1]]]
    assert_identical(gradients[0].sum(), torch.tensor(2.0))


def test_own_points_are_saved_and_followed_when_loaded():
    vertices = _scattered()
    triangles = torch.from_numpy(Delaunay(vertices.numpy()).simplices)
    saved = PiecewiseAffine(vertices, triangles=triangles)
    loaded = PiecewiseAffine(1.2 * vertices + 0.1, triangles=triangles)
    assert set(saved.state_dict()) == {"mesh.points", "mesh.triangles"}
    theta, points = _theta(saved), _points()
    assert not torch.equal(loaded.grid(theta, 9), saved.grid(theta, 9))
    loaded.load_state_dict(saved.state_dict())
    assert_identical(loaded.grid(theta, 9), saved.grid(theta, 9))
    found = (piecewise.inverse_points(theta, points) for piecewise in (loaded, saved))
    assert_identical(*found, equal_nan=True)


def test_bounds_of_positions_follow_the_points_that_are_loaded():
    options = {"parameters": "positions", "bounds": (-3.0, 3.0)}
    vertices = _scattered(3)
    triangles = torch.tensor([[0, 1, 2]])
    saved, loaded = (
        PiecewiseAffine(v, triangles=triangles, **options) for v in (vertices, vertices + 1)
    )
    loaded.load_state_dict(saved.state_dict())
    theta = saved.identity()[None] + 0.5
    assert_identical(loaded.values(theta), saved.values(theta))


def test_points_that_are_refused_when_loaded_change_nothing():
    piecewise = PiecewiseAffine(3)
    theta = _theta(piecewise)
    expected = piecewise.grid(theta, 9)
    state = {name: value.clone() for name, value in piecewise.state_dict().items()}
    with pytest.raises(InputError, match="has no area"):
        piecewise.load_state_dict(state | {"mesh.points": torch.zeros(9, 2)})
    assert_identical(piecewise.grid(theta, 9), expected)
    assert_identical(piecewise.state_dict()["mesh.points"], state["mesh.points"])


def test_constants_survive_casts_and_the_meta_device():
    piecewise = PiecewiseAffine(_scattered(), parameters="positions")
    theta = piecewise.identity().double()[None] + 0.01
    expected, state = piecewise.grid(theta, 9), piecewise.state_dict()
    assert_identical(piecewise.half().grid(theta, 9), expected)
    assert_identical(piecewise.state_dict()["mesh.points"], state["mesh.points"])
    assert_identical(piecewise.to("meta").identity(), PiecewiseAffine.identity(piecewise))
    assert_identical(piecewise.to_empty(device="cpu").grid(theta, 9), expected)
    emptied = piecewise.to("meta")
    emptied.load_state_dict(state, assign=True)
    assert_identical(emptied.grid(theta, 9), expected)


@pytest.mark.traced
@pytest.mark.parametrize(
    ("points", "triangles", "message"),
    [
        (SQUARE, [[0, 1, 2], [1, 2, 4]], r"triangle 1 is \[1, 2, 4\]; give indices from 0 to 3"),
        (SQUARE, [[0, 1, -1]], r"triangle 0 is \[0, 1, -1\]; give indices"),
        (SQUARE, [[0, 1, 2], [3, 1, 1]], r"triangle 1, \[3, 1, 1\], has no area"),
        ([*SQUARE, [0, 0]], [[0, 4, 3], [0, 1, 2]], "triangle 0.*has no area"),
        (SQUARE, [[0, 1, 2]], "point 3 belongs to no triangle"),
        ([*SQUARE, [0, 0]], [[0, 1, 2], [1, 3, 4], [3, 2, 4]], r"point 4 lies on triangle 0"),
        (SQUARE, [[0, 1, 2], [0, 1, 3]], r"triangles 0 and 1, .* overlap"),
        (SQUARE, [[0, 1, 2], [1, 2, 3], [2, 1, 0]], "triangles 0 and 2.* overlap"),
        (SQUARE, [[0.0, 1.0, 2.0]], r"shape \(1, 3\) and torch.float32; give \(T, 3\) integer"),
        (SQUARE, [[0, 1]], r"shape \(1, 2\)"),
        ([*SQUARE, SQUARE[1]], None, "coincide: 1 and 4"),
        ([[0, 0], [1, 1], [2, 2]], None, "on one line"),
        (1, None, "at least 2"),
    ],
)
def test_triangles_that_are_none(points, triangles, message):
    with pytest.raises(InputError, match=message):
        PiecewiseAffine(points, triangles=triangles)


@pytest.mark.traced
def test_without_scipy_own_points_need_triangles(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(InputError, match=r"install scipy.*or give triangles"):
        PiecewiseAffine(SQUARE)
    assert PiecewiseAffine(4).num_parameters == 32
    assert PiecewiseAffine(SQUARE[:3], triangles=[[0, 1, 2]]).num_parameters == 6


@pytest.mark.traced
def test_unknown_options():
    with pytest.raises(
        InputError, match=r"parameters='nodes'\) was asked for; give 'displacements' or"
    ):
        PiecewiseAffine(parameters="nodes")
    with pytest.raises(
        InputError, match=r"outside='zeros'\) was asked for; give 'nearest' or 'nan'"
    ):
        PiecewiseAffine(outside="zeros")
