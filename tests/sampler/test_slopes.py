"""Gradients in place of eq. 7's; oracles: bilinear sampling, least squares, where descent leads."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, InputError, Translation, sample, warp
from spatial_transformers.sampler.options import GRADIENTS

from .oracles import cotangent, normalise, off_kinks

OTHERS = [g for g in GRADIENTS if g != "exact"]
others = pytest.mark.parametrize("gradient", OTHERS)
dimensions = pytest.mark.parametrize("ndim", [1, 2, 3, 4])
SIZES = (4, 5, 6, 3)


def _problem(ndim):
    size = SIZES[:ndim]
    grid = normalise(off_kinks(2, size, size), size, False)
    return torch.randn(2, 3, *size, dtype=torch.float64), grid


def _slope(function, coordinates):
    leaf = coordinates.detach().clone().requires_grad_()
    values = function(leaf)
    return values.detach(), torch.autograd.grad(values, leaf, cotangent(values))[0]


@others
@dimensions
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "lanczos3"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "wrap"])
def test_values_and_the_image_gradient_stay(gradient, ndim, mode, padding_mode):
    image, grid = _problem(ndim)
    image.requires_grad_()
    options = {"mode": mode, "padding_mode": padding_mode}
    due = sample(image, grid, **options)
    found = sample(image, grid.requires_grad_(), gradient=gradient, **options)
    assert_identical(found.detach(), due.detach())
    slopes = [torch.autograd.grad(v, image, cotangent(v))[0] for v in (found, due)]
    assert_identical(*slopes)


@dimensions
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection", "renormalise"])
@pytest.mark.parametrize("mode", ["nearest", "bicubic"])
def test_straight_through_is_the_slope_of_bilinear(ndim, padding_mode, mode):
    image, grid = _problem(ndim)
    if padding_mode == "renormalise":
        grid = grid.clamp(-0.6, 0.6)
    options = {"padding_mode": padding_mode}
    straight = {"mode": mode, "gradient": "straight-through", **options}
    _, found = _slope(lambda g: sample(image, g, **straight), grid)
    _, due = _slope(lambda g: sample(image, g, **options), grid)
    assert_close(found, due)


@pytest.mark.parametrize("shrink", [0.5, 1.0, 3.0])
def test_linearized_is_the_plane_of_least_squares(shrink):
    """Samples one spacing apart, but not less than a pixel; oracle: numpy's least squares."""
    image = torch.randn(1, 1, 40, 40, dtype=torch.float64)
    affine, size = Affine(), 10
    theta = affine.identity()[None].double() * shrink / 4
    found = torch.autograd.grad(
        warp(image, leaf := theta.clone().requires_grad_(), affine, size=size, **LINEAR)[
            0, 0, 4, 6
        ],
        leaf,
    )[0]
    centre = affine.pixels(theta, size, (40, 40))[0, 4, 6]
    width = max(shrink, 1.0)
    offsets = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0]).double() * width] * 2)
    around = normalise(centre + offsets, (40, 40), False)[None, None]
    values = sample(image, around)[0, 0, 0]
    design = np.column_stack((offsets.numpy(), np.ones(9)))
    plane = np.linalg.lstsq(design, values.numpy(), rcond=None)[0]
    position = np.array([(6 - 4.5) / 5, (4 - 4.5) / 5, 1])  # of the target, normalised
    due = np.concatenate([plane[k] * 20 * position for k in range(2)])
    assert_close(found[0], torch.from_numpy(due))


LINEAR = {"gradient": "linearized"}


def test_a_ramp_has_one_slope_at_every_scale():
    image = torch.arange(64.0).double().expand(1, 1, 64, 64).contiguous()
    grid = torch.rand(1, 5, 5, 2, dtype=torch.float64) / 4
    for gradient in GRADIENTS:
        leaf = grid.clone().requires_grad_()
        (slope,) = torch.autograd.grad(sample(image, leaf, gradient=gradient).sum(), leaf)
        assert_close(slope, torch.tensor([32.0, 0.0]).double().expand_as(slope))


def _blob(x):
    position = torch.arange(64.0) - 31.5
    return torch.exp(-0.5 * ((position - x) ** 2 + position[:, None] ** 2) / 2)[None, None]


@pytest.mark.parametrize("distance", [20.0, -20.0])
def test_multi_scale_sees_where_the_exact_gradient_is_blind(distance):
    """Brightness asked for where no blob is: only a pyramid's gradient moves one there."""
    image, window, translation = _blob(distance), _blob(0.0), Translation()
    slopes = {}
    for gradient in ("exact", "multi-scale"):
        theta = torch.zeros(1, 2, requires_grad=True)
        moved = warp(image, theta, translation, gradient=gradient)
        (slopes[gradient],) = torch.autograd.grad((moved * window).sum(), theta)
    assert slopes["exact"][0, 0].abs() < 1e-6
    assert slopes["multi-scale"][0, 0] * distance > 1e-3  # ascent reads where the blob is


@others
def test_coordinates_that_are_not_finite_have_no_slope(gradient):
    image, grid = _problem(2)
    grid[0, 0, 0, 0], grid[1, 2, 1] = torch.nan, torch.inf
    values, slope = _slope(lambda g: sample(image, g, gradient=gradient), grid)
    assert_identical(values, sample(image, grid))
    assert slope.isfinite().all()
    assert not slope[0, 0, 0].any()
    assert not slope[1, 2, 1].any()
    assert slope[0, 1].any()


@others
def test_second_derivatives_are_zero(gradient):
    image, grid = _problem(2)
    leaf = grid.requires_grad_()
    (slope,) = torch.autograd.grad(
        sample(image, leaf, gradient=gradient).square().sum(), leaf, create_graph=True
    )
    (second,) = torch.autograd.grad(slope.sum(), leaf)
    due = torch.autograd.grad(sample(image, leaf, gradient=gradient).sum(), leaf)[0]
    assert second.any()  # of the square, but none of the sampler's own
    ones = torch.ones_like(slope)
    (linear,) = torch.autograd.grad(
        sample(image, leaf, gradient=gradient).sum(), leaf, ones.sum() * 0 + 1, create_graph=True
    )
    assert_identical(linear.detach(), due)
    assert not linear.requires_grad


@others
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16])
def test_other_dtypes(gradient, dtype):
    image = (torch.rand(1, 1, 9, 9) * 9).to(dtype)
    theta = Affine().identity()[None] * 0.7
    found = warp(image, theta, Affine(), mode="nearest", gradient=gradient)
    assert_identical(found, warp(image, theta, Affine(), mode="nearest"))


@pytest.mark.traced
def test_an_unknown_gradient():
    with pytest.raises(InputError, match=r"gradient 'best' was asked for; known: exact, straight"):
        warp(torch.zeros(1, 1, 4, 4), Affine().identity()[None], Affine(), gradient="best")
