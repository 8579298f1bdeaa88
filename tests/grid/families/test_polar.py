"""Polar coordinates; oracles: cv2.warpPolar, scikit-image's warp_polar, images that are turned."""

import math

import cv2
import numpy as np
import pytest
import torch
from skimage.transform import warp_polar
from torch.testing import assert_close

from spatial_transformers import InputError, LogPolar, Polar, warp

HEIGHT, WIDTH = 60, 80  # of the source
COLUMNS, ROWS = 24, 36  # of the target
RADIUS = 25.0  # pixels


def _polar(radius=RADIUS):
    """Make a map whose circles are those of the source's pixels."""
    return Polar(radius=radius / (WIDTH / 2), aspect=WIDTH / HEIGHT)


def _theta(x, y):
    """Put the origin at a pixel of the source."""
    return torch.tensor([[(2 * x + 1) / WIDTH - 1, (2 * y + 1) / HEIGHT - 1]], dtype=torch.float64)


def _opencv_points():
    """Return the target points at which OpenCV and scikit-image put their pixels."""
    y, x = torch.meshgrid(
        torch.arange(ROWS, dtype=torch.float64) * (2 / ROWS) - 1,
        torch.arange(COLUMNS, dtype=torch.float64) * (2 / COLUMNS) - 1,
        indexing="ij",
    )
    return torch.stack((x, y), -1).reshape(1, -1, 2)


def _pixels(transformation, theta):
    """Map those points to pixel indices of the source: (ROWS, COLUMNS, 2)."""
    mapped = transformation.transform_points(theta, _opencv_points())
    extent = torch.tensor([WIDTH, HEIGHT], dtype=torch.float64)
    return ((mapped + 1) * extent / 2 - 0.5).reshape(ROWS, COLUMNS, 2)


def _ramps(dtype):
    """Return the images that hold their own x, and their own y."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(dtype)
    return x, y


@pytest.mark.parametrize("origin", [(40.0, 30.0), (33.25, 27.5)])
def test_layout_is_that_of_opencv(origin):
    pixels = _pixels(_polar(), _theta(*origin))
    for axis, ramp in enumerate(_ramps(np.float32)):
        flags = cv2.WARP_POLAR_LINEAR + cv2.INTER_LINEAR
        seen = cv2.warpPolar(ramp, (COLUMNS, ROWS), origin, RADIUS, flags)
        # OpenCV rounds where it samples to 1/32 pixel: half of it, and float32 of 80 pixels
        assert_close(pixels[..., axis].float(), torch.from_numpy(seen), rtol=0, atol=1 / 64 + 2e-5)


def test_coordinates_are_those_of_scikit_image():
    pixels = _pixels(_polar(), _theta(33.25, 27.5))
    for axis, ramp in enumerate(_ramps(np.float64)):
        seen = warp_polar(ramp, (27.5, 33.25), radius=RADIUS, output_shape=(ROWS, COLUMNS))
        assert_close(pixels[..., axis], torch.from_numpy(seen), rtol=0, atol=1e-10)


def _waves(x, y):
    """Return a smooth picture, at coordinates relative to its origin."""
    return np.sin(5 * x + 1) * np.cos(4 * y) + 0.5 * np.sin(3 * x * y + 2 * y)


def _picture(angle, scale=1.0, n=256):
    """Draw it in pixels of an n × n image, turned clockwise and scaled about (0.2, -0.1)."""
    y, x = (2 * np.mgrid[:n, :n] + 1) / n - 1
    x, y = x - 0.2, y + 0.1
    turned = (math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x)
    return torch.from_numpy(_waves(turned[0] / scale, turned[1] / scale))[None, None]


@pytest.mark.parametrize("rows", [1, 5, 9])
def test_turning_the_source_shifts_the_target_down(rows):
    polar, origin, size = Polar(radius=0.6), torch.tensor([[0.2, -0.1]]).double(), (36, 20)
    upright = warp(_picture(0), origin, polar, size=size)
    turned = warp(_picture(rows * 2 * math.pi / 36), origin, polar, size=size)
    assert (turned - upright).abs().max() > 0.1
    # linear interpolation errs by h² / 8 times the second derivatives, here below 60 in both
    assert_close(turned, upright.roll(rows, dims=2), rtol=0, atol=(2 / 256) ** 2 / 8 * 120)


def test_pixel_centres_are_half_a_row_from_the_edges():
    grid = Polar().grid(torch.zeros(1, 2), (8, 4))[0]
    assert_close(torch.atan2(grid[0, :, 1], grid[0, :, 0]), torch.full((4,), math.pi / 8))
    assert_close(grid[0].norm(dim=-1), torch.tensor([0.125, 0.375, 0.625, 0.875]))
    corners = Polar().grid(torch.zeros(1, 2), (9, 5), align_corners=True)[0]
    assert_close(corners[0], corners[-1], rtol=0, atol=1e-6)
    assert_close(corners[0, :, 0], torch.linspace(0, 1, 5))


def test_inverse_points_are_radius_and_angle():
    points = torch.rand(4, 50, 2, dtype=torch.float64) * 4 - 2
    theta = torch.rand(4, 2, dtype=torch.float64) - 0.5
    found = Polar(radius=0.7, aspect=1.5).inverse_points(theta, points).numpy()
    d = (points - theta[:, None]).numpy()
    radius, angle = np.hypot(d[..., 0], d[..., 1] / 1.5), np.arctan2(d[..., 1] / 1.5, d[..., 0])
    np.testing.assert_allclose(found[..., 0], 2 * radius / 0.7 - 1, rtol=0, atol=1e-12)
    expected = np.where(angle < 0, angle + 2 * np.pi, angle) / np.pi - 1
    np.testing.assert_allclose(found[..., 1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_stay_below_a_full_turn(dtype):
    tiny = torch.finfo(dtype).tiny
    around = [(1.0, -tiny), (1.0, -1e-9), (1.0, -1e-17), (1.0, -0.0), (-1.0, -0.0), (-1.0, 0.0)]
    y = Polar().inverse_points(torch.zeros(1, 2, dtype=dtype), torch.tensor([around], dtype=dtype))
    y = y[0, :, 1]
    assert ((y >= -1) & (y < 1)).all()
    assert y[3:].tolist() == [-1.0, 0.0, 0.0]


def test_points_beyond_the_target_come_back_to_it():
    beyond = torch.tensor([[[0.5, 1.25], [0.5, -1.25], [-1.5, -0.5]]])
    within = torch.tensor([[[0.5, -0.75], [0.5, 0.75], [-0.5, 0.5]]])
    theta = torch.tensor([[0.1, 0.2]])
    polar = Polar()
    assert_close(polar.inverse_points(theta, polar.transform_points(theta, beyond)), within)


def test_the_origin_has_radius_0_and_a_gradient_of_0():
    theta = torch.tensor([[0.1, 0.2]], requires_grad=True)
    points = torch.tensor([[[0.1, 0.2], [0.4, 0.6]]], requires_grad=True)
    found = Polar().inverse_points(theta, points)
    assert found[0, 0].tolist() == [-1, -1]
    first = torch.autograd.grad(found.square().sum(), (theta, points), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (theta, points))
    for gradient in (*first, *second):
        assert gradient.isfinite().all()
    assert first[1][0, 0].tolist() == [0, 0]
    assert (first[1][0, 1] != 0).all()


def test_describe_reads_percent_of_the_extent():
    parts = Polar().describe(torch.tensor([[0.5, -0.2]]))
    assert list(parts) == ["origin x (%)", "origin y (%)"]
    assert_close(torch.stack(list(parts.values())), torch.tensor([[25.0], [-10.0]]))


def test_bounds_keep_the_origin_in_the_image():
    polar = Polar(bounds=(-1, 1))
    assert_close(polar.values(torch.tensor([[5e6, -5e6]])), torch.tensor([[1.0, -1.0]]))
    polar = Polar(bounds={"y0": (-0.5, 0.5)})
    origin = polar.transform_points(torch.tensor([[3.0, 9e6]]), torch.tensor([[[-1.0, 0.0]]]))
    assert_close(origin, torch.tensor([[[3.0, 0.5]]]))
    theta, points = torch.tensor([[3.0, 9.0]]), torch.tensor([[[0.2, 0.4]]])
    assert_close(polar.inverse_points(theta, polar.transform_points(theta, points)), points)


def test_repr_tells_what_was_chosen():
    assert repr(Polar()) == "Polar(ndim=2)"
    chosen = Polar(radius=1.5, aspect=0.5, bounds=(-1, 1))
    assert repr(chosen) == "Polar(ndim=2, radius=1.5, aspect=0.5, bounds=(-1, 1))"


@pytest.mark.traced
@pytest.mark.parametrize("name", ["radius", "aspect"])
@pytest.mark.parametrize("wrong", [0, -1.5, math.inf, math.nan])
def test_lengths_must_be_positive(name, wrong):
    with pytest.raises(InputError, match=rf"Polar\({name}={wrong}\).*give a finite {name} above 0"):
        Polar(**{name: wrong})


@pytest.mark.traced
def test_volumes_are_refused():
    with pytest.raises(InputError, match=r"Polar\(ndim=3\): ndim is 2"):
        Polar(3)


def test_a_point_that_is_nan_stays_nan():
    for family in (Polar(), LogPolar()):
        assert (
            family.inverse_points(torch.zeros(1, 2), torch.full((1, 1, 2), torch.nan)).isnan().all()
        )
