"""Dense displacement fields; oracles: SimpleITK's field transform, the regular grid plus θ."""

import pytest
import SimpleITK
import torch
from torch.testing import assert_close

from spatial_transformers import Displacement, InputError
from spatial_transformers.grid.regular import regular_grid

corners = pytest.mark.parametrize("align_corners", [False, True])
lattices = pytest.mark.parametrize("lattice", [(5, 4), (2, 7), (3, 4, 2), (4, 2, 5)])


def itk(flow, lattice, align_corners):
    """Return SimpleITK's transform with one flow (ndim, *lattice), linear between pixel centres."""
    image = SimpleITK.GetImageFromArray(flow.movedim(0, -1).contiguous().numpy(), isVector=True)
    extents = [n - 1 if align_corners else n for n in reversed(lattice)]
    image.SetSpacing([2 / e for e in extents])
    image.SetOrigin([-(n - 1) / e for n, e in zip(reversed(lattice), extents, strict=True)])
    return SimpleITK.DisplacementFieldTransform(image)


@corners
@lattices
def test_points_are_mapped_as_by_simpleitk(lattice, align_corners):
    displacement = Displacement(lattice, align_corners=align_corners)
    flow = torch.randn(3, len(lattice), *lattice, dtype=torch.float64)
    points = torch.rand(3, 50, len(lattice), dtype=torch.float64) * 1.998 - 0.999
    found = displacement.transform_points(flow.flatten(1), points)
    for n in range(3):
        transform = itk(flow[n], lattice, align_corners)
        expected = [transform.TransformPoint(p) for p in points[n].tolist()]
        expected = torch.tensor(expected, dtype=torch.float64)
        assert_close(found[n], expected, rtol=0, atol=1e-12)


@corners
@pytest.mark.parametrize("lattice", [(5, 4), (37, 64), (3, 4, 2), (5, 12, 9)])
def test_the_grid_of_the_lattices_size_is_the_regular_grid_plus_theta(lattice, align_corners):
    displacement = Displacement(lattice, align_corners=align_corners)
    flow = torch.randn(2, len(lattice), *lattice)  # as a network gives it
    regular = regular_grid(lattice, ndim=len(lattice), align_corners=align_corners)
    grid = displacement.grid(flow.flatten(1), lattice, align_corners=align_corners)
    assert_close(grid, regular + flow.movedim(1, -1), rtol=0, atol=2e-5)


@corners
def test_beyond_the_nodes_points_move_as_the_nearest(align_corners):
    displacement = Displacement((4, 5), align_corners=align_corners)
    theta = torch.randn(2, 40, dtype=torch.float64)
    outside = torch.rand(2, 30, 2, dtype=torch.float64) * 6 - 3
    ends = torch.tensor([1.0, 1.0] if align_corners else [0.8, 0.75], dtype=torch.float64)
    nearest = outside.clamp(-ends, ends)
    moves = [displacement.transform_points(theta, p) - p for p in (outside, nearest)]
    assert_close(*moves, rtol=0, atol=1e-14)


def test_a_dense_volume_is_affordable():
    lattice = (40, 48, 56)
    displacement = Displacement(lattice)
    theta = displacement.identity()[None].requires_grad_()
    grid = displacement.grid(theta, lattice)
    (gradient,) = torch.autograd.grad(grid.sum(), theta)
    assert_close(gradient, torch.ones_like(gradient), rtol=0, atol=1e-4)
    assert displacement.entries[-1] == "z[39,47,55]"
    assert displacement.num_parameters == 3 * 40 * 48 * 56


def test_repr_tells_lattice_and_convention():
    assert repr(Displacement((2, 3))) == "Displacement((2, 3))"
    assert repr(Displacement(2, ndim=3, align_corners=True)) == (
        "Displacement((2, 2, 2), align_corners=True)"
    )


@pytest.mark.traced
@pytest.mark.parametrize("lattice", [(1, 4), (4, 0), 1])
def test_other_lattices_are_refused(lattice):
    with pytest.raises(InputError, match=r"Displacement\(.*at least 2 each"):
        Displacement(lattice)
