"""The parts of a matrix; oracles: matrices made of known parts, SciPy's angle in 3-D."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from spatial_transformers import Affine
from spatial_transformers.grid.describe import affine_parts

N = 50


def _uniform(low, high, *shape):
    return low + (high - low) * torch.rand(N, *shape, dtype=torch.float64)


def _turn(angle):
    """Rotation by an angle in radians, clockwise where y points down."""
    rows = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    return torch.stack(rows, -1).reshape(-1, 2, 2)


def _shear(shears, ndim):
    """Upper unit triangular matrix; `shears` by the names of two axes."""
    matrix = torch.eye(ndim, dtype=torch.float64).repeat(N, 1, 1)
    for (a, b), value in shears.items():
        matrix[:, "xyz".index(a), "xyz".index(b)] = value
    return matrix


def _parts(rotation, shears, scales, translation):
    ndim = rotation.shape[-1]
    linear = rotation @ _shear(shears, ndim) @ torch.diag_embed(scales)
    return affine_parts(torch.cat((linear, translation[..., None]), -1))


def _expected(angle, shears, scales, translation):
    axes = "xyz"[: scales.shape[-1]]
    return (
        {"rotation (deg)": angle}
        | {f"scale {axis}": scales[:, i] for i, axis in enumerate(axes)}
        | {f"shear {name}": value for name, value in shears.items()}
        | {f"translation {axis} (%)": translation[:, i] * 50 for i, axis in enumerate(axes)}
    )


def _signed(scales, mirrored):
    """Make the last scale negative, as that of a mirrored map is."""
    scales[:, -1] *= -1 if mirrored else 1
    return scales


@pytest.mark.parametrize("mirrored", [False, True])
def test_parts_in_2d(mirrored):
    degrees = _uniform(-179.9, 179.9)
    shears = {"xy": _uniform(-1, 1)}
    scales, translation = _signed(_uniform(0.2, 3, 2), mirrored), _uniform(-2, 2, 2)
    found = _parts(_turn(degrees.deg2rad()), shears, scales, translation)
    assert_close(found, _expected(degrees, shears, scales, translation))


@pytest.mark.parametrize("mirrored", [False, True])
def test_parts_in_3d(mirrored):
    rotation = Rotation.random(N, random_state=0)
    matrix, degrees = torch.tensor(rotation.as_matrix()), torch.tensor(rotation.magnitude())
    shears = {name: _uniform(-1, 1) for name in ("xy", "xz", "yz")}
    scales, translation = _signed(_uniform(0.2, 3, 3), mirrored), _uniform(-2, 2, 3)
    found = _parts(matrix, shears, scales, translation)
    assert_close(found, _expected(degrees.rad2deg(), shears, scales, translation))


@pytest.mark.parametrize("degrees", [0.0, 0.01, 90.0, 179.99, 180.0])
def test_angles_at_the_ends_of_the_range_in_3d(degrees):
    """In float32, where the arc cosine of a trace would lose the smallest angle altogether."""
    axes = torch.nn.functional.normalize(torch.randn(N, 3, dtype=torch.float64))
    rotation = Rotation.from_rotvec(math.radians(degrees) * axes.numpy())
    matrix = torch.tensor(rotation.as_matrix(), dtype=torch.float32)
    found = affine_parts(torch.cat((matrix, torch.zeros(N, 3, 1)), -1))["rotation (deg)"]
    assert_close(found, torch.full((N,), degrees), rtol=0, atol=2e-5)


def test_a_turned_grid_reads_clockwise_with_y_down():
    quarter = torch.tensor([[0.0, -1.0, 0.0, 1.0, 0.0, 0.0]])
    right_goes_down = Affine().transform_points(quarter, torch.tensor([[[1.0, 0.0]]]))
    assert right_goes_down.tolist() == [[[0.0, 1.0]]]
    assert Affine().describe(quarter)["rotation (deg)"].tolist() == [90.0]


def test_affine_describes_its_matrix():
    theta = torch.randn(N, 12)
    assert_close(dict(Affine(3).describe(theta)), affine_parts(theta.reshape(N, 3, 4)))
