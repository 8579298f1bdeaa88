"""The regular grid and its units; oracle: torch's affine_grid of the identity, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from spatial_transformers import InputError
from spatial_transformers.grid.regular import (
    as_size,
    centred_axes,
    half_extents,
    pixel_frame,
    regular_grid,
    unnormalise,
)

corners = pytest.mark.parametrize("align_corners", [False, True])
sizes = pytest.mark.parametrize(
    "size", [(1, 1), (1, 8), (7, 1), (5, 6), (28, 28), (224, 97), (1, 1, 1), (4, 1, 7), (9, 16, 5)]
)

# affine_grid warns about an axis of one pixel, whose coordinate is 0 here as it is there
pytestmark = pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid:UserWarning")


def _affine_grid(size, align_corners):
    identity = torch.eye(len(size), len(size) + 1, dtype=torch.float64)[None]
    return F.affine_grid(identity, [1, 1, *size], align_corners=align_corners)[0]


@corners
@sizes
def test_regular_grid(size, align_corners):
    grid = regular_grid(size, ndim=len(size), align_corners=align_corners)
    assert grid.dtype == torch.float32
    expected = _affine_grid(size, align_corners)
    assert_close(grid.double(), expected, rtol=0, atol=2**-23)  # two roundings


@corners
@sizes
def test_centred_axes_over_half_extents_are_the_grid(size, align_corners):
    axes = centred_axes(size, dtype=torch.float64)
    extents = half_extents(size, align_corners)
    assert [axis.shape[-1 - a] for a, axis in enumerate(axes)] == list(reversed(size))
    normalised = [axis / extent for axis, extent in zip(axes, extents, strict=True)]
    grid = torch.stack(torch.broadcast_tensors(*normalised), -1)[0]
    assert_close(grid, _affine_grid(size, align_corners), rtol=0, atol=1e-15)


@corners
@sizes
def test_pixel_frame_and_unnormalise_give_pixel_indices(size, align_corners):
    grid = _affine_grid(size, align_corners)
    indices = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij")[::-1], -1)
    scale, centre = (torch.tensor(unit).double() for unit in pixel_frame(size, align_corners))
    assert_close(grid * scale + centre, indices.double(), rtol=0, atol=1e-12)
    pixels = unnormalise(grid[None], size, align_corners)[0]
    assert_close(pixels, indices.double(), rtol=0, atol=1e-12)


@corners
def test_unnormalise_obeys_grid_sample(align_corners):
    size = (5, 8, 3)
    grid = torch.rand(2, 4, 4, 4, 3, dtype=torch.float64) * 1.2 - 0.6
    z, y, x = torch.meshgrid(*[torch.arange(n).double() for n in size], indexing="ij")
    ramp = torch.stack((x, y, z))[None].expand(2, -1, -1, -1, -1)  # a channel per coordinate
    pixels = F.grid_sample(ramp, grid, padding_mode="border", align_corners=align_corners)
    assert_close(unnormalise(grid, size, align_corners), pixels.movedim(1, -1))


def test_edges_and_corners_are_at_one():
    assert regular_grid((4, 10), align_corners=True)[0, 0].tolist() == [-1, -1]
    assert regular_grid((4, 10), align_corners=True)[-1, -1].tolist() == [1, 1]
    assert regular_grid((4, 8))[-1, -1].tolist() == [1 - 1 / 8, 1 - 1 / 4]


@pytest.mark.parametrize("size", [(3, 4), [3, 4], torch.Size((3, 4))])
def test_as_size_keeps_what_is_complete(size):
    assert as_size(size, 2) == (3, 4)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_as_size_repeats_one_number(ndim):
    assert as_size(5, ndim) == (5,) * ndim


@pytest.mark.traced
@pytest.mark.parametrize(
    ("size", "ndim", "hint"),
    [
        ((3, 4, 5), 2, "(H, W)"),
        ((3, 4), 3, "(D, H, W)"),
        ((), 2, "(H, W)"),
        ((3, 0), 2, "at least 1"),
        ((-1, 3), 2, "at least 1"),
        (0, 3, "at least 1"),
        ((3, 4), 1, "(W,)"),
    ],
)
def test_as_size_says_what_to_give(size, ndim, hint):
    with pytest.raises(InputError) as error:
        as_size(size, ndim)
    assert repr(size) in str(error.value)
    assert hint in str(error.value)
