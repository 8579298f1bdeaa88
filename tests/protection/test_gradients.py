"""A sample's gradient to θ, limited by the batch's median; oracle: NumPy."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, InputError, Sampler, SpatialTransformer
from spatial_transformers.protection.gradients import checked, limited


def _limited(grad, limit=4.0):
    theta = torch.zeros_like(grad, requires_grad=True)
    limited(theta, checked(limit)).backward(grad)
    return theta.grad


def test_no_sample_outweighs_the_batch():
    grad = torch.randn(9, 6, dtype=torch.float64)
    grad[2] *= 1000
    grad[5] = 0
    lengths = np.linalg.norm(grad.numpy(), axis=1)
    longest = 4 * np.sort(lengths[lengths > 0])[3]  # of 8, the lower of the two in the middle
    expected = grad.numpy() * np.minimum(1, longest / np.maximum(lengths, 1e-300))[:, None]
    np.testing.assert_allclose(_limited(grad).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_the_loss_may_have_any_scale(scale):
    grad = torch.randn(9, 6, dtype=torch.float64)
    grad[0] *= 50
    assert_close(_limited(grad * scale) / scale, _limited(grad))


def test_what_is_not_finite_is_left_out():
    grad = torch.randn(4, 6)
    grad[1, 2], grad[3, 0] = torch.nan, torch.inf
    found = _limited(grad)
    assert_identical(found[[0, 2]], grad[[0, 2]])
    assert not found[[1, 3]].any()


def test_no_gradient_at_all():
    assert not _limited(torch.zeros(3, 6)).any()
    assert _limited(torch.zeros(0, 6)).shape == (0, 6)
    one = torch.randn(1, 6)
    assert_identical(_limited(one), one)


class Thetas(nn.Module):
    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, image):
        return self.theta


@pytest.mark.parametrize("clip", [4.0, None])
def test_in_a_transformer_one_sample_of_outliers_does_not_decide(clip):
    """Switched off, the sample's gradient is a million times the others'."""
    localisation = Thetas(Affine().identity().repeat(8, 1) + 0.01)
    stn = SpatialTransformer(localisation, Affine(), Sampler(), theta_clip=clip)
    weights = torch.ones(8, 1, 1, 1)
    weights[3] = 1e6
    (stn(torch.rand(8, 1, 12, 12)) * weights).sum().backward()
    lengths = localisation.theta.grad.norm(dim=1)
    assert bool(lengths[3] > 100 * lengths.median()) == (clip is None)


def test_only_in_training():
    localisation = Thetas(Affine().identity().repeat(8, 1) + 0.01)
    stn = SpatialTransformer(localisation, Affine(), Sampler()).eval()
    weights = torch.ones(8, 1, 1, 1)
    weights[3] = 1e6
    (stn(torch.rand(8, 1, 12, 12)) * weights).sum().backward()
    lengths = localisation.theta.grad.norm(dim=1)
    assert lengths[3] > 100 * lengths.median()


@pytest.mark.traced
@pytest.mark.parametrize("clip", [0.5, 0, float("nan"), True])
def test_refusals(clip):
    with pytest.raises(InputError, match="theta_clip="):
        SpatialTransformer(nn.Identity(), Affine(), theta_clip=clip)
