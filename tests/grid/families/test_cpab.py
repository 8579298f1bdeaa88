"""CPAB; oracles: SciPy's integrator and interpolation, barycentric weights, exponentials in 1-D."""

import math
from itertools import permutations, product

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import RegularGridInterpolator
from torch import nn
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import CPAB, InputError, SpatialTransformer, sample, warp
from spatial_transformers.grid.families import cpab as family
from spatial_transformers.grid.numerics.compiled import FLOWS

every = pytest.mark.parametrize("cells", [(5,), (3, 4), (2, 3, 2)])
borders = pytest.mark.parametrize("zero_boundary", [True, False])


def _theta(cpab, n=3, spread=0.15):
    return spread * torch.randn(n, cpab.num_parameters, dtype=torch.float64)


def _vertex_velocities(cpab, theta):
    """Read one θ by the names of its entries: (*vertices, ndim)."""
    velocities = np.zeros((*(n + 1 for n in cpab.cells), cpab.ndim))
    for name, value in zip(cpab.entries, theta.tolist(), strict=True):
        component, vertex = name.rstrip("]").split("[")
        velocities[(*map(int, vertex.split(",")), "xyz".index(component[1]))] = value
    return velocities


def _velocity(cpab, theta):
    """Interpolate in barycentric coordinates of the simplex found by trying all of them."""
    velocities, cells = _vertex_velocities(cpab, theta), np.array(cpab.cells)

    def velocity(point):  # x first
        place = (np.clip(point[::-1], -1, 1) + 1) / 2 * cells
        cell = np.minimum(place.astype(int), cells - 1)
        for order in permutations(range(cpab.ndim)):
            path = [cell.copy()]
            for axis in order:
                path.append(path[-1] + np.eye(cpab.ndim, dtype=int)[axis])
            system = np.vstack((np.array(path).T, np.ones(cpab.ndim + 1)))
            weights = np.linalg.solve(system, [*place, 1])
            if weights.min() > -1e-9:
                return sum(w * velocities[tuple(p)] for w, p in zip(weights, path, strict=True))
        raise AssertionError("no simplex holds the point")

    return velocity


@every
@borders
def test_paths_are_those_of_scipy(cells, zero_boundary):
    cpab = CPAB(cells, zero_boundary=zero_boundary, steps=200)
    theta, points = _theta(cpab, 1), torch.rand(1, 6, len(cells), dtype=torch.float64) * 2.4 - 1.2
    velocity = _velocity(cpab, theta[0])
    expected = [
        solve_ivp(
            lambda _, x: velocity(x), (0, 1), p.numpy(), rtol=1e-8, atol=1e-10, max_step=0.05
        ).y[:, -1]
        for p in points[0]
    ]
    found = cpab.transform_points(theta, points)[0]
    assert (found - points[0]).abs().max() > 0.02
    assert_close(found, torch.from_numpy(np.array(expected)), rtol=0, atol=1e-5)


def _closed_form(velocities, x):
    """Follow x for a unit of time through 1-D cells of affine velocity, by exponentials."""
    vertices, time = np.linspace(-1, 1, len(velocities)), 1.0
    for _ in range(len(velocities)):
        v = np.interp(x, vertices, velocities)
        if v == 0:
            return x
        side = "right" if v > 0 else "left"
        i = int(np.clip(np.searchsorted(vertices, x, side) - 1, 0, len(vertices) - 2))
        slope = (velocities[i + 1] - velocities[i]) / (vertices[i + 1] - vertices[i])
        end = vertices[i + 1] if v > 0 else vertices[i]
        ratio = 1 + slope * (end - x) / v  # of the velocity at the end to that here
        needed = math.inf
        if ratio > 0:
            needed = math.log(ratio) / slope if abs(slope) > 1e-12 else (end - x) / v
        if needed >= time:
            return x + (v * math.expm1(slope * time) / slope if abs(slope) > 1e-12 else v * time)
        x, time = end, time - needed
    raise AssertionError("passed through more cells than there are")


def test_signals_follow_the_closed_form():
    cpab = CPAB(6, ndim=1, steps=400)
    theta, points = _theta(cpab, 20, 0.3), torch.rand(20, 9, 1, dtype=torch.float64) * 2 - 1
    found = cpab.transform_points(theta, points)[..., 0]
    assert (found - points[..., 0]).abs().max() > 0.2
    for t, xs, ys in zip(theta, points[..., 0], found, strict=True):
        expected = [_closed_form(_vertex_velocities(cpab, t)[:, 0], float(x)) for x in xs]
        assert_close(ys, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-5)


@every
def test_compiled_code_gives_what_pytorch_gives(cells, monkeypatch):
    """Also on the border, where one map or one set of points serves all, and in float32."""
    if not FLOWS:
        pytest.skip("no compiled code here")
    cpab = CPAB(cells, steps=3)
    points = torch.rand(3, 70, len(cells), dtype=torch.float64) * 2.4 - 1.2
    points[:, :6] = points[:, :6].clamp(-1, 1)
    points[0, 9] = torch.nan
    for theta, at in (
        (_theta(cpab), points),
        (_theta(cpab, 1), points),
        (_theta(cpab), points[:1]),
    ):
        results = []
        for compiled in (FLOWS, {}):
            monkeypatch.setattr(family, "FLOWS", compiled)
            inputs = [theta.clone().requires_grad_(), at.clone().requires_grad_()]
            values = cpab._displacement(inputs[0], inputs[1].unbind(-1))
            known = values[:, 10:]
            slopes = torch.autograd.grad(known.square().sum(), inputs)
            single = cpab._displacement(theta.float(), at.float().unbind(-1)).double()
            results.append((values, *slopes, single.nan_to_num(0)))
            monkeypatch.undo()
        for found, expected in zip(*(r[:3] for r in results), strict=True):
            assert_close(found, expected, rtol=1e-12, atol=1e-12, equal_nan=True)
        assert_close(results[0][3], results[1][3], rtol=0, atol=1e-5)


def test_a_long_batch_of_one_is_cut_and_its_sums_are_whole(monkeypatch):
    if not FLOWS:
        pytest.skip("no compiled code here")
    cpab, results = CPAB((4, 5)), []
    theta, points = _theta(cpab, 1), torch.rand(1, 20_001, 2, dtype=torch.float64) * 2 - 1
    for compiled in (FLOWS, {}):
        monkeypatch.setattr(family, "FLOWS", compiled)
        moved = cpab.transform_points(theta.requires_grad_(), points)
        results.append((moved, *torch.autograd.grad(moved.sin().sum(), theta)))
        monkeypatch.undo()
    for found, expected in zip(*results, strict=True):
        assert_close(found, expected, rtol=1e-10, atol=1e-12)


@every
def test_velocity_at_a_vertex_is_its_entry(cells):
    cpab = CPAB(cells, zero_boundary=False, steps=1)
    theta = _theta(cpab, 1, 1e-9)  # so slow that the displacement is the velocity
    velocities = _vertex_velocities(cpab, theta[0])
    for vertex in product(*(range(n + 1) for n in cells)):
        point = [2 * i / n - 1 for i, n in zip(vertex, cells, strict=True)][::-1]
        point = torch.tensor(point, dtype=torch.float64)
        found = cpab._displacement(theta, list(point[:, None, None]))[0, 0]
        assert_close(found, torch.from_numpy(velocities[vertex]), rtol=0, atol=1e-15)


def test_a_sum_of_axes_is_interpolated_along_each():
    """Simplices do not matter to v(x, y) = a(x) + b(y): SciPy interpolates it multilinearly."""
    cpab = CPAB((3, 4), zero_boundary=False, steps=1)
    a, b = torch.randn(2, 1, 5, dtype=torch.float64), torch.randn(2, 4, 1, dtype=torch.float64)
    velocities = 1e-9 * (a + b)
    points = torch.rand(1, 50, 2, dtype=torch.float64) * 2 - 1
    lines = (np.linspace(-1, 1, 4), np.linspace(-1, 1, 5))
    interpolate = RegularGridInterpolator(lines, velocities.movedim(0, -1).numpy())
    expected = torch.from_numpy(interpolate(points[0].flip(-1).numpy()))
    found = cpab._displacement(velocities.reshape(1, -1), points.unbind(-1))[0]
    assert_close(found, expected, rtol=0, atol=1e-15)


@every
def test_nothing_crosses_the_border(cells):
    cpab = CPAB(cells)
    theta, points = _theta(cpab, 20, 0.3), torch.rand(20, 40, len(cells), dtype=torch.float64)
    points = points * 2 - 1
    for a in range(len(cells)):
        points[:, 4 * a : 4 * a + 2, a], points[:, 4 * a + 2 : 4 * a + 4, a] = -1, 1
    moved = cpab.transform_points(theta, points)
    assert moved.abs().max() <= 1
    on_border = points.abs() == 1
    assert_identical(moved[on_border], points[on_border])
    if len(cells) > 1:  # points slide along the border
        assert (moved - points)[on_border.any(-1)].abs().max() > 0.05


@every
@borders
def test_half_the_time_twice(cells, zero_boundary):
    cpab = CPAB(cells, zero_boundary=zero_boundary, steps=100)
    theta, points = _theta(cpab), torch.rand(3, 30, len(cells), dtype=torch.float64) * 2 - 1
    half = cpab.transform_points(theta / 2, cpab.transform_points(theta / 2, points))
    assert_close(half, cpab.transform_points(theta, points), rtol=0, atol=1e-4)


def test_signals_keep_their_order():
    cpab = CPAB(8, ndim=1)
    grid = cpab.grid(_theta(cpab, 200, 0.1), (1000,))[..., 0]
    assert (grid.diff(dim=1) > 0).all()
    assert grid.abs().max() < 1


@pytest.mark.parametrize(("cells", "pixels", "error"), [(4, 2, 0.02), (8, 4, 0.1)])
def test_forth_and_back_at_128_pixels(cells, pixels, error):
    cpab = CPAB(cells)
    theta = pixels / 64 * torch.randn(8, cpab.num_parameters)
    grid = cpab.pixels(theta, (128, 128), (128, 128))
    if pixels == 2:  # determinants of differences between pixels
        along_x = (grid[:, :-1, 1:] - grid[:, :-1, :-1]).unbind(-1)
        along_y = (grid[:, 1:, :-1] - grid[:, :-1, :-1]).unbind(-1)
        assert (along_x[0] * along_y[1] - along_x[1] * along_y[0]).min() > 0
    points = cpab.grid(theta, (128, 128)).flatten(1, 2)
    regular = cpab.grid(0 * theta, (128, 128)).flatten(1, 2)
    missed = 64 * (cpab.inverse_points(theta, points) - regular).norm(dim=-1)
    assert missed.max() <= error


@every
def test_points_that_are_not_finite_harm_no_other(cells):
    cpab = CPAB(cells)
    theta, points = _theta(cpab), torch.rand(3, 7, len(cells), dtype=torch.float64)
    expected = cpab.transform_points(theta, points)
    for bad in (torch.nan, torch.inf, -torch.inf):
        points[:, 3] = bad
        moved = cpab.transform_points(theta, points)
        keep = [0, 1, 2, 4, 5, 6]
        assert_identical(moved[:, keep], expected[:, keep])
        assert not moved[:, 3].isfinite().any()


def test_a_signal_is_warped_along_time():
    cpab = CPAB(5, ndim=1)
    signal, theta = torch.rand(3, 2, 40), _theta(cpab).float()
    warped = warp(signal, theta, cpab)
    expected = sample(signal, cpab.grid(theta, (40,)))
    assert_close(warped, expected, rtol=0, atol=1e-5)
    assert_identical(warp(signal, 0 * theta, cpab), signal)
    for channel in range(2):
        at = cpab.pixels(theta, (40,), (40,))[0, :, 0].numpy()
        line = np.interp(at, np.arange(40), signal[0, channel].numpy())
        inside = torch.from_numpy((at >= 0) & (at <= 39))
        assert_close(warped[0, channel][inside], torch.from_numpy(line).float()[inside])


def test_a_spatial_transformer_aligns_signals():
    cpab = CPAB(5, ndim=1)
    localisation = nn.Sequential(nn.Flatten(), nn.Linear(80, cpab.num_parameters))
    stn = SpatialTransformer(localisation, cpab, size=(30,))
    output = stn(torch.rand(4, 2, 40))
    assert output.shape == (4, 2, 30)
    output.sum().backward()
    assert localisation[1].weight.grad.abs().max() > 0


def test_entries_name_component_and_vertex():
    assert CPAB((2, 2)).entries == (
        "vx[0,1]",
        "vx[1,1]",
        "vx[2,1]",
        "vy[1,0]",
        "vy[1,1]",
        "vy[1,2]",
    )
    free = CPAB((1, 2), zero_boundary=False)
    assert free.entries[:4] == ("vx[0,0]", "vx[0,1]", "vx[0,2]", "vx[1,0]")
    assert free.num_parameters == 12


def test_describe_reads_velocities():
    cpab = CPAB((2, 2))
    parts = cpab.describe(torch.tensor([[0.0, 0.2, 0.0, 0.0, 0.0, 0.0]]))
    assert_close(parts["largest velocity (%)"], torch.tensor([10.0]))
    assert_close(parts["velocity (%)"], torch.tensor([10.0 / 3]))


@pytest.mark.traced
@pytest.mark.parametrize("cells", [0, (4,), (4, 4, 4), (4, 2.0), True])
def test_wrong_cells_are_refused(cells):
    with pytest.raises(InputError, match=r"give the cells per axis, \(H, W\), at least 1 each"):
        CPAB(cells, ndim=2)


@pytest.mark.traced
def test_other_mistakes_are_refused():
    with pytest.raises(InputError, match="ndim is 1 or 2 or 3"):
        CPAB(2, ndim=4)
    with pytest.raises(InputError, match="no vertex that may move; give more cells"):
        CPAB(1)
    with pytest.raises(InputError, match=r"steps=0\): give the number of steps"):
        CPAB(4, steps=0)


@pytest.mark.traced
def test_errors_name_the_axes_of_signals():
    cpab = CPAB(3, ndim=1)
    with pytest.raises(InputError, match=r"give \(W,\), each at least 1 pixel"):
        cpab.grid(cpab.identity()[None], (4, 4))
    with pytest.raises(InputError, match=r"shape \(1, 1, 4, 4\); give \(N, C, W\)"):
        warp(torch.zeros(1, 1, 4, 4), cpab.identity()[None], cpab)
