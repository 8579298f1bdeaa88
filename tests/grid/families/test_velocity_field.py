"""Stationary velocity fields; oracle: SciPy's adaptive Runge–Kutta on SciPy's splines."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import NdBSpline, RegularGridInterpolator
from torch.autograd import gradgradcheck
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import InputError, VelocityField
from spatial_transformers.grid.regular import regular_grid

PIXEL = 2 / 128  # of an image of 128 × 128, in half extents


def cubic(theta, lattice, zero_boundary):
    """Return SciPy's splines of one velocity (ndim, *lattice): points (K, ndim) to velocities."""
    splines = []
    for component in theta.numpy():
        for axis in range(len(lattice) if zero_boundary else 0):
            c = np.moveaxis(component, axis, 0)
            zero = np.zeros_like(c[:1])
            component = np.moveaxis(np.concatenate((-c[:1], zero, c, zero, -c[-1:])), 0, axis)
        cells = [n - 3 for n in component.shape]
        knots = tuple(np.arange(-3, n + 4) * 2 / n - 1 for n in cells)
        splines.append(NdBSpline(knots, component, 3))
    return lambda p: np.stack([s(np.clip(p, -1, 1)[:, ::-1]) for s in splines], -1)


def linear(theta, lattice):
    """Return SciPy's linear interpolation of one velocity between pixel centres, 0 at borders."""
    fields = []
    for component in theta.numpy():
        centres = [np.concatenate(([-1], (np.arange(n) * 2 + 1) / n - 1, [1])) for n in lattice]
        fields.append(RegularGridInterpolator(centres, np.pad(component, 1)))
    return lambda p: np.stack([f(np.clip(p, -1, 1)[:, ::-1]) for f in fields], -1)


def followed(velocity, points):
    """Follow points (K, ndim) for a unit of time."""
    result = solve_ivp(
        lambda _, y: velocity(y.reshape(points.shape)).ravel(),
        (0, 1),
        points.numpy().ravel(),
        method="RK45",
        rtol=1e-9,
        atol=1e-11,
    )
    return torch.from_numpy(result.y[:, -1].reshape(points.shape))


@pytest.mark.parametrize("lattice", [(4, 4), (3, 5), (2, 3, 2)])
def test_points_follow_the_velocity(lattice):
    field = VelocityField(lattice)
    theta = 3 * PIXEL * torch.randn(2, field.num_parameters, dtype=torch.float64)
    points = torch.rand(2, 40, len(lattice), dtype=torch.float64) * 2 - 1
    found = field.transform_points(theta, points)
    for n in range(2):
        velocity = cubic(theta[n].reshape(-1, *lattice), lattice, True)
        expected = followed(velocity, points[n])
        assert (expected - points[n]).abs().max() > PIXEL
        assert_close(found[n], expected, rtol=0, atol=0.01 * PIXEL)


def test_a_finer_internal_lattice_agrees_to_1e_6():
    field = VelocityField((4, 4), steps=10, resolution=100)
    theta = 4 * PIXEL * torch.randn(1, 32, dtype=torch.float64)
    points = torch.rand(1, 40, 2, dtype=torch.float64) * 2 - 1
    expected = followed(cubic(theta.reshape(2, 4, 4), (4, 4), True), points[0])
    assert_close(field.transform_points(theta, points)[0], expected, rtol=0, atol=1e-6)


def test_with_moving_borders_points_inside_follow_the_velocity():
    field = VelocityField((6, 7), zero_boundary=False)
    theta = 2 * PIXEL * torch.randn(2, field.num_parameters, dtype=torch.float64)
    points = torch.rand(2, 40, 2, dtype=torch.float64) * 1.2 - 0.6
    found = field.transform_points(theta, points)
    for n in range(2):
        expected = followed(cubic(theta[n].reshape(2, 6, 7), (6, 7), False), points[n])
        assert_close(found[n], expected, rtol=0, atol=0.02 * PIXEL)
    corner = torch.ones(2, 1, 2, dtype=torch.float64)
    assert (field.transform_points(theta, corner) - corner).abs().amin() > 1e-4


@pytest.mark.parametrize("lattice", [(24, 30), (12, 10, 9)])
def test_dense_lattices_follow_the_linear_velocity(lattice):
    resolution = [6 * n for n in lattice]
    field = VelocityField(lattice, degree=1, resolution=resolution)
    smooth = VelocityField((2,) * len(lattice))
    nodes = regular_grid(lattice, ndim=len(lattice), dtype=torch.float64)
    theta = 4 * PIXEL * torch.randn(1, smooth.num_parameters, dtype=torch.float64)
    dense = (smooth.grid(theta, lattice) - nodes).movedim(-1, 1)  # some smooth vectors
    points = torch.rand(1, 40, len(lattice), dtype=torch.float64) * 2 - 1
    expected = followed(linear(dense[0], lattice), points[0])
    found = field.transform_points(dense.flatten(1), points)[0]
    assert (expected - points[0]).abs().max() > PIXEL
    assert_close(found, expected, rtol=0, atol=0.05 * PIXEL)


@pytest.mark.parametrize(("lattice", "deviation", "most"), [(4, 2, 0.01), (8, 4, 0.05)])
def test_maps_do_not_fold_and_are_undone(lattice, deviation, most):
    field = VelocityField(lattice)
    theta = deviation * PIXEL * torch.randn(60, field.num_parameters)
    grid = field.grid(theta, 128)
    across, down = grid.diff(dim=2)[:, :-1], grid.diff(dim=1)[:, :, :-1]
    determinant = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    assert determinant.min() > 0
    undone = field.transform_points(field.inverse(theta), grid.flatten(1, 2))
    errors = (undone - regular_grid(128, ndim=2).flatten(0, 1)).norm(dim=-1) / PIXEL
    assert errors.max() < most
    assert_identical(field.inverse_points(theta, grid.flatten(1, 2)), undone)


@pytest.mark.parametrize("degree", [1, 3])
@pytest.mark.parametrize("lattice", [(5, 4), (2, 3, 2)])
def test_the_domain_maps_to_itself(lattice, degree):
    field = VelocityField(lattice, degree=degree)
    theta = 0.2 * torch.randn(20, field.num_parameters, dtype=torch.float64)
    ndim = len(lattice)
    points = torch.rand(20, 200, ndim, dtype=torch.float64) * 2.2 - 1.1
    points[:, :50] = points[:, :50].clamp(-1, 1)
    moved = field.transform_points(theta, points)
    outside = (points.abs() >= 1).any(-1)
    assert 0 < outside.sum() < outside.numel()
    assert_close(moved[outside], points[outside], rtol=0, atol=1e-12)
    assert moved[~outside].abs().max() <= 1
    assert (moved - points).abs().max() > 0.02


def test_beyond_moving_borders_points_move_as_the_border_does():
    field = VelocityField((5, 4), zero_boundary=False)
    theta = 0.1 * torch.randn(2, 40, dtype=torch.float64)
    outside = torch.rand(2, 30, 2, dtype=torch.float64) * 6 - 3
    moves = [field.transform_points(theta, p) - p for p in (outside, outside.clamp(-1, 1))]
    assert_close(*moves, rtol=0, atol=1e-14)


@pytest.mark.parametrize("degree", [1, 3])
def test_second_derivatives_where_internal_points_are_nodes(degree):
    """At the identity, where the splines of degree 3 are smooth; off it for kinks."""
    field = VelocityField((2, 3), steps=2, degree=degree, resolution=8)
    theta = torch.zeros(1, 12, dtype=torch.float64)
    if degree == 1:
        theta = theta + 0.05 * torch.randn(1, 12, dtype=torch.float64)
    assert gradgradcheck(lambda t: field.grid(t, 3), (theta.requires_grad_(),))


def test_a_small_velocity_is_the_displacement():
    field = VelocityField((4, 3), zero_boundary=False, degree=1)
    flow = 1e-5 * torch.randn(1, 2, 4, 3, dtype=torch.float64)
    moved = field.grid(flow.flatten(1), (4, 3)) - field.grid(0 * flow.flatten(1), (4, 3))
    assert_close(moved, flow.movedim(1, -1), rtol=0, atol=1e-8)


def test_describe_reads_velocities():
    parts = VelocityField((4, 5)).describe(torch.full((1, 40), 0.2))
    assert list(parts) == ["velocity (%)", "largest velocity (%)"]
    assert_close(parts["velocity (%)"], torch.tensor([10 * 2**0.5]))


def test_repr_tells_all_options():
    assert repr(VelocityField((4, 5))) == "VelocityField((4, 5), resolution=(30, 36))"
    dense = VelocityField(20, ndim=3, degree=1, zero_boundary=False, steps=7)
    assert repr(dense) == (
        "VelocityField((20, 20, 20), degree=1, zero_boundary=False, steps=7, "
        "resolution=(20, 20, 20))"
    )


@pytest.mark.traced
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 2}, r"degree=2\) was asked for; give 1 or 3"),
        ({"steps": -1}, r"steps=-1\)"),
        ({"steps": 2.0}, r"steps=2.0\)"),
        ({"resolution": 2}, r"resolution=2\): give 3"),
        ({"resolution": (8, 8, 8)}, r"size \(8, 8, 8\)"),
        ({"zero_boundary": False}, "at least 4 each"),
    ],
)
def test_other_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        VelocityField(3, **options)
