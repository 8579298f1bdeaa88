"""Families of one's own as a matrix times functions; oracles: the reference, the formula itself."""

import pytest
import torch
from torch.testing import assert_close

from sampler.backends.paths import needs_library
from spatial_transformers import InputError, Linear, warp
from spatial_transformers.grid.regular import regular_grid

SIZE, SOURCE = (6, 9), (8, 7)


class Bend(Linear):
    """A shear of x along y, and a parabola that moves the left and right edges along y."""

    entries = ("shear", "bend")

    def identity(self):
        return torch.zeros(2)

    def describe(self, theta):
        return dict(zip(self.entries, self.values(theta).unbind(-1), strict=True))

    def _matrix(self, values):
        shear, bend = values.unbind(-1)
        zero, one = torch.zeros_like(shear), torch.ones_like(shear)
        rows = (one, shear, zero, zero), (zero, one, zero, bend)
        return torch.stack([torch.stack(row, -1) for row in rows], 1)

    def _functions(self, coordinates):
        return (coordinates[0] ** 2,)


THETA = torch.tensor([[0.3, -0.2], [-0.4, 0.5]], dtype=torch.float64)


def _expected(grid, theta):
    shear, bend = theta.T.reshape(2, -1, *[1] * (grid.ndim - 2))
    x, y = grid.unbind(-1)
    return torch.stack((x + shear * y, y + bend * x**2), -1)


@pytest.mark.parametrize("align_corners", [False, True])
def test_grid_and_basis_are_those_of_the_formula(align_corners):
    options = {"align_corners": align_corners, "dtype": torch.float64}
    grid, bend = regular_grid(SIZE, **options), Bend()
    expected = _expected(grid[None], THETA)
    assert_close(bend.grid(THETA, SIZE, align_corners=align_corners), expected)
    basis = bend.basis(SIZE, **options)
    x, y = grid.unbind(-1)
    assert_close(basis, torch.stack((x, y, torch.ones_like(x), x**2)))
    assert_close(torch.einsum("nij,jhw->nhwi", bend.matrix(THETA), basis), expected)


def test_points_come_back():
    points = torch.rand(2, 5, 2, dtype=torch.float64) - 0.5
    there = Bend().transform_points(THETA, points)
    assert_close(there, _expected(points, THETA))
    assert_close(Bend().inverse_points(THETA, there), points, rtol=0, atol=1e-5)


@needs_library
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_the_fused_backend_runs_its_matrix_and_makes_no_grid(mode, monkeypatch):
    image, bend = torch.rand(2, 3, *SOURCE, dtype=torch.float64), Bend()
    theta = THETA.clone().requires_grad_()
    found = {}
    for backend in ("reference", "cpu"):
        if backend == "cpu":
            monkeypatch.setattr(Bend, "pixels", None)  # whoever calls it fails
        warped = warp(image, theta, bend, size=SIZE, mode=mode, backend=backend)
        gradient = torch.autograd.grad(warped.square().sum(), theta, allow_unused=True)[0]
        found[backend] = warped, torch.zeros_like(theta) if gradient is None else gradient
    assert_close(found["cpu"], found["reference"], rtol=0, atol=1e-10)


@pytest.mark.traced
def test_another_number_of_functions_than_columns_is_refused(monkeypatch):
    monkeypatch.setattr(Bend, "_functions", Linear._functions)
    with pytest.raises(InputError, match=r"matrix has 4 columns and B has 3 rows; give as many"):
        Bend().grid(THETA, SIZE)
