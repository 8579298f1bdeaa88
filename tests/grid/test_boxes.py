"""Boxes, key points and polygons through θ, both ways; oracle: the warped image itself."""

import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import (
    Affine,
    Attention,
    InputError,
    Projective,
    box_points,
    enclosing_boxes,
    normalise,
    unnormalise,
    warp,
)


def _marked(pixel, size):
    image = torch.zeros(1, 1, *size)
    image[0, 0, pixel[1], pixel[0]] = 1
    return image


def _centre_of_mass(image):
    y, x = torch.meshgrid(*(torch.arange(n).float() for n in image.shape[2:]), indexing="ij")
    return torch.stack([(image[0, 0] * axis).sum() / image.sum() for axis in (x, y)])


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_marked_pixel_lands_where_its_point_does(align_corners):
    size, target = (60, 80), (90, 70)
    theta = torch.tensor([[0.45, 0.2, 0.1, -0.15, 0.5, -0.1]])
    for pixel in ((41, 27), (50, 33), (35, 25)):
        image = _marked(pixel, size)
        warped = warp(image, theta, Affine(), size=target, align_corners=align_corners)
        point = normalise(torch.tensor([[pixel]]).float(), size, align_corners)
        back = Affine().inverse_points(theta, point)
        found = unnormalise(back, target, align_corners)[0, 0]
        assert_close(found, _centre_of_mass(warped), rtol=0, atol=0.3)
        assert_close(Affine().transform_points(theta, back), point)


@pytest.mark.parametrize("size", [(4, 9), (3, 5, 7), (1, 6)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_normalise_undoes_unnormalise(size, align_corners):
    pixels = torch.rand(5, len(size)).double() * 10 - 2
    pixels[:, [i for i, n in enumerate(reversed(size)) if n == 1]] = 0
    there = normalise(pixels, size, align_corners)
    assert_close(unnormalise(there, size, align_corners), pixels)


def test_a_crop_cuts_its_own_box():
    theta = torch.tensor([[0.5, 0.25, -0.25]])
    whole = torch.tensor([[[-1.0, -1.0, 1.0, 1.0]]])
    mapped = Attention().transform_points(theta, box_points(whole, 2))
    assert_close(enclosing_boxes(mapped, 1), torch.tensor([[[-0.25, -0.75, 0.75, 0.25]]]))


def test_boxes_enclose_what_bends():
    theta = Projective().identity() + torch.tensor([0, 0.2, 0, 0, 0, 0, 0.3, 0.2])
    boxes = torch.tensor([[[-0.5, -0.5, 0.5, 0.5], [0.0, 0.0, 0.3, 0.8]]])
    inside = boxes[0, :, :2] + torch.rand(1000, 1, 2) * (boxes[0, :, 2:] - boxes[0, :, :2])
    found = enclosing_boxes(Projective().transform_points(theta[None], box_points(boxes)), 2)[0]
    mapped = Projective().transform_points(theta[None], inside.flatten(0, 1)[None])[0]
    mapped = mapped.unflatten(0, (1000, 2))
    assert (mapped >= found[:, :2] - 1e-6).all()
    assert (mapped <= found[:, 2:] + 1e-6).all()


def test_boxes_of_volumes():
    boxes = torch.rand(2, 3, 6).sort(-1).values
    points = box_points(boxes, 3)
    assert points.shape == (2, 81, 3)
    assert_close(enclosing_boxes(points, 3), boxes)


def test_boxes_of_integers_have_points_between():
    assert (box_points(torch.tensor([[[0, 0, 1, 1]]]), 3) == 0.5).any()


@pytest.mark.traced
def test_messages():
    for call in (
        lambda: box_points(torch.zeros(1, 2, 5)),
        lambda: box_points(torch.zeros(1, 2, 4), 1),
        lambda: enclosing_boxes(torch.zeros(1, 9, 2), 2),
        lambda: enclosing_boxes(torch.zeros(1, 0, 2), 1),
    ):
        with pytest.raises(InputError, match="asked for; give"):
            call()
