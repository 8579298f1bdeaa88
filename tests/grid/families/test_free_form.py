"""Free-form deformations; oracle: SimpleITK's B-spline transform."""

import pytest
import SimpleITK
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import FreeForm, InputError, Transformation
from spatial_transformers.grid.regular import regular_grid


def itk(theta, lattice):
    """Return SimpleITK's transform over [-1, 1] with one θ (P,): x first and fastest, as here."""
    ndim = len(lattice)
    transform = SimpleITK.BSplineTransform(ndim, 3)
    transform.SetTransformDomainOrigin([-1.0] * ndim)
    transform.SetTransformDomainPhysicalDimensions([2.0] * ndim)
    transform.SetTransformDomainMeshSize([n - 3 for n in reversed(lattice)])
    transform.SetParameters(theta.tolist())
    return transform


def mapped(transform, points):
    """Map points (K, ndim) by SimpleITK."""
    return torch.tensor([transform.TransformPoint(p) for p in points.tolist()], dtype=points.dtype)


@pytest.mark.parametrize("lattice", [(4, 4), (5, 9), (4, 7, 5), (6, 4, 4)])
def test_points_are_mapped_as_by_simpleitk(lattice):
    free_form = FreeForm(lattice)
    theta = 0.3 * torch.randn(3, free_form.num_parameters, dtype=torch.float64)
    points = torch.rand(3, 50, len(lattice), dtype=torch.float64) * 1.998 - 0.999
    found = free_form.transform_points(theta, points)
    for n in range(3):
        expected = mapped(itk(theta[n], lattice), points[n])
        assert_close(found[n], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("lattice", "size"), [((5, 9), (16, 31)), ((4, 7, 5), (6, 5, 8))])
def test_the_grid_is_that_of_simpleitk(lattice, size):
    free_form = FreeForm(lattice)
    theta = 0.3 * torch.randn(1, free_form.num_parameters)
    regular = regular_grid(size, ndim=len(size)).flatten(0, -2)
    expected = mapped(itk(theta[0], lattice), regular).reshape(*size, -1)
    assert_close(free_form.grid(theta, size)[0], expected, rtol=0, atol=2e-6)


def test_beyond_the_domain_points_move_as_the_border_does():
    free_form = FreeForm((5, 6))
    theta = torch.randn(2, free_form.num_parameters, dtype=torch.float64)
    outside = torch.rand(2, 30, 2, dtype=torch.float64) * 6 - 3
    border = outside.clamp(-1, 1)
    moves = [free_form.transform_points(theta, p) - p for p in (outside, border)]
    assert_close(*moves, rtol=0, atol=1e-14)


def test_small_displacements_do_not_fold():
    """Choi and Lee's bound in 2-D: 0.4 of the spacing."""
    free_form = FreeForm((7, 7))
    theta = (torch.rand(200, free_form.num_parameters) * 2 - 1) * 0.4 * (2 / 4)
    assert free_form.jacobian_determinant(theta, 32).min() > 0
    assert free_form.jacobian_determinant(3 * theta, 32).min() < 0


@pytest.mark.parametrize("lattice", [(5, 6), (4, 5, 6)])
def test_an_entry_moves_the_node_of_its_name(lattice):
    free_form = FreeForm(lattice)
    assert isinstance(free_form, Transformation)
    ndim = len(lattice)
    theta = torch.zeros(1, ndim, *lattice)
    node, component = tuple(n - 2 for n in lattice), ndim - 1  # at the upper border of every axis
    theta[0, component][node] = 1
    place = int(theta.flatten().argmax())
    assert free_form.entries[place] == f"{'xyz'[component]}[{','.join(map(str, node))}]"
    corner = torch.ones(1, 1, ndim)
    moved = free_form.transform_points(theta.flatten(1), corner)[0, 0] - 1
    expected = torch.zeros(ndim)
    expected[component] = (2 / 3) ** ndim
    assert_close(moved, expected)


def test_entries_are_a_sequence():
    names = FreeForm((4, 5)).entries
    assert len(names) == 40
    assert (names[0], names[4], names[5], names[20], names[-1]) == (
        "x[0,0]",
        "x[0,4]",
        "x[1,0]",
        "y[0,0]",
        "y[3,4]",
    )
    assert names[38:] == ("y[3,3]", "y[3,4]")
    assert len(set(names)) == 40
    assert FreeForm(4, ndim=3).entries[-1] == "z[3,3,3]"
    with pytest.raises(IndexError):
        names[40]


def test_describe_reads_displacements():
    free_form = FreeForm((4, 5))
    theta = torch.zeros(2, 2, 4, 5)
    theta[1, :, 2, 3] = torch.tensor([0.3, 0.4])
    parts = free_form.describe(theta.flatten(1))
    assert_close(parts["largest displacement (%)"], torch.tensor([0.0, 25.0]))
    assert_close(parts["displacement (%)"], torch.tensor([0.0, 25 / 20**0.5]))


def test_one_number_serves_all_axes():
    assert FreeForm(5).lattice == (5, 5)
    assert FreeForm(5, ndim=3).lattice == (5, 5, 5)
    assert repr(FreeForm([4, 5, 6])) == "FreeForm((4, 5, 6))"
    assert FreeForm((4, 5)).ndim == 2


@pytest.mark.traced
@pytest.mark.parametrize(
    ("lattice", "ndim"), [((3, 4), None), ((4, 4), 3), (3, 2), ((4, 4.0), 2), (True, 2), ("45", 2)]
)
def test_other_lattices_are_refused(lattice, ndim):
    with pytest.raises(InputError, match=r"FreeForm\(.*at least 4 each"):
        FreeForm(lattice, ndim=ndim)


@pytest.mark.traced
@pytest.mark.parametrize("lattice", [(4,), (4, 4, 4, 4), ()])
def test_other_dimensions_are_refused(lattice):
    with pytest.raises(InputError, match="ndim is 2 or 3"):
        FreeForm(lattice)


def test_the_identity_is_exact_at_any_place():
    free_form = FreeForm((6, 5))
    points = torch.randn(1, 100, 2)
    assert_identical(free_form.transform_points(free_form.identity()[None], points), points)
