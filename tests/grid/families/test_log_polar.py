"""Log-polar coordinates; oracles: scikit-image's and OpenCV's, images turned and scaled."""

import math

import cv2
import numpy as np
import pytest
import torch
from skimage.transform import warp_polar
from torch.testing import assert_close

from spatial_transformers import InputError, LogPolar, warp

from .test_polar import (
    COLUMNS,
    HEIGHT,
    RADIUS,
    ROWS,
    WIDTH,
    _picture,
    _pixels,
    _ramps,
    _theta,
)


def _log_polar():
    """Make a map whose circles grow from 1 pixel of the source, as those of the oracles."""
    return LogPolar(inner=2 / WIDTH, radius=2 * RADIUS / WIDTH, aspect=WIDTH / HEIGHT)


def test_coordinates_are_those_of_scikit_image():
    pixels = _pixels(_log_polar(), _theta(33.25, 27.5))
    options = {"radius": RADIUS, "output_shape": (ROWS, COLUMNS), "scaling": "log"}
    for axis, ramp in enumerate(_ramps(np.float64)):
        seen = warp_polar(ramp, (27.5, 33.25), **options)
        assert_close(pixels[..., axis], torch.from_numpy(seen), rtol=0, atol=1e-10)


def test_layout_is_that_of_opencv():
    pixels = _pixels(_log_polar(), _theta(40, 30)).float()
    angle = torch.arange(ROWS) * (2 * math.pi / ROWS)
    one_pixel = torch.stack((angle.cos(), angle.sin()), -1)[:, None]
    pixels = pixels - one_pixel  # OpenCV's radius is a power less 1 pixel
    for axis, ramp in enumerate(_ramps(np.float32)):
        flags = cv2.WARP_POLAR_LOG + cv2.INTER_LINEAR
        seen = cv2.warpPolar(ramp, (COLUMNS, ROWS), (40, 30), RADIUS, flags)
        # OpenCV rounds where it samples to 1/32 pixel: half of it, and float32 of 80 pixels
        assert_close(pixels[..., axis], torch.from_numpy(seen), rtol=0, atol=1 / 64 + 2e-5)


@pytest.mark.parametrize(("rows", "columns"), [(9, 0), (0, 3), (5, 2), (7, -4)])
def test_turning_and_scaling_the_source_shift_the_target(rows, columns):
    log_polar, origin = LogPolar(inner=0.1, radius=0.6), torch.tensor([[0.2, -0.1]]).double()
    factor = (0.6 / 0.1) ** (columns / 20)
    upright = warp(_picture(0), origin, log_polar, size=(36, 20))
    changed = warp(_picture(rows * 2 * math.pi / 36, factor), origin, log_polar, size=(36, 20))
    assert (changed - upright).abs().max() > 0.1
    seen = slice(max(columns, 0), 20 + min(columns, 0))
    shifted = upright.roll((rows, columns), dims=(2, 3))
    # linear interpolation errs by h² / 8 times the second derivatives, here below 60 and 130
    assert_close(changed[..., seen], shifted[..., seen], rtol=0, atol=(2 / 256) ** 2 / 8 * 190)


def test_radius_grows_by_a_factor_per_column_and_goes_on_below_the_inner_one():
    points = torch.tensor([[[x, -1.0] for x in (-3.0, -1.0, 0.0, 1.0, 2.0)]])
    log_polar, theta = LogPolar(inner=0.01), torch.tensor([[0.2, 0.3]])
    mapped = log_polar.transform_points(theta, points)
    assert_close(mapped[0, :, 0], 0.2 + torch.tensor([1e-4, 0.01, 0.1, 1.0, 10.0]))
    assert_close(log_polar.inverse_points(theta, mapped)[0, 1:, 0], points[0, 1:, 0])
    assert log_polar.inverse_points(theta, mapped)[0, 0, 0] == pytest.approx(-3, abs=1e-3)


def test_the_origin_is_infinitely_far_to_the_left_with_a_gradient_of_0():
    theta = torch.tensor([[0.1, 0.2]], requires_grad=True)
    points = torch.tensor([[[0.1, 0.2], [0.4, 0.6]]], requires_grad=True)
    found = LogPolar().inverse_points(theta, points)
    assert found[0, 0].tolist() == [-math.inf, -1]
    first = torch.autograd.grad(found.sum(), (theta, points), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (theta, points))
    for gradient in (*first, *second):
        assert gradient.isfinite().all()
    assert first[1][0, 0].tolist() == [0, 0]
    assert (first[1][0, 1] != 0).all()


def test_repr_tells_what_was_chosen():
    assert repr(LogPolar()) == "LogPolar(ndim=2)"
    assert repr(LogPolar(radius=0.5, inner=0.1)) == "LogPolar(ndim=2, inner=0.1, radius=0.5)"


@pytest.mark.traced
@pytest.mark.parametrize("wrong", [0, -1.5, math.inf, math.nan])
def test_the_inner_radius_must_be_positive(wrong):
    with pytest.raises(InputError, match=rf"LogPolar\(inner={wrong}\).*a finite inner above 0"):
        LogPolar(inner=wrong)


@pytest.mark.traced
@pytest.mark.parametrize("radius", [0.05, 0.01])
def test_the_radius_must_be_above_the_inner_one(radius):
    message = rf"LogPolar\(inner=0.05, radius={radius}\).*above the inner one"
    with pytest.raises(InputError, match=message):
        LogPolar(radius=radius)


@pytest.mark.traced
def test_bounds_of_an_unknown_entry_name_the_family():
    with pytest.raises(InputError, match=r"LogPolar\(ndim=2\).*'s'.*x0 y0"):
        LogPolar(bounds={"s": (0, 1)})
