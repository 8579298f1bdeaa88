"""The exponential of the affine Lie algebra; oracles: SciPy's expm and logm."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm
from torch.testing import assert_close

from spatial_transformers import AffineExponential, InputError

N = 40


def _generator(theta, ndim):
    square = np.zeros((len(theta), ndim + 1, ndim + 1))
    square[:, :ndim] = theta.double().numpy().reshape(len(theta), ndim, ndim + 1)
    return square


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("spread", [1e-3, 0.3, 1.0])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_matrix_is_scipys(ndim, spread, dtype, close):
    family = AffineExponential(ndim)
    theta = spread * torch.randn(N, family.num_parameters, dtype=dtype)
    expected = torch.from_numpy(expm(_generator(theta, ndim))[:, :ndim]).to(dtype)
    assert_close(family.matrix(theta), expected, rtol=close, atol=close)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-8), (torch.float32, 1e-4)])
def test_from_matrix_is_scipys_logarithm(ndim, dtype, close):
    family = AffineExponential(ndim)
    theta = 0.5 * torch.randn(N, family.num_parameters, dtype=dtype)
    matrix = expm(_generator(theta, ndim))
    expected = np.stack([logm(m)[:ndim].real for m in matrix]).reshape(N, -1)
    found = family.from_matrix(torch.from_numpy(matrix).to(dtype))
    assert_close(found, torch.from_numpy(expected).to(dtype), rtol=0, atol=close)


def test_every_theta_is_invertible():
    theta = 2 * torch.randn(1000, 6, dtype=torch.float64)
    assert (torch.linalg.det(AffineExponential().matrix(theta)[:, :, :2]) > 0).all()
    torch.testing.assert_close(AffineExponential().inverse(theta), -theta)


def test_a_rotation_and_a_growth_by_hand():
    turn = torch.tensor([[0.0, -0.5, 0.0, 0.5, 0.0, 0.0]])
    parts = AffineExponential().describe(turn)
    assert parts["rotation (deg)"].item() == pytest.approx(np.degrees(0.5), rel=1e-5)
    assert parts["scale x"].item() == pytest.approx(1)


@pytest.mark.traced
def test_a_half_turn_and_a_mirror_have_no_logarithm():
    matrices = torch.eye(2, 3).repeat(4, 1, 1)
    matrices[1, 0, 0] = matrices[1, 1, 1] = -1
    matrices[3, 0, 0] = -1
    with pytest.raises(InputError, match=r"sample 1, 3 of the batch is not of this family"):
        AffineExponential().from_matrix(matrices)
