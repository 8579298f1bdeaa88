"""`move_inside` continues the image as its pictures say; oracle: `numpy.pad`, values and slopes."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spatial_transformers.sampler.padding import FILLING, PADDING_MODES, move_inside

corners = pytest.mark.parametrize("align_corners", [False, True])
lengths = pytest.mark.parametrize("length", [1, 2, 3, 4, 7])
REACH = 30  # pixels looked at on either side


def _moved(x, length, padding_mode, align_corners):
    """Return the coordinates inside, and their slopes."""
    x = x.clone().requires_grad_()
    moved = move_inside(x, length, padding_mode, align_corners)
    (slope,) = torch.autograd.grad(moved.sum(), x)
    return moved.detach(), slope


@lengths
@corners
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
def test_whole_pixels_as_numpy_pads(length, align_corners, padding_mode):
    reflection = "reflect" if align_corners else "symmetric"
    mode = {"border": "edge", "reflection": reflection}[padding_mode]
    x = torch.arange(-REACH, length + REACH, dtype=torch.float64)
    moved, _ = _moved(x, length, padding_mode, align_corners)
    due = np.pad(np.arange(length), REACH, mode=mode)
    assert moved.tolist() == due.tolist()


@lengths
@corners
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
def test_between_pixels_linear_as_numpy_pads(length, align_corners, padding_mode):
    reflection = "reflect" if align_corners else "symmetric"
    mode = {"border": "edge", "reflection": reflection}[padding_mode]
    whole = np.arange(-REACH, length + REACH)
    padded = np.pad(np.arange(length), REACH, mode=mode)
    x = (torch.rand(500, dtype=torch.float64) * 2 - 1) * (REACH - 1) + length / 2
    moved, slope = _moved(x, length, padding_mode, align_corners)
    assert_close(moved, torch.from_numpy(np.interp(x, whole, padded)))
    floor = (x.floor().long() + REACH).numpy()
    assert_close(slope, torch.from_numpy((padded[floor + 1] - padded[floor]).astype(float)))


@lengths
@corners
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
def test_slope_is_zero_at_and_beyond_the_end_pixels_centres(length, align_corners, padding_mode):
    ends = torch.tensor([0.0, length - 1.0, -0.5, length - 0.5])
    moved, slope = _moved(ends, length, padding_mode, align_corners)
    due = torch.tensor([0, length - 1, 0, length - 1])
    if padding_mode == "reflection" and align_corners and length > 1:  # half a pixel back inside
        due = torch.tensor([0, length - 1, 0.5, length - 1.5])
        slope = slope[:2]
    assert moved.tolist() == due.tolist()
    assert not slope.any()


@lengths
@corners
@pytest.mark.parametrize("padding_mode", ["border", "reflection"])
@pytest.mark.parametrize("x", [1e6, -1e6, 1e12, -1e30, 3e38])
def test_far_coordinates_come_inside(length, align_corners, padding_mode, x):
    moved, slope = _moved(torch.tensor([x]), length, padding_mode, align_corners)
    assert 0 <= moved.item() <= length - 1
    assert slope.isfinite().all()


@lengths
@corners
@pytest.mark.parametrize("padding_mode", FILLING)
def test_filling_modes_move_nothing(length, align_corners, padding_mode):
    x = torch.linspace(-9, 9, 50)
    moved, slope = _moved(x, length, padding_mode, align_corners)
    assert torch.equal(moved, x)
    assert slope.eq(1).all()


def test_every_mode_is_tested_here():
    assert set(PADDING_MODES) == {*FILLING, "border", "reflection"}
