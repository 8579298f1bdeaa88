"""The fill that is matched to the images' border; oracle: the median, counted by hand."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Attention, Sampler, SpatialTransformer, warp

ZOOMED_OUT = torch.tensor([[2.0, 0.0, 0.0]])


class Fixed(nn.Module):
    in_channels = 2

    def forward(self, image):
        return ZOOMED_OUT.expand(len(image), -1)


def _stn(sampler=None, **options):
    return SpatialTransformer(Fixed(), Attention(), sampler, **options)


def _framed(n=4, value=(-0.4, 0.7), ndim=2):
    """Images of noise whose border pixels, and nothing else, have one value per channel."""
    image = torch.randn(n, 2, *[9, 12, 7][:ndim])
    for channel, level in enumerate(value):
        inner = image[(slice(None), channel, *[slice(1, -1)] * ndim)].clone()
        image[:, channel] = level
        image[(slice(None), channel, *[slice(1, -1)] * ndim)] = inner
    return image


def test_what_is_outside_has_the_colour_of_the_border():
    stn, image = _stn(), _framed()
    warped = stn(image)
    expected = warp(image, ZOOMED_OUT, Attention(), padding_mode="constant", fill_value=[-0.4, 0.7])
    assert_identical(warped, expected)
    assert warped[0, :, 0, 0].tolist() == pytest.approx([-0.4, 0.7])
    plain = _stn(Sampler())(image)
    assert not plain[:, :, 0, 0].any()


def test_it_is_the_median_of_one_ring():
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 1:3, 1:3] = 100
    image[0, 0, 0] = 7
    image[0, 0, :, 0] = 5  # 4 fives, 3 sevens and 5 zeros along the border
    stn = _stn()
    stn(torch.cat((image, -image), 1))
    assert stn.background.value.tolist() == [5, -5]


def test_a_network_that_does_not_say_its_channels_gets_one_value():
    stn = SpatialTransformer(nn.Sequential(Fixed()), Attention())
    stn(torch.full((1, 3, 5, 5), 0.25))
    assert stn.background.value.tolist() == [0.25]
    assert stn(torch.rand(2, 3, 5, 5))[0, :, 0, 0].tolist() == [0.25] * 3


def test_it_is_estimated_once_from_the_first_batch_of_training():
    stn, image = _stn(), _framed()
    assert not stn.eval()(image)[:, :, 0, 0].any()
    with torch.no_grad():
        stn.train()(image)
    assert not stn.background.known
    stn(image)
    found = stn.background.value.clone()
    stn(_framed(value=(9, 9)))
    assert_identical(stn.background.value, found)
    assert_identical(stn.eval()(image)[:, :, 0, 0], found.expand(4, -1))


def test_an_empty_batch_tells_nothing():
    stn, image = _stn(), _framed()
    assert stn(image[:0]).shape == (0, 2, 9, 12)
    assert not stn.background.known
    stn(image)
    assert_close(stn.background.value, torch.tensor([-0.4, 0.7]))


def test_it_travels_with_the_weights():
    stn, image = _stn(), _framed()
    stn(image)
    other = _stn().eval()
    file = io.BytesIO()
    torch.save(stn.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert_identical(other(image), stn.eval()(image))
    assert_identical(copy.deepcopy(other)(image), other(image))
    old = {k: v for k, v in _stn().state_dict().items() if "background" not in k}
    _stn().load_state_dict(old)


def test_a_black_background_costs_nothing():
    stn = _stn()
    stn(_framed(value=(0, 0)))
    assert stn.background.known
    assert stn.background.fill() is None


@pytest.mark.parametrize("ndim", [2, 3])
def test_in_every_dimension_and_dtype(ndim):
    stn = _stn()
    stn.background.estimate(_framed(ndim=ndim).to(torch.bfloat16))
    assert_close(stn.background.value, torch.tensor([-0.4, 0.7]), rtol=0, atol=4e-3)


def test_another_image_is_filled_with_zeros():
    stn = _stn()
    _, theta = stn(_framed(), return_theta=True)
    assert not stn.warp(torch.ones(4, 1, 8, 8), theta)[:, :, 0, 0].any()
