"""Matrices; oracle: torch.linalg."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers.grid.numerics.matrices import adjugate, invert, product, square


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_adjugate_over_determinant_is_the_inverse(k):
    matrix = torch.randn(2, 5, k, k, dtype=torch.float64)
    result, determinant = adjugate(matrix)
    assert_close(determinant, torch.linalg.det(matrix))
    assert_close(result / determinant[..., None, None], torch.linalg.inv(matrix))
    assert gradcheck(adjugate, matrix[:, 0].requires_grad_())


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_adjugate_of_a_singular_matrix_is_finite(k):
    matrix = torch.ones(1, k, k, requires_grad=True)
    result, determinant = adjugate(matrix)
    assert_identical(determinant.detach(), torch.zeros(1))
    (gradient,) = torch.autograd.grad(result.sum() + determinant.sum(), matrix)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("k", [2, 3, 4])
def test_invert_is_the_inverse(k):
    matrix = torch.randn(5, k, k, dtype=torch.float64) + 2 * torch.eye(k)
    assert_close(invert(matrix, "it"), torch.linalg.inv(matrix))
    for check in (gradcheck, gradgradcheck):
        assert check(lambda m: invert(m, "it"), matrix[:2].requires_grad_())


def test_product_keeps_its_precision_under_autocast():
    a, b = torch.randn(4, 3, 3), torch.randn(1, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = product(a, b)
    assert found.dtype == torch.float32
    assert_close(found.double(), a.double() @ b.double(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("ndim", [2, 3])
def test_square_adds_a_row_once(ndim):
    compact = torch.randn(4, ndim, ndim + 1, dtype=torch.float64)
    full = square(compact)
    assert_identical(full[:, :-1], compact)
    assert_identical(full[:, -1], torch.eye(ndim + 1).double()[-1].expand(4, -1))
    assert_identical(square(full), full)
