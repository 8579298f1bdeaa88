"""Homographies; oracles: OpenCV's perspectiveTransform, NumPy's algebra, the affine maps."""

import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, InputError, Projective, sample, warp

N = 50


def _theta(ndim=2, spread=0.2, dtype=torch.float64):
    projective = Projective(ndim)
    noise = torch.rand(N, projective.num_parameters, dtype=dtype) * 2 - 1
    return projective.identity().to(dtype) + spread * noise


def _points(ndim=2, k=20, dtype=torch.float64):
    return torch.rand(N, k, ndim, dtype=dtype) * 2 - 1


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_points_are_opencvs(dtype, close):
    theta, points = _theta(dtype=dtype), _points(dtype=dtype)
    matrices = Projective().matrix(theta).numpy()
    expected = [
        cv2.perspectiveTransform(p[:, None].numpy(), m)[:, 0]
        for p, m in zip(points, matrices, strict=True)
    ]
    found = Projective().transform_points(theta, points)
    assert_close(found, torch.from_numpy(np.stack(expected)), rtol=0, atol=close)


def test_points_in_3d_are_those_of_the_algebra():
    theta, points = _theta(3, 0.15), _points(3)
    homogeneous = torch.cat((points, torch.ones_like(points[..., :1])), -1).numpy()
    mapped = np.einsum("nrc,nkc->nkr", Projective(3).matrix(theta).numpy(), homogeneous)
    expected = torch.from_numpy(mapped[..., :3] / mapped[..., 3:])
    assert_close(Projective(3).transform_points(theta, points), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_perspective_it_is_affine(ndim):
    affine, projective = Affine(ndim), Projective(ndim)
    theta = torch.randn(N, affine.num_parameters, dtype=torch.float64)
    same = projective.from_matrix(affine.matrix(theta))
    assert same.shape == (N, projective.num_parameters)
    size, source = (5, 7, 4)[:ndim], (6, 3, 9)[:ndim]
    assert_identical(projective.pixels(same, size, source), affine.pixels(theta, size, source))


def test_points_behind_the_camera_are_nan_and_the_sampler_fills_them():
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 2.0, 0]], requires_grad=True)  # w = 1 + 2 x
    grid = Projective().grid(theta, (1, 8))
    x = torch.arange(8) / 4 - 0.875
    behind = 1 + 2 * x <= 0
    assert behind.any()
    assert_identical(grid.isnan().all(-1)[0, 0], behind)
    assert_identical(grid.isnan().any(-1)[0, 0], behind)
    image = torch.ones(1, 1, 4, 8)
    for options in ({"padding_mode": "zeros"}, {"padding_mode": "border"}):
        warped = warp(image, theta, Projective(), size=(1, 8), **options)
        assert_identical(warped[0, 0, 0, behind], torch.zeros(int(behind.sum())))
        assert_identical(warped, sample(image, grid, **options))
    (slope,) = torch.autograd.grad(warped.sum(), theta)
    assert slope.isfinite().all()


def test_the_determinant_is_nan_where_the_grid_is():
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 2.0, 0]])
    lost = Projective().grid(theta, (1, 8)).isnan().any(-1)
    assert_identical(Projective().jacobian_determinant(theta, (1, 8)).isnan(), lost)
    assert 0 < lost.sum() < 8


def test_w_of_zero_gives_no_gradient_and_no_nan_in_it():
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, -1.0, 0]], requires_grad=True)
    points = torch.tensor([[[1.0, 0.5], [0.5, 0.5]]])  # w is 0 and 0.5
    mapped = Projective().transform_points(theta, points)
    assert mapped[0, 0].isnan().all()
    (slope,) = torch.autograd.grad(mapped[0, 1].sum(), theta)
    assert slope.isfinite().all()


def test_inverse_points_refuses_what_no_point_in_front_maps_to():
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 1.0, 0]])  # x' = x / (1 + x) < 1 in front
    points = torch.tensor([[[0.5, 0.0], [2.0, 0.0]]])
    back = Projective().inverse_points(theta, points)
    assert_close(back[0, 0], torch.tensor([1.0, 0.0]))
    assert back[0, 1].isnan().all()


def test_inverse_is_that_of_the_matrix():
    theta = _theta()
    expected = torch.linalg.inv(Projective().matrix(theta))
    expected = expected / expected[:, -1:, -1:]
    found = Projective().matrix(Projective().inverse(theta))
    assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.traced
def test_a_result_with_the_origin_behind_the_camera_is_named():
    projective = Projective()
    outer, inner = projective.identity().repeat(3, 1), projective.identity().repeat(3, 1)
    outer[1, 6] = 2.0  # w = 1 + 2 x
    inner[1, 2] = -1.0  # x - 1
    with pytest.raises(InputError, match=r"sample 1 of the batch.*not above 1e-6"):
        projective.compose(outer, inner)
    inner[1, 2] = 1.0
    outer[1, 2], outer[2, 2], outer[2, 6] = 1.0, 2.0, 1.0  # inverse: h33 = 1 / (1 - t h31)
    with pytest.raises(InputError, match=r"sample 1, 2 of the batch.*not above 1e-6"):
        projective.inverse(outer)


def test_describe_reads_perspective():
    theta = torch.tensor([[1.0, 0, 0.2, 0, 1, 0, 0.25, -0.5]])
    parts = Projective().describe(theta)
    assert parts["perspective x"].item() == 0.25
    assert parts["perspective y"].item() == -0.5
    assert parts["translation x (%)"].item() == pytest.approx(10)
    assert Projective(3).entries[-3:] == ("h41", "h42", "h43")


def test_bounds_keep_the_target_in_front():
    projective = Projective(bounds={"h31": (-0.45, 0.45), "h32": (-0.45, 0.45)})
    theta = projective.identity() + 100 * torch.randn(N, 8)
    assert not projective.grid(theta, 32).isnan().any()
