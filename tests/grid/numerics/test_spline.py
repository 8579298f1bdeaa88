"""Tensor-product B-splines; oracles: SciPy's B-splines and its interpolation of images."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline, NdBSpline, make_interp_spline
from scipy.ndimage import map_coordinates
from torch.testing import assert_close

import spatial_transformers.sampler.backends  # noqa: F401  (they offer their compiled code)
from spatial_transformers.grid.numerics import spline
from spatial_transformers.grid.numerics.compiled import SPLINES
from spatial_transformers.grid.numerics.spline import (
    apply_along_axes,
    centred,
    evaluate,
    interpolation,
    odd_ends,
    uniform,
    weights,
)

dimensions = pytest.mark.parametrize("cells", [(4, 3), (1, 5), (2, 4, 3)])
degrees = pytest.mark.parametrize("degree", [1, 3])


def _axes(cells, degree):
    return [uniform(n, degree) for n in reversed(cells)]


def _coefficients(axes, n=2, channels=3):
    sizes = [axis.nodes for axis in reversed(axes)]
    return torch.randn(n, channels, *sizes, dtype=torch.float64)


def _points(n, ndim, k=40, reach=1.0):
    return list((torch.rand(ndim, n, k, dtype=torch.float64) * 2 - 1) * reach)


def _scipy(coefficients, cells, degree, points):
    """Evaluate one channel (*nodes) at points, x first, on uniform knots."""
    knots = [np.arange(-degree, n + degree + 1) * 2 / n - 1 for n in cells]
    spline = NdBSpline(tuple(knots), coefficients.numpy(), degree)
    return torch.from_numpy(spline(np.stack([p.numpy() for p in reversed(points)], -1)))


@degrees
@dimensions
def test_values_are_those_of_scipy(cells, degree):
    axes = _axes(cells, degree)
    coefficients, points = _coefficients(axes), _points(2, len(cells))
    found = evaluate(coefficients, axes, points)
    for n in range(2):
        for c in range(3):
            expected = _scipy(coefficients[n, c], cells, degree, [p[n] for p in points])
            assert_close(found[n, c], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sizes", [(5, 4), (3, 4, 2)])
def test_pixel_centres_are_those_of_images(sizes):
    axes = [centred(n) for n in reversed(sizes)]
    coefficients, points = _coefficients(axes, 1, 1), _points(1, len(sizes), reach=1.5)
    pixels = [
        (p[0].clamp(-1, 1).numpy() + 1) * n / 2 - 0.5
        for p, n in zip(reversed(points), sizes, strict=True)
    ]
    expected = map_coordinates(coefficients[0, 0].numpy(), pixels, order=1, mode="nearest")
    found = evaluate(coefficients, axes, points)[0, 0]
    assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-13)


@degrees
@dimensions
def test_lattices_are_evaluated_as_points(cells, degree):
    axes = _axes(cells, degree)
    coefficients, ndim = _coefficients(axes), len(cells)
    lattice = [
        (torch.rand(4 + a, dtype=torch.float64) * 3 - 1.5).reshape(*[1] * (ndim - a), -1, *[1] * a)
        for a in range(ndim)
    ]
    dense = [x.contiguous() for x in torch.broadcast_tensors(*lattice)]
    found = evaluate(coefficients, axes, lattice)
    assert found.shape == (2, 3, *dense[0].shape[1:])
    assert_close(found, evaluate(coefficients, axes, dense), rtol=0, atol=1e-14)
    many = [x.expand(2, *x.shape[1:]) for x in dense]
    assert_close(found, evaluate(coefficients, axes, many), rtol=0, atol=1e-14)


@degrees
@dimensions
def test_compiled_code_gives_what_pytorch_gives(cells, degree, monkeypatch):
    """Also where a batch of 1 serves all, and right at the ends, which are nodes."""
    if not SPLINES:
        pytest.skip("no compiled code here")
    axes = _axes(cells, degree)
    points = torch.stack(_points(2, len(cells), 12))
    points[:, :, :2] = torch.tensor([-1.0, 1.0])
    for coefficients, at in (
        (_coefficients(axes), points),
        (_coefficients(axes, 1), points),
        (_coefficients(axes), points[:, :1]),
    ):
        inputs = [coefficients.requires_grad_(), *(x.clone().requires_grad_() for x in at)]
        results = []
        for compiled in (SPLINES, {}):
            monkeypatch.setattr(spline, "SPLINES", compiled)
            values = evaluate(inputs[0], axes, inputs[1:])
            first = torch.autograd.grad(values.sin().sum(), inputs, retain_graph=True)
            slopes = torch.autograd.grad(values.sin().sum(), inputs, create_graph=True)
            second = torch.autograd.grad(sum(s.square().sum() for s in slopes), inputs)
            results.append((values, *first, *slopes, *second))
            monkeypatch.undo()
        for found, expected in zip(*results, strict=True):
            assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_compiled_code_takes_long_axes_and_single_precision():
    axes = [uniform(n, 3) for n in (200, 150)]
    coefficients, points = _coefficients(axes), _points(2, 2, 3000)
    found = evaluate(coefficients.float(), axes, [p.float() for p in points])
    assert_close(found.double(), evaluate(coefficients, axes, points), rtol=0, atol=1e-3)


@degrees
@pytest.mark.parametrize("cells", [4, 7])
def test_nodes_are_where_their_weight_is_largest(cells, degree):
    axis = uniform(cells, degree)
    knots = np.arange(-degree, cells + degree + 1) * 2 / cells - 1
    for j, position in enumerate(axis.positions().tolist()):
        own = BSpline.basis_element(knots[j : j + degree + 2], extrapolate=False)
        around = np.array([-0.1, 0.0, 0.1]) / cells + position
        assert own(around).argmax() == 1


@degrees
def test_weights_are_a_partition_of_unity(degree):
    f = torch.linspace(0, 1, 101, dtype=torch.float64)
    parts = torch.stack(weights(f, degree))
    assert len(parts) == degree + 1
    assert bool((parts >= 0).all())
    assert_close(parts.sum(0), torch.ones_like(f), rtol=0, atol=1e-15)


@degrees
def test_beyond_the_ends_is_the_nearest_point(degree):
    axes = _axes((4, 3), degree)
    coefficients, points = _coefficients(axes), _points(2, 2, reach=1e3)
    nearest = [p.clamp(-1, 1) for p in points]
    assert_close(evaluate(coefficients, axes, points), evaluate(coefficients, axes, nearest))


@degrees
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e300])
def test_no_coordinate_crashes(degree, bad):
    axes = _axes((4, 3), degree)
    x, y = _points(2, 2)
    x[:, 3] = bad
    values = evaluate(_coefficients(axes), axes, (x, y))
    finite = values.isfinite().all(1).all(0)
    assert finite.sum() - finite[3].long() == 39
    assert finite[3] or np.isnan(bad)


@degrees
def test_the_slope_at_an_end_is_the_mean_of_both_sides(degree):
    axes = _axes((4, 3), degree)
    coefficients = _coefficients(axes, 1, 1)
    x = torch.tensor([[-1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[0.3, 0.3]], dtype=torch.float64)
    (slope,) = torch.autograd.grad(evaluate(coefficients, axes, (x, y)).sum(), x)
    step = 1e-7
    ahead, behind = (evaluate(coefficients, axes, (x + s, y)) for s in (step, -step))
    assert_close(slope, ((ahead - behind) / (2 * step))[0].detach(), rtol=1e-5, atol=1e-6)


def test_cubic_splines_are_smooth_at_nodes(check_derivatives):
    axes = _axes((4, 2), 3)
    coefficients = _coefficients(axes, 1, 2).requires_grad_()
    x = torch.tensor([[-0.5, 0.0, 0.5]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[0.0, 0.0, 0.3]], dtype=torch.float64, requires_grad=True)
    check_derivatives(lambda c, x, y: evaluate(c, axes, (x, y)), (coefficients, x, y))


@pytest.mark.parametrize("cells", [3, 4, 17, 60])
def test_interpolation_is_scipys(cells):
    nodes = np.linspace(-1, 1, cells + 1)
    values = torch.randn(cells + 1, dtype=torch.float64)
    coefficients = interpolation(cells) @ values
    expected = make_interp_spline(nodes, values.numpy(), k=3)  # not-a-knot
    x = torch.rand(50, dtype=torch.float64) * 2 - 1
    knots = np.arange(-3, cells + 4) * 2 / cells - 1
    found = BSpline(knots, coefficients.numpy(), 3)(x.numpy())
    assert_close(found, expected(x.numpy()), rtol=0, atol=1e-12)


def test_a_matrix_per_axis_interpolates_along_each():
    cells = (3, 5, 4)
    values = torch.randn(2, 3, *[n + 1 for n in cells], dtype=torch.float64)
    axes = _axes(cells, 3)
    coefficients = apply_along_axes([interpolation(n) for n in reversed(cells)], values)
    lattice = [
        torch.linspace(-1, 1, n + 1, dtype=torch.float64).reshape(1, *shape)
        for n, shape in zip(reversed(cells), [(1, 1, -1), (1, -1, 1), (-1, 1, 1)], strict=True)
    ]
    assert_close(evaluate(coefficients, axes, lattice), values, rtol=0, atol=1e-13)


@pytest.mark.parametrize("border", [False, True])
def test_odd_ends_continue_with_the_other_sign(border):
    values = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    padded = odd_ends(values, 2, border=border)
    beyond = 2 if border else 1
    assert padded.shape == (2, 3, 4 + 2 * beyond, 5 + 2 * beyond)
    inside = padded[..., beyond:-beyond, beyond:-beyond]
    assert_close(inside, values, rtol=0, atol=0)
    for axis in (-1, -2):
        along = padded.movedim(axis, 0)
        assert_close(along[0], -along[beyond], rtol=0, atol=0)
        assert_close(along[-1], -along[-1 - beyond], rtol=0, atol=0)
    if border:
        assert bool((padded[..., 1] == 0).all() and (padded[..., -2] == 0).all())
