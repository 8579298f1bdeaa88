"""Penalties on θ; oracles: closed forms, SciPy's normal densities, gradients that lead back."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal
from torch.testing import assert_close

from spatial_transformers import (
    Affine,
    Attention,
    Displacement,
    InputError,
    Projective,
    Translation,
    bending_penalty,
    folding_penalty,
    outside_penalty,
    overlap_penalty,
    scale_penalty,
    triplet_hinge,
)

PENALTIES = (outside_penalty, scale_penalty, bending_penalty, folding_penalty)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_identity_costs_nothing(penalty, ndim):
    affine = Affine(ndim)
    found = penalty(affine, affine.identity().expand(3, -1))
    assert_close(found, torch.zeros(3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
def test_outside_is_the_distance_to_the_edge(ndim):
    theta = torch.zeros(2, ndim, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        theta[0, 0], theta[1, 1] = 7, -4
    penalty = outside_penalty(Translation(ndim), theta)
    assert_close(penalty, torch.tensor([6.0, 3.0], dtype=torch.float64))
    (slope,) = torch.autograd.grad(penalty.sum(), theta)
    expected = torch.zeros_like(slope)
    expected[0, 0], expected[1, 1] = 1, -1
    assert_close(slope, expected)


def test_scale_is_how_far_neighbours_are_apart():
    theta = torch.tensor([[0.1, 0.0, 0.0], [4.0, 0.0, 0.0], [0.5, 3.0, 0.0]], dtype=torch.float64)
    penalty = scale_penalty(Attention(), theta.requires_grad_())
    assert_close(penalty, torch.tensor([0.15, 2.5, 0.0], dtype=torch.float64), rtol=0, atol=1e-6)
    (slope,) = torch.autograd.grad(penalty.sum(), theta)
    expected = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.float64)
    assert_close(slope, expected, rtol=0, atol=1e-6)


def test_a_grid_that_is_nearly_a_point_grows():
    theta = torch.tensor([[1e-4, 0.0, 0.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(scale_penalty(Attention(), theta).sum(), theta)
    assert slope[0, 0] < -0.9


def test_overlap_is_the_bhattacharyya_coefficient():
    """Oracle: the integral of √(p q), by SciPy's densities on a fine lattice."""
    thetas = [torch.tensor([[0.5, -0.3, 0.0]]).double(), torch.tensor([[0.7, 0.4, 0.2]]).double()]
    axis = np.linspace(-4, 4, 801)
    lattice = np.stack(np.meshgrid(axis, axis), -1)
    grids = [Attention().grid(theta, 8).flatten(1, 2)[0].numpy() for theta in thetas]
    densities = [
        multivariate_normal(g.mean(0), np.cov(g.T, ddof=0) + 1e-4 * np.eye(2)).pdf(lattice)
        for g in grids
    ]
    expected = np.sqrt(densities[0] * densities[1]).sum() * (axis[1] - axis[0]) ** 2
    assert overlap_penalty(Attention(), thetas).item() == pytest.approx(expected, abs=1e-6)


def test_overlap_drives_apart():
    first = torch.tensor([[0.5, 0.0, 0.0]])
    second = torch.tensor([[0.5, 0.1, 0.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(overlap_penalty(Attention(), [first, second]).sum(), second)
    assert slope[0, 1] < 0
    assert overlap_penalty(Attention(), [first, first]).item() == pytest.approx(1)
    apart = torch.tensor([[0.2, 0.8, 0.0]])
    assert overlap_penalty(Attention(), [apart, -apart]).item() < 0.01
    three = overlap_penalty(Attention(), [first, first, first])
    assert three.item() == pytest.approx(1)


def test_bending_is_zero_for_affine_maps_only():
    theta = Affine().identity() + 0.3 * torch.randn(4, 6)
    assert_close(bending_penalty(Affine(), theta), torch.zeros(4), rtol=0, atol=1e-6)
    field = Displacement(4)
    moved = (field.identity() + 0.2 * torch.randn(4, field.num_parameters)).requires_grad_()
    penalty = bending_penalty(field, moved)
    assert (penalty > 0.01).all()
    (slope,) = torch.autograd.grad(penalty.sum(), moved)
    assert (bending_penalty(field, moved - 0.01 * slope) < penalty).all()


def test_folding_leads_back():
    mirrored = torch.tensor([[-1.0, 0, 0, 0, 1, 0]], requires_grad=True)
    penalty = folding_penalty(Affine(), mirrored)
    assert penalty.item() == pytest.approx(1.1)
    (slope,) = torch.autograd.grad(penalty, mirrored)
    assert_close(slope[0, 0], torch.tensor(-1.0))
    assert folding_penalty(Affine(), torch.tensor([[0.5, 0, 0, 0, 0.5, 0]])).item() == 0


@pytest.mark.parametrize("penalty", PENALTIES)
def test_points_behind_the_camera_spoil_nothing(penalty):
    theta = Projective().identity()[None].clone()
    theta[0, -1] = 5.0
    assert Projective().grid(theta, 8).isnan().any()
    theta.requires_grad_()
    found = penalty(Projective(), theta)
    (slope,) = torch.autograd.grad(found.sum(), theta)
    assert found.isfinite().all()
    assert slope.isfinite().all()


def test_refusals():
    with pytest.raises(InputError, match="lowest=2 and highest=1"):
        scale_penalty(Affine(), Affine().identity()[None], lowest=2, highest=1)
    with pytest.raises(InputError, match="1 theta were given"):
        overlap_penalty(Affine(), [Affine().identity()[None]])


@pytest.mark.parametrize("margin", [0.0, 1.0, 40.0])
def test_triplet_hinge_is_the_paper_s_sum(margin):
    """Oracle: SciPy's distances, one triplet after the other."""
    crops, patches = torch.randn(2, 5, 7, dtype=torch.float64)
    found = triplet_hinge(crops, patches, margin=margin)
    apart = cdist(crops, crops, "sqeuclidean")
    own = cdist(crops, patches, "sqeuclidean").diagonal()
    for n in range(5):
        for m in range(5):
            due = 0 if n == m else max(0, apart[n, m] - own[n] + margin)
            assert found[n, m].item() == pytest.approx(due)


def test_triplet_hinge_leads_to_what_is_alike():
    """Crops move to each other and away from their patches; those that hold stay."""
    crops = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    patches = torch.tensor([[0.0, 0.1], [1.0, 99.0]])
    (slope,) = torch.autograd.grad(triplet_hinge(crops, patches).sum(), crops)
    assert_close(slope, torch.tensor([[-2.0, 0.2], [2.0, 0.0]]))
    assert triplet_hinge(crops[:1], patches[:1]).tolist() == [[0.0]]


@pytest.mark.traced
def test_triplet_hinge_refuses():
    one = torch.rand(3, 4)
    with pytest.raises(InputError, match=r"shape \(3, 4\) and patches of shape \(3, 5\)"):
        triplet_hinge(one, torch.rand(3, 5))
    with pytest.raises(InputError, match="margin=-1"):
        triplet_hinge(one, one, margin=-1)
    with pytest.raises(InputError, match="as patches was given a list"):
        triplet_hinge(one, [one])
