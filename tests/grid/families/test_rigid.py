"""Translations, rigid maps; oracles: SciPy's Rotation and algebra on matrices."""

import math

import pytest
import torch
from scipy.spatial.transform import RigidTransform, Rotation
from torch.testing import assert_close

from spatial_transformers import InputError, Rigid

N = 50


def test_matrix_is_scipys():
    theta = torch.randn(N, 6, dtype=torch.float64)
    turn = Rotation.from_rotvec(theta[:, :3].numpy())
    expected = RigidTransform.from_components(theta[:, 3:].numpy(), turn)
    matrix = Rigid(3).matrix(theta)
    assert_close(matrix, torch.from_numpy(expected.as_matrix())[:, :3], rtol=0, atol=1e-14)
    inverse = torch.from_numpy(expected.inv().as_matrix())[:, :3]
    assert_close(Rigid(3).matrix(Rigid(3).inverse(theta)), inverse, rtol=0, atol=1e-13)
    twice = torch.from_numpy((expected * expected).as_matrix())[:, :3]
    assert_close(Rigid(3).matrix(Rigid(3).compose(theta, theta)), twice, rtol=0, atol=1e-12)


def test_a_quarter_turn_by_hand():
    theta = torch.tensor([[math.pi / 2, 0.5, 0.0]])
    points = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    expected = torch.tensor([[[0.5, 1.0], [-0.5, 0.0]]])  # clockwise, y pointing down
    assert_close(Rigid().transform_points(theta, points), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
def test_distances_stay(ndim):
    rigid = Rigid(ndim)
    theta = torch.randn(N, rigid.num_parameters, dtype=torch.float64)
    points = torch.randn(N, 6, ndim, dtype=torch.float64)
    moved = rigid.transform_points(theta, points)
    assert_close(torch.cdist(moved, moved), torch.cdist(points, points), rtol=0, atol=1e-6)
    assert_close(rigid.jacobian_determinant(theta, 3), torch.ones(N, *[3] * ndim).double())


def test_gradient_at_no_rotation_is_the_cross_product():
    theta = torch.zeros(1, 6, dtype=torch.float64)
    point = torch.tensor([[[0.3, -0.5, 0.7]]], dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(lambda t: Rigid(3).transform_points(t, point), theta)
    for axis, direction in enumerate(torch.eye(3, dtype=torch.float64)):
        assert_close(slope[0, 0, :, 0, axis], torch.linalg.cross(direction, point[0, 0]))


def test_describe_reads_angle_and_translation():
    parts = Rigid(3).describe(torch.tensor([[0.0, math.pi / 3, 0.0, 0.2, 0.0, 0.0]]))
    expected = {"rotation (deg)": 60, "translation x (%)": 10}
    expected |= {"translation y (%)": 0, "translation z (%)": 0}
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(expected)


@pytest.mark.traced
def test_a_matrix_that_is_not_rigid_is_named():
    matrix = torch.eye(2, 3).repeat(3, 1, 1)
    matrix[1, 0, 0] = 1.1
    with pytest.raises(InputError, match=r"Rigid\(ndim=2\), but sample 1 of the batch is not of"):
        Rigid().from_matrix(matrix)
