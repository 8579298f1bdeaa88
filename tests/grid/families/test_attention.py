"""Attention; oracles: the affine map of the same matrix, crops by slicing, the map by hand."""

import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, Attention, InputError

dimensions = pytest.mark.parametrize("ndim", [2, 3])


def _theta(ndim, n=4):
    return torch.cat((torch.rand(n, 1) + 0.3, torch.randn(n, ndim)), 1).double()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(5, 6), (4, 3, 5)])
def test_grid_is_that_of_the_affine_map(size, align_corners):
    ndim = len(size)
    theta = _theta(ndim)
    matrix = torch.zeros(4, ndim, ndim + 1, dtype=torch.float64)
    for axis in range(ndim):
        matrix[:, axis, axis] = theta[:, 0]
        matrix[:, axis, -1] = theta[:, 1 + axis]
    assert_identical(Attention(ndim).matrix(theta), matrix)
    grid = Attention(ndim).grid(theta, size, align_corners=align_corners)
    assert_close(grid, Affine(ndim).grid(matrix.flatten(1), size, align_corners=align_corners))


@pytest.mark.parametrize("quarter", [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)])
def test_half_the_scale_reads_a_quarter_of_the_image(quarter):
    theta = torch.tensor([[0.5, *quarter]])
    pixels = Attention().pixels(theta, (8, 10), (16, 20))[0]
    x, y = (0 if t < 0 else n for t, n in zip(quarter, (10, 8), strict=True))
    assert_identical(pixels[..., 0], torch.arange(x, x + 10.0).expand(8, -1))
    assert_identical(pixels[..., 1], torch.arange(y, y + 8.0)[:, None].expand(-1, 10))


@dimensions
def test_basis_is_homogeneous_coordinates(ndim):
    attention, theta = Attention(ndim), _theta(ndim)
    basis = attention.basis(6).double()
    assert (basis[-1] == 1).all()
    grid = torch.einsum("nrk,k...->n...r", attention.matrix(theta), basis)
    assert_close(grid, attention.grid(theta, 6), rtol=0, atol=1e-6)


@dimensions
def test_matrix_and_from_matrix_are_inverse(ndim):
    theta = _theta(ndim)
    assert_identical(Attention(ndim).from_matrix(Attention(ndim).matrix(theta)), theta)


@dimensions
def test_inverse_and_compose_by_hand(ndim):
    attention, a, b = Attention(ndim), _theta(ndim), _theta(ndim)
    s, t = a[:, :1], a[:, 1:]
    assert_close(attention.inverse(a), torch.cat((1 / s, -t / s), 1))
    assert_close(attention.compose(a, b), torch.cat((s * b[:, :1], s * b[:, 1:] + t), 1))


def test_describe_reads_scale_and_translation():
    parts = Attention(3).describe(torch.tensor([[0.5, 0.2, 0.0, -1.0]]))
    expected = {
        "scale": 0.5,
        "translation x (%)": 10.0,
        "translation y (%)": 0.0,
        "translation z (%)": -50.0,
    }
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(expected)


def test_entries():
    assert Attention().entries == ("s", "tx", "ty")
    assert Attention(3).entries == ("s", "tx", "ty", "tz")


@pytest.mark.traced
def test_scale_zero_has_no_inverse():
    with pytest.raises(InputError, match=r"Attention\(ndim=2\).*sample 1 of the batch"):
        Attention().inverse(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]))
