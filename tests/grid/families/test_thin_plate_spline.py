"""Thin plate splines; oracles: SciPy's RBFInterpolator, scikit-image's ThinPlateSplineTransform."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from skimage.transform import ThinPlateSplineTransform
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, InputError, ThinPlateSpline
from spatial_transformers.grid.numerics import blocks
from spatial_transformers.grid.numerics.control_points import regular_points, text_rows

double = torch.float64
LAYOUTS = {
    "4×4": lambda: regular_points(4, 2),
    "10×10": lambda: regular_points(10, 2),
    "text": text_rows,
    "random": lambda: torch.rand(13, 2, dtype=double) * 2 - 1,
    "3×3×3": lambda: regular_points(3, 3),
    "random-3d": lambda: torch.rand(17, 3, dtype=double) * 2 - 1,
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)
corners = pytest.mark.parametrize("align_corners", [False, True])
TOLERANCE = {double: 1e-9, torch.float32: 1e-4}


def _scipy(points, sources, at, smoothing=0.0):
    """Interpolate the sources (N, K, ndim) of points at others (N, L, ndim)."""
    kernel = "thin_plate_spline" if points.shape[1] == 2 else "linear"
    mapped = [
        RBFInterpolator(points.numpy(), s.numpy(), kernel=kernel, degree=1, smoothing=smoothing)(x)
        for s, x in zip(sources, at.numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(mapped))


def _moves(points, n=3, spread=0.5):
    return (torch.rand(n, *points.shape, dtype=double) * 2 - 1) * spread


@layouts
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("parameters", ["displacements", "positions"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_points_are_those_of_scipy(layout, dtype, parameters, smoothing):
    points = LAYOUTS[layout]()
    spline = ThinPlateSpline(points, parameters=parameters, regularisation=smoothing)
    moves, at = _moves(points), torch.rand(3, 50, points.shape[1], dtype=double) * 2.6 - 1.3
    theta = moves + points if parameters == "positions" else moves
    found = spline.transform_points(theta.flatten(1).to(dtype), at.to(dtype))
    expected = _scipy(points, points + moves, at, smoothing)
    assert found.dtype == dtype
    assert_close(found.double(), expected, rtol=0, atol=TOLERANCE[dtype])


@layouts
@corners
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("entries", [1, 300, 2**20])  # of a block: a pixel, part of a row, all
def test_the_grid_is_that_of_scipy(layout, align_corners, dtype, entries, monkeypatch):
    monkeypatch.setattr(blocks, "_ENTRIES", entries)
    points = LAYOUTS[layout]()
    spline, moves, size = ThinPlateSpline(points), _moves(points, 2), (5, 7, 4)[: points.shape[1]]
    grid = spline.grid(moves.flatten(1).to(dtype), size, align_corners=align_corners)
    identity = spline.identity().double()[None].expand(2, -1)
    at = spline.grid(identity, size, align_corners=align_corners).flatten(1, -2)
    expected = _scipy(points, points + moves, at)
    assert_close(grid.flatten(1, -2).double(), expected, rtol=0, atol=TOLERANCE[dtype])


def test_points_are_those_of_scikit_image():
    points = LAYOUTS["random"]()
    moves, at = _moves(points, 1), torch.rand(1, 40, 2, dtype=double) * 2 - 1
    theirs = ThinPlateSplineTransform.from_estimate(points.numpy(), (points + moves[0]).numpy())
    found = ThinPlateSpline(points).transform_points(moves.flatten(1), at)
    expected = torch.from_numpy(theirs(at[0].numpy()))
    assert_close(found[0], expected, rtol=0, atol=1e-5)  # theirs adds 1e-8 in the logarithm


@layouts
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_control_points_land_where_theta_says(layout, dtype):
    points = LAYOUTS[layout]()
    spline = ThinPlateSpline(points, parameters="positions")
    theta = _moves(points).add(points).to(dtype)
    at = points.to(dtype).expand(3, -1, -1)
    found = spline.transform_points(theta.flatten(1), at)
    assert_close(found, theta, rtol=0, atol={double: 1e-12, torch.float32: 2e-5}[dtype])


@layouts
@pytest.mark.parametrize("regularisation", [0.0, 2.0])
def test_affine_displacements_are_reproduced_everywhere(layout, regularisation):
    points = LAYOUTS[layout]()
    ndim = points.shape[1]
    affine, theta = Affine(ndim), torch.rand(3, ndim * (ndim + 1), dtype=double)
    spline = ThinPlateSpline(points, parameters="positions", regularisation=regularisation)
    positions = affine.transform_points(theta, points.expand(3, -1, -1)).flatten(1)
    at = torch.rand(3, 40, ndim, dtype=double) * 20 - 10
    expected = affine.transform_points(theta, at)
    assert_close(spline.transform_points(positions, at), expected, rtol=0, atol=1e-10)


def test_regularisation_bends_less():
    """Less bending energy, tr(W K Wᵀ), at the price of missing the points."""
    points, energy = LAYOUTS["random"](), []
    theta = _moves(points, 1).flatten(1)
    for regularisation in (0.0, 0.1, 1.0):
        spline = ThinPlateSpline(points, regularisation=regularisation)
        weights = spline.matrix(theta)[0, :, 3:]
        squared = torch.cdist(points, points) ** 2
        kernel = 0.5 * torch.special.xlogy(squared, squared)
        energy.append((weights @ kernel @ weights.mT).trace())
    assert energy[0] > energy[1] > energy[2] > 0


@corners
@layouts
def test_matrix_times_basis_is_the_grid(layout, align_corners):
    points = LAYOUTS[layout]()
    size = (5, 7, 4)[: points.shape[1]]
    spline, theta = ThinPlateSpline(points), _moves(points).flatten(1)
    basis = spline.basis(size, align_corners=align_corners, dtype=double)
    assert basis.shape == (points.shape[1] + 1 + len(points), *size)
    found = torch.einsum("nrk,k...->n...r", spline.matrix(theta), basis)
    expected = spline.grid(theta, size, align_corners=align_corners)
    assert_close(found, expected, rtol=0, atol=1e-12)


def test_matrix_ignores_autocast():
    spline = ThinPlateSpline(4)
    theta = torch.randn(2, 32)
    expected = spline.matrix(theta)
    with torch.autocast("cpu", torch.bfloat16):
        assert_identical(spline.matrix(theta), expected)


@pytest.mark.parametrize("layout", ["4×4", "3×3×3"])
@pytest.mark.parametrize("dtype", [double, torch.float32])
@pytest.mark.parametrize("away", [0.0, 1e-30, 1e-19, 1e-15])
def test_derivatives_are_finite_at_and_next_to_control_points(layout, dtype, away):
    points = LAYOUTS[layout]()
    spline = ThinPlateSpline(points)
    theta = _moves(points, 1).flatten(1).to(dtype).requires_grad_()
    at = (points + away).to(dtype)[None].requires_grad_()
    first = torch.autograd.grad(
        spline.transform_points(theta, at).square().sum(), (theta, at), create_graph=True
    )
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (theta, at))
    for gradient in (*first, *second):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("layout", ["4×4", "3×3×3"])
def test_derivatives_of_many_blocks(layout, check_derivatives, monkeypatch):
    monkeypatch.setattr(blocks, "_ENTRIES", 100)
    points = LAYOUTS[layout]()
    spline, theta = ThinPlateSpline(points), _moves(points, 1).flatten(1)[:, :12]
    rest = torch.zeros(1, points.numel() - 12, dtype=double)

    def function(some):
        return spline.grid(torch.cat((some, rest), 1), (3, 4, 2)[: points.shape[1]])

    check_derivatives(function, (theta.requires_grad_(),), check_batched_grad=True)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_the_basis_is_never_stored(requires_grad, monkeypatch):
    """No tensor that the grid makes is larger than a block or the grid itself."""
    monkeypatch.setattr(blocks, "_ENTRIES", 4096)
    spline, size = ThinPlateSpline(6), (60, 50)
    theta = torch.randn(2, 72).requires_grad_(requires_grad)
    grid, largest = _largest_tensor(lambda: spline.grid(theta, size))
    assert largest == grid.numel()
    if requires_grad:
        _, largest = _largest_tensor(lambda: grid.sum().backward())
        assert largest == grid.numel()


def _largest_tensor(function):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Sizes(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor):
                self.largest = max(self.largest, found.untyped_storage().nbytes() // found.itemsize)
            return found

    with Sizes() as sizes:
        result = function()
    return result, sizes.largest


def test_entries_and_dimensions():
    assert ThinPlateSpline(2).entries == ("dx1", "dy1", "dx2", "dy2", "dx3", "dy3", "dx4", "dy4")
    spline = ThinPlateSpline((2, 3, 4), parameters="positions")
    assert (spline.ndim, spline.num_parameters) == (3, 72)
    assert spline.entries[:4] == ("x1", "y1", "z1", "x2")
    assert ThinPlateSpline(torch.rand(6, 3)).ndim == 3
    assert ThinPlateSpline(np.random.default_rng(0).random((6, 3))).ndim == 3
    assert ThinPlateSpline(3, ndim=3).points.shape == (27, 3)


@pytest.mark.parametrize("dtype", [double, torch.float32])
def test_identity_of_positions_is_the_points(dtype):
    points = torch.rand(9, 2, dtype=dtype)
    spline = ThinPlateSpline(points, parameters="positions")
    assert_identical(spline.identity(), points.float().flatten())
    theta, at = points.flatten()[None], torch.rand(1, 7, 2, dtype=dtype)
    assert_identical(spline.transform_points(theta, at), at)


def test_describe_reads_the_displacements():
    parts = ThinPlateSpline(2).describe(torch.tensor([[0.3, 0.4, 0, 0, 0, 0, 0, 0]]))
    assert_close(parts["largest displacement (%)"], torch.tensor([25.0]))
    assert_close(parts["displacement (%)"], torch.tensor([50 * math.sqrt(0.25 / 4)]))


def _grids(spline, theta):
    return [spline.grid(theta, size) for size in ((4, 5), (9, 3))]


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("parameters", ["displacements", "positions"])
def test_a_state_carries_the_points_to_another_module_and_size(assign, parameters):
    points = torch.rand(16, 2, dtype=double)
    spline = ThinPlateSpline(points, parameters=parameters, bounds=(-3, 3))
    assert list(spline.state_dict()) == ["points"]
    other = ThinPlateSpline(4, parameters=parameters, bounds=(-3, 3))
    theta = spline.identity() + 0.1 * torch.randn(2, 32)
    assert not torch.allclose(other.grid(theta, 5), spline.grid(theta, 5))
    state = copy.deepcopy(spline.state_dict())
    other.load_state_dict(state, assign=assign)
    assert_identical(other.identity(), spline.identity())
    assert_identical(_grids(other, theta), _grids(spline, theta))
    back = other.half().float().double()
    assert_identical(back.state_dict(), dict(state))
    assert_identical(_grids(back, theta), _grids(spline, theta))


@pytest.mark.traced
def test_a_state_of_degenerate_points_is_refused():
    spline = ThinPlateSpline(2)
    with pytest.raises(InputError, match=r"loading a state of ThinPlateSpline.*on one line"):
        spline.load_state_dict({"points": torch.arange(4.0)[:, None].expand(4, 2)})
    with pytest.raises(RuntimeError, match="size mismatch for points"):
        spline.load_state_dict(ThinPlateSpline(3).state_dict())


def _made_under_meta(points):
    with torch.device("meta"):
        return ThinPlateSpline(points)


@pytest.mark.parametrize("make", [_made_under_meta, lambda p: ThinPlateSpline(p).to("meta")])
@pytest.mark.parametrize("load", [False, True])
def test_leaving_the_meta_device(make, load):
    points, others = torch.rand(2, 9, 2, dtype=double)
    spline, theta = make(points), torch.randn(2, 18)
    assert_identical(spline.identity(), torch.zeros(18))
    spline = spline.to_empty(device="cpu")
    if load:
        spline.load_state_dict(ThinPlateSpline(others).state_dict())
    expected = ThinPlateSpline(others if load else points)
    assert_identical(spline.state_dict(), expected.state_dict())
    assert_identical(_grids(spline, theta), _grids(expected, theta))


def test_a_state_assigned_on_the_meta_device():
    points, theta = torch.rand(9, 2), torch.randn(2, 18)
    spline = ThinPlateSpline(3).to("meta")
    spline.load_state_dict(ThinPlateSpline(points).state_dict(), assign=True)
    assert_identical(_grids(spline, theta), _grids(ThinPlateSpline(points), theta))


def test_a_copy_is_independent():
    spline, theta = ThinPlateSpline(3), torch.randn(2, 18)
    expected = _grids(spline, theta)
    other = copy.deepcopy(spline)
    other.load_state_dict({"points": torch.rand(9, 2, dtype=double)})
    assert_identical(_grids(spline, theta), expected)
    assert not torch.equal(other.grid(theta, 4), spline.grid(theta, 4))


@pytest.mark.traced
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ThinPlateSpline(torch.rand(2, 2)), "2 control points; give at least 3"),
        (lambda: ThinPlateSpline(torch.rand(3, 3)), "3 control points; give at least 4"),
        (lambda: ThinPlateSpline(torch.rand(5, 2), ndim=3), r"shape \(5, 2\); give \(K, 3\)"),
        (lambda: ThinPlateSpline(torch.rand(9, 4)), "ndim is 2 or 3"),
        (lambda: ThinPlateSpline(torch.zeros(2, 2, 2)), r"shape \(2, 2, 2\); give \(K, ndim\)"),
        (lambda: ThinPlateSpline([[0, 0], [1, 1], [0, 1], [1, 1]]), "coincide: 1 and 3"),
        (lambda: ThinPlateSpline([[0, 0], [1, 1], [2, 2]]), "one line: 0 .*, 1 .*, 2 "),
        (lambda: ThinPlateSpline(1), "grid of 1 control points"),
        (lambda: ThinPlateSpline((3, 3), ndim=3), r"grid of \(3, 3\) control points"),
        (lambda: ThinPlateSpline("rows"), "no table of numbers"),
        (lambda: ThinPlateSpline(ndim=4), "ndim is 2 or 3"),
        (lambda: ThinPlateSpline(parameters="matrix"), "give 'displacements' or 'positions'"),
        (lambda: ThinPlateSpline(regularisation=-1), "give a number from 0 up"),
        (lambda: ThinPlateSpline(regularisation=math.nan), "give a number from 0 up"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(InputError, match=message) as error:
        make()
    assert "ThinPlateSpline" in str(error.value) or "grid of" in str(error.value)


def test_repr_tells_the_options():
    spline = ThinPlateSpline(3, parameters="positions", regularisation=0.5)
    expected = "ThinPlateSpline(points=(3, 3), parameters='positions', regularisation=0.5)"
    assert repr(spline) == expected
