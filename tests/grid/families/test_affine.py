"""Affine maps; oracles: torch's affine_grid in float64, torch.linalg, NumPy for bits of pixels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import Affine, InputError

corners = pytest.mark.parametrize("align_corners", [False, True])
dimensions = pytest.mark.parametrize("ndim", [2, 3])


def _square(affine, theta):
    """Complete M_θ by the row (0, …, 0, 1)."""
    last = torch.eye(affine.ndim + 1, dtype=theta.dtype)[-1:].expand(len(theta), -1, -1)
    return torch.cat((theta.reshape(len(theta), affine.ndim, affine.ndim + 1), last), 1)


# affine_grid warns about an axis of one pixel, whose coordinate is 0 here as it is there
@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid:UserWarning")
@corners
@pytest.mark.parametrize("size", [(5, 6), (1, 9), (32, 17), (4, 3, 5), (1, 7, 2), (8, 1, 1)])
def test_grid_is_affine_grid(size, align_corners):
    affine, n = Affine(len(size)), 4
    theta = torch.randn(n, affine.num_parameters, dtype=torch.float64)
    matrix = theta.reshape(n, len(size), len(size) + 1)
    expected = F.affine_grid(matrix, [n, 1, *size], align_corners=align_corners)
    grid = affine.grid(theta, size, align_corners=align_corners)
    assert_close(grid, expected, rtol=0, atol=1e-14)


def _pixels_as_stated(theta, size, source):
    """Evaluate `(m_x x + (m_y y + (m_z z + t))) + centre`, every operation rounded to float32."""
    matrix = theta.numpy().reshape(len(theta), len(size), -1, *[1] * len(size))
    axes = [np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in size]
    positions = np.meshgrid(*axes, indexing="ij")[::-1]  # x first
    rows = []
    for r, pixels in enumerate(reversed(source)):
        row = matrix[:, r, -1] * np.float32(pixels / 2)
        for c in reversed(range(len(size))):
            row = matrix[:, r, c] * np.float32(pixels / size[-1 - c]) * positions[c] + row
        rows.append(row + np.float32((pixels - 1) / 2))
    return torch.from_numpy(np.stack(rows, -1))


@pytest.mark.parametrize(("size", "source"), [((13, 10), (7, 31)), ((4, 7, 5), (6, 9, 11))])
def test_pixels_come_in_the_stated_order_of_operations(size, source):
    affine = Affine(len(size))
    theta = torch.randn(20, affine.num_parameters)
    assert_identical(affine.pixels(theta, size, source), _pixels_as_stated(theta, size, source))


@corners
@pytest.mark.parametrize("size", [(5, 6), (4, 3, 5)])
def test_matrix_times_basis_is_the_grid(size, align_corners):
    affine = Affine(len(size))
    theta = torch.randn(4, affine.num_parameters)
    basis = affine.basis(size, align_corners=align_corners)
    assert basis.shape == (len(size) + 1, *size)
    grid = torch.einsum("nrk,k...->n...r", affine.matrix(theta), basis)
    expected = affine.grid(theta, size, align_corners=align_corners)
    assert_close(grid, expected, rtol=0, atol=2e-6)


@dimensions
def test_matrix_and_from_matrix_are_inverse(ndim):
    affine = Affine(ndim)
    theta = torch.randn(4, affine.num_parameters)
    matrix = affine.matrix(theta)
    assert_identical(matrix, theta.reshape(4, ndim, ndim + 1))
    assert_identical(affine.from_matrix(matrix), theta)


@dimensions
def test_inverse_and_compose_are_those_of_matrices(ndim):
    affine = Affine(ndim)
    a, b = torch.randn(2, 6, affine.num_parameters, dtype=torch.float64)
    inverse, product = affine.inverse(a), affine.compose(a, b)
    assert_close(_square(affine, inverse), torch.linalg.inv(_square(affine, a)))
    assert_close(_square(affine, product), _square(affine, a) @ _square(affine, b))


def test_entries_name_the_matrix_row_by_row():
    assert Affine().entries == ("m11", "m12", "tx", "m21", "m22", "ty")
    assert " ".join(Affine(3).entries) == "m11 m12 m13 tx m21 m22 m23 ty m31 m32 m33 tz"


@pytest.mark.parametrize("entry", range(12))
def test_an_entry_does_what_its_name_says(entry):
    affine, point = Affine(3), (0.3, 0.5, 0.7)
    theta = torch.zeros(1, 12)
    theta[0, entry] = 1
    moved = affine.transform_points(theta, torch.tensor([[point]]))[0, 0]
    name = affine.entries[entry]
    row = "xyz".index(name[1]) if name[0] == "t" else int(name[1]) - 1
    expected = torch.zeros(3)
    expected[row] = 1.0 if name[0] == "t" else point[int(name[2]) - 1]
    assert_identical(moved, expected)


@pytest.mark.traced
@pytest.mark.parametrize("ndim", [1, 4, 0])
def test_other_dimensions_are_refused(ndim):
    with pytest.raises(InputError, match=rf"Affine\(ndim={ndim}\): ndim is 2 or 3"):
        Affine(ndim)


@pytest.mark.traced
def test_a_map_onto_a_line_has_no_inverse():
    onto_a_line = torch.tensor([[1.0, 2.0, 0.3, 2.0, 4.0, -0.1]])
    with pytest.raises(InputError, match="sample 0 of the batch has determinant 0"):
        Affine().inverse(onto_a_line)


def test_repr_tells_dimensions():
    assert repr(Affine(3)) == "Affine(ndim=3)"
