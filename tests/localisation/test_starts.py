"""Where transformers begin; oracle: the corners of the region that is read."""

import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import (
    Affine,
    Attention,
    InputError,
    Projective,
    ThinPlateSpline,
    Translation,
    make_transformation,
    region_start,
    tiled_starts,
)

CORNERS = torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1]], dtype=torch.float64)


@pytest.mark.parametrize(
    "transformation", [Affine(), Attention(), Projective(), ThinPlateSpline(3)], ids=repr
)
def test_the_region_is_read(transformation):
    theta = region_start(transformation, 0.4, (0.3, -0.2))[None]
    found = transformation.transform_points(theta, CORNERS[None])
    expected = 0.4 * CORNERS + torch.tensor([0.3, -0.2], dtype=torch.float64)
    assert_close(found[0], expected, rtol=0, atol=1e-6)


def test_in_3d():
    theta = region_start(Affine(3), 0.5, (0.1, 0.2, 0.3))
    assert_close(theta.view(3, 4)[:, :3], 0.5 * torch.eye(3, dtype=torch.float64))
    assert_close(theta.view(3, 4)[:, 3], torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))


def test_a_family_that_cannot_crop_comes_near():
    assert_close(region_start(Translation(), 0.5, (0.3, 0.1)).float(), torch.tensor([0.3, 0.1]))
    rotation = make_transformation("rigid")
    assert_close(region_start(rotation, 0.5)[0].float(), torch.tensor(0.0))


def test_tiles_cover_the_image_once():
    starts = tiled_starts(Attention(), 9)
    grids = Attention().grid(starts, 4).flatten(0, 2)  # the centres of 12 × 12 pixels
    assert grids.shape == (144, 2)
    assert len(torch.unique((grids * 12).round(), dim=0)) == 144
    assert tiled_starts(Affine(3), 5).shape == (5, 12)


@pytest.mark.traced
def test_refusals():
    for options in ((0.0,), (-1.0,), (0.5, (0.0,)), (0.5, (0.0, float("nan")))):
        with pytest.raises(InputError, match="scale="):
            region_start(Affine(), *options)
    with pytest.raises(InputError, match="0 starts"):
        tiled_starts(Affine(), 0)
