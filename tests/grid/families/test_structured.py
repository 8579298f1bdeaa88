"""M_θ B in general; oracles: the special cases, SciPy's interpolation on grids and its RBF."""

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator, RegularGridInterpolator
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    Affine,
    Attention,
    InputError,
    Projective,
    Structured,
    ThinPlateSpline,
)
from spatial_transformers.grid.regular import regular_grid

corners = pytest.mark.parametrize("align_corners", [False, True])


def _nothing(ndim):
    return torch.zeros(0, *[2] * ndim)


def _with_weights(matrix, k):
    """Give a matrix k columns of random weights, and flatten it to θ."""
    weights = torch.randn(*matrix.shape[:2], k, dtype=matrix.dtype)
    return torch.cat((matrix, weights), 2).flatten(1)


@corners
@pytest.mark.parametrize("special_case", [Affine, Attention, Projective])
@pytest.mark.parametrize("size", [(13, 10), (4, 7, 5)])
def test_a_matrix_on_homogeneous_coordinates_is_a_special_case(special_case, size, align_corners):
    special = special_case(len(size))
    general = Structured(_nothing(len(size)), perspective=special.perspective)
    theta = special.identity() + 0.3 * torch.randn(20, special.num_parameters)
    matrix = special.matrix(theta)
    source = tuple(2 * n + 1 for n in size)
    assert_identical(general.matrix(matrix.flatten(1)), matrix)
    for method, sizes in (("grid", (size,)), ("pixels", (size, source))):
        expected = getattr(special, method)(theta, *sizes, align_corners=align_corners)
        found = getattr(general, method)(matrix.flatten(1), *sizes, align_corners=align_corners)
        assert_identical(found, expected, equal_nan=True)


def test_attention_per_axis_is_a_special_case():
    attention, general = Attention(per_axis=True), Structured(_nothing(2))
    theta = torch.randn(4, attention.num_parameters)
    matrix = attention.matrix(theta).flatten(1)
    assert_identical(general.grid(matrix, (6, 5)), attention.grid(theta, (6, 5)))


def test_a_thin_plate_spline_is_a_special_case():
    size, n = (6, 9), 7
    targets, sources = np.random.default_rng(0).uniform(-1, 1, (2, n, 2))
    grid = regular_grid(size, align_corners=True, dtype=torch.float64)
    spline = RBFInterpolator(targets, sources, kernel="thin_plate_spline", degree=1)
    expected = spline(grid.reshape(-1, 2).numpy()).reshape(*size, 2)

    def radial(points):
        squared = ((points[..., None, :] - targets) ** 2).sum(-1)
        return 0.5 * squared * np.log(np.where(squared > 0, squared, 1))

    sides = np.c_[targets, np.ones(n)]
    system = np.block([[radial(targets), sides], [sides.T, np.zeros((3, 3))]])
    solved = np.linalg.solve(system, np.r_[sources, np.zeros((3, 2))])
    matrix = torch.from_numpy(np.r_[solved[n:], solved[:n]].T)[None]  # homogeneous columns first
    general = Structured(torch.from_numpy(radial(grid.numpy())).movedim(-1, 0))
    found = general.grid(matrix.flatten(1), size, align_corners=True)
    assert_close(found[0], torch.from_numpy(expected), rtol=0, atol=1e-10)


@pytest.mark.parametrize("ndim", [2, 3])
def test_thin_plate_splines_of_the_library_are_a_special_case(ndim):
    size, spline = (6, 9, 5)[:ndim], ThinPlateSpline(3, ndim=ndim)
    theta = 0.1 * torch.randn(4, spline.num_parameters, dtype=torch.float64)
    basis = spline.basis(size, align_corners=True, dtype=torch.float64)
    general = Structured(basis[ndim + 1 :])
    found = general.grid(spline.matrix(theta).flatten(1), size, align_corners=True)
    assert_close(found, spline.grid(theta, size, align_corners=True), rtol=0, atol=1e-10)


@pytest.mark.parametrize("lattice", [(4, 6), (2, 3), (3, 2, 5)])
def test_functions_are_interpolated_linearly_also_outside(lattice):
    k, ndim = 3, len(lattice)
    functions = torch.randn(k, *lattice, dtype=torch.float64)
    structured = Structured(functions)
    theta = _with_weights(torch.zeros(2, ndim, ndim + 1, dtype=torch.float64), k)
    points = torch.rand(2, 40, ndim, dtype=torch.float64) * 3 - 1.5
    axes = [np.linspace(-1, 1, n) for n in lattice]
    values = functions.movedim(0, -1).numpy()
    oracle = RegularGridInterpolator(axes, values, bounds_error=False, fill_value=None)
    at_points = torch.from_numpy(oracle(points.flip(-1).numpy()))  # axes as sizes: y, x
    weights = structured.matrix(theta)[..., ndim + 1 :]
    expected = torch.einsum("nrk,npk->npr", weights, at_points)
    assert_close(structured.transform_points(theta, points), expected, rtol=0, atol=1e-12)


def test_one_node_is_constant_along_its_axis():
    functions = torch.tensor([[[2.0, 4.0]]])  # one row
    structured = Structured(functions)
    theta = torch.tensor([[0.0, 0, 0, 1, 0, 0, 0, 0]])
    points = torch.tensor([[[0.0, -1.0], [0.0, 5.0], [1.0, 0.3], [2.0, 0.0]]])
    assert structured.transform_points(theta, points)[0, :, 0].tolist() == [3, 3, 4, 5]


@corners
@pytest.mark.parametrize("size", [(5, 7), (4, 3, 5)])
@pytest.mark.parametrize("perspective", [False, True])
def test_matrix_times_basis_is_the_grid(size, align_corners, perspective):
    ndim, k = len(size), 2
    structured = Structured(torch.randn(k, *[3] * ndim), perspective=perspective)
    theta = (
        structured.identity().double() + 0.05 * torch.randn(4, structured.num_parameters).double()
    )
    basis = structured.basis(size, align_corners=align_corners, dtype=torch.float64)
    assert basis.shape == (ndim + 1 + k, *size)
    grid = torch.einsum("nrk,k...->n...r", structured.matrix(theta), basis)
    if perspective:
        grid = grid[..., :-1] / grid[..., -1:]
    found = structured.grid(theta, size, align_corners=align_corners)
    assert_close(found, grid, rtol=0, atol=1e-12)


def test_functions_count_in_w_and_points_behind_the_camera_are_nan():
    structured = Structured(torch.full((1, 2, 2), 1.0), perspective=True)
    theta = structured.identity()[None].repeat(3, 1)
    theta[:, -1] = torch.tensor([1.0, -0.5, -1.5])  # w = 2, 0.5, -0.5
    moved = structured.transform_points(theta, torch.tensor([[[0.5, -0.25]]]))[:, 0]
    expected = torch.tensor([[0.25, -0.125], [1.0, -0.5], [torch.nan, torch.nan]])
    assert_identical(moved, expected, equal_nan=True)


def test_a_learned_basis_has_gradients_and_fits_every_size():
    functions = torch.randn(2, 3, 4, dtype=torch.float64)
    structured = Structured(functions, learned=True)
    theta = _with_weights(torch.eye(2, 3, dtype=torch.float64).repeat(2, 1, 1), 2)
    points = torch.rand(2, 5, 2, dtype=torch.float64)

    structured.forward = structured.transform_points

    def mapped(basis):
        return torch.func.functional_call(structured, {"functions": basis}, (theta, points))

    assert torch.autograd.gradcheck(mapped, (functions.clone().requires_grad_(),))
    assert [name for name, _ in structured.named_parameters()] == ["functions"]
    other = Structured(torch.zeros(2, 3, 4), learned=True)
    other.load_state_dict(structured.state_dict())
    for size in ((5, 6), (17, 2)):
        assert_close(other.grid(theta, size), structured.grid(theta, size), rtol=0, atol=1e-5)


def test_a_given_basis_is_a_copy_and_part_of_checkpoints():
    functions = torch.randn(2, 3, 4)
    structured = Structured(functions)
    original = functions.clone()
    functions.zero_()
    assert_identical(structured.state_dict()["functions"], original)
    assert not list(structured.parameters())


def test_describe_reads_weights_and_perspective_up_to_a_factor():
    structured = Structured(torch.zeros(1, 2, 2), perspective=True)
    theta = structured.identity()[None].clone()
    theta[0, [3, 7, 8]] = torch.tensor([3.0, 3.0, 0.25])
    parts = structured.describe(theta)
    assert_close(parts["weight of functions (rms)"], torch.tensor([6.0]).sqrt())
    assert_identical(parts["perspective x"], torch.tensor([0.25]))
    for name, part in structured.describe(2 * theta).items():
        assert_close(part, parts[name])
    theta[0, 10] = -1  # w at the origin: nothing to read
    assert structured.describe(theta)["scale x"].isnan().all()


@pytest.mark.traced
@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (torch.zeros(4, 5), r"shape \(4, 5\).*give floating functions on a lattice, \(K, H, W\)"),
        (torch.zeros(1, 2, 2, 2, 2), r"shape \(1, 2, 2, 2, 2\)"),
        (torch.zeros(1, 0, 2), r"shape \(1, 0, 2\)"),
        (torch.zeros(1, 2, 2, dtype=torch.int64), "torch.int64; give floating"),
        (torch.tensor([[[0.0, torch.nan]]]), "not finite; give numbers"),
    ],
)
def test_a_basis_that_is_none(basis, message):
    with pytest.raises(InputError, match=message):
        Structured(basis)


def test_repr_tells_the_functions_unless_they_are_many():
    assert repr(Structured(torch.eye(2)[None])) == "Structured([[[1.0, 0.0], [0.0, 1.0]]])"
    many = "Structured(...(3, 40, 50), learned=True)"
    assert repr(Structured(torch.zeros(3, 40, 50), learned=True)) == many
