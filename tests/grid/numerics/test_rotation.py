"""Rotations and parts of matrices; oracle: SciPy's Rotation, and the parts put in."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from spatial_transformers.grid.numerics.rotation import (
    from_parts,
    rotation_angles,
    rotation_matrix,
    to_parts,
)

N = 200


def _vectors(length):
    """Return random axes times angles of a given or random length."""
    axes = torch.randn(N, 3, dtype=torch.float64)
    return axes / axes.norm(dim=1, keepdim=True) * length


LENGTHS = (0.0, 1e-12, 1e-4, 0.1, 0.4999, 0.5001, 1.0, math.pi - 1e-6, math.pi, 5.0)


@pytest.mark.parametrize("length", LENGTHS)
def test_matrix_is_scipys(length):
    vectors = _vectors(length)
    expected = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    assert_close(rotation_matrix(vectors), expected, rtol=0, atol=1e-14)
    assert_close(rotation_matrix(vectors.float()), expected.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [*LENGTHS[:-2], 2.0, 3.0])
def test_angles_are_scipys(length):
    matrix = torch.from_numpy(Rotation.from_rotvec(_vectors(length).numpy()).as_matrix())
    expected = torch.from_numpy(Rotation.from_matrix(matrix.numpy()).as_rotvec())
    assert_close(rotation_angles(matrix), expected, rtol=0, atol=1e-8)


def test_a_half_turn_comes_back_up_to_its_sign():
    matrix = rotation_matrix(_vectors(math.pi))
    assert_close(rotation_matrix(rotation_angles(matrix)), matrix, rtol=0, atol=1e-12)


def test_angle_in_2d():
    angle = (torch.rand(N, 1, dtype=torch.float64) - 0.5) * 2 * math.pi
    expected = torch.from_numpy(Rotation.from_euler("z", angle.numpy()).as_matrix())[:, :2, :2]
    assert_close(rotation_matrix(angle), expected, rtol=0, atol=1e-15)
    assert_close(rotation_angles(expected), angle, rtol=0, atol=1e-14)


@pytest.mark.parametrize("length", [0.0, 1e-3, 0.499999, 0.500001, 2.0])
def test_derivatives(length, check_derivatives):
    vectors = _vectors(length)[:3].requires_grad_()
    check_derivatives(rotation_matrix, (vectors,))
    check_derivatives(lambda v: rotation_angles(rotation_matrix(v)), (vectors,))


@pytest.mark.parametrize("ndim", [2, 3])
def test_parts_come_back(ndim):
    angles, shears = {2: (1, 1), 3: (3, 3)}[ndim]
    uniform = torch.rand(N, angles + 2 * ndim + shears, dtype=torch.float64) * 2 - 1
    scales = slice(angles, angles + ndim)
    uniform[:, scales] = uniform[:, scales].abs() + 0.2
    assert_close(to_parts(from_parts(uniform, ndim)), uniform, rtol=0, atol=1e-10)


def test_parts_make_the_product():
    parts = torch.rand(N, 12, dtype=torch.float64) + 0.1
    angle, scale, shear, translation = parts.split((3, 3, 3, 3), 1)
    sheared = torch.eye(3, dtype=torch.float64).repeat(N, 1, 1)
    for i, (row, column) in enumerate(((0, 1), (0, 2), (1, 2))):
        sheared[:, row, column] = shear[:, i]
    turned = torch.from_numpy(Rotation.from_rotvec(angle.numpy()).as_matrix())
    expected = turned @ sheared @ torch.diag_embed(scale)
    assert_close(from_parts(parts, 3)[:, :, :3], expected, rtol=0, atol=1e-14)
    assert_close(from_parts(parts, 3)[:, :, 3], translation)
