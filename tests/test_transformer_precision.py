"""θ and coordinates stay in float32 whatever surrounds them; oracles: `warp`, edges in float64."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, LocalisationFCN, Sampler, SpatialTransformer, warp

ZOOM_AND_MOVE = [1.00390625, 0.0, -0.0625, 0.0, 0.75, 0.125]  # m11 lies between two bfloat16


class Fixed(nn.Module):
    """A localisation network that returns one θ, in the dtype of its parameter."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(torch.as_tensor(theta))

    def forward(self, image):
        return self.theta.expand(len(image), -1)


def _stn(perturbation=0.3):
    affine = Affine()
    localisation = LocalisationFCN(
        affine, in_channels=2, input_size=8, perturbation=perturbation, lr_multiplier=1.0
    )
    return SpatialTransformer(localisation, affine, Sampler())


def _image():
    return torch.randn(3, 2, 12, 15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_moved_to_another_dtype(dtype):
    stn, image = _stn().to(dtype), _image().to(dtype)
    warped, theta = stn(image, return_theta=True)
    assert warped.dtype == dtype
    assert theta.dtype == torch.promote_types(dtype, torch.float32)
    assert_identical(warped, warp(image, theta, Affine()))


def test_autocast_leaves_theta_and_coordinates_in_float32():
    stn, image = _stn(), _image()
    with torch.autocast("cpu", torch.bfloat16):
        warped, theta = stn(image, return_theta=True)
        found = stn.warp(image, theta)
    assert (warped.dtype, theta.dtype) == (torch.float32, torch.float32)
    for result in (warped, found):
        assert_identical(result, warp(image, theta, Affine()))


def test_under_autocast_the_edge_of_224_pixels_is_sampled_where_it_belongs():
    stn = _stn(perturbation=0.0)
    with torch.no_grad():
        stn.localisation.head.bias.copy_(torch.tensor(ZOOM_AND_MOVE))
    image = torch.arange(224.0).expand(1, 2, 224, 224)  # its values are its x, in pixels
    with torch.autocast("cpu", torch.bfloat16):
        warped, theta = stn(image, return_theta=True)
    right_edge = ZOOM_AND_MOVE[0] * 111.5 + ZOOM_AND_MOVE[2] * 112 + 111.5
    assert_close(warped[0, 0, 100, -1].item(), right_edge, rtol=0, atol=1e-4)
    assert_identical(warped, warp(image, torch.tensor([ZOOM_AND_MOVE]), Affine()))
    rounded = warp(image, theta.bfloat16(), Affine())
    assert abs(rounded[0, 0, 100, -1].item() - right_edge) > 0.4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_feature_maps_between_layers_under_autocast(dtype):
    conv, stn = nn.Conv2d(2, 2, 3).to(dtype), _stn()
    with torch.autocast("cpu", torch.bfloat16):
        features = conv(_image().to(dtype))
        warped, theta = stn(features, return_theta=True)
    assert features.dtype == warped.dtype == torch.bfloat16
    assert theta.dtype == torch.float32
    assert_identical(warped, warp(features, theta, Affine()))
    warped.sum().backward()
    assert all(parameter.grad.any() for parameter in (*conv.parameters(), *stn.parameters()))


@pytest.mark.traced
def test_compiled_under_autocast():
    torch._dynamo.reset()
    stn, image = _stn(), _image()
    compiled = torch.compile(stn, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        warped, theta = compiled(image, return_theta=True)
        assert_close(theta, stn.localisation(image))
    assert (warped.dtype, theta.dtype) == (torch.float32, torch.float32)
    assert_close(warped, warp(image, theta, Affine()))


def test_half_precision_theta_is_widened():
    theta = torch.tensor([ZOOM_AND_MOVE]).bfloat16()
    warped, found = SpatialTransformer(Fixed(theta), Affine())(_image(), return_theta=True)
    assert_identical(found, theta.float().expand(3, -1))
    assert warped.dtype == torch.float32
