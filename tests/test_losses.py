"""Penalties on θ; oracles: closed forms, SciPy's normal densities, gradients that lead back."""

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal
from torch.testing import assert_close

from spatial_transformers import (
    Affine,
    Attention,
    Compose,
    Displacement,
    FreeForm,
    InputError,
    Projective,
    Similarity,
    ThinPlateSpline,
    Translation,
    bending_penalty,
    folding_penalty,
    layout_penalty,
    outside_penalty,
    overlap_penalty,
    scale_penalty,
    text_rows,
    triplet_hinge,
)
from spatial_transformers.grid.numerics.control_points import regular_points

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


ROWS = ThinPlateSpline(text_rows(10, margin=(0.1, 0.05)), parameters="positions")
GRID = ThinPlateSpline((4, 5), parameters="positions")


def laid_out(*points, spline=ROWS):
    """Return the penalty of layouts (K, 2), in float64."""
    theta = torch.stack([torch.as_tensor(p, dtype=torch.float64).flatten() for p in points])
    return layout_penalty(spline, theta)


@pytest.mark.parametrize("spline", [ROWS, GRID, Affine(), FreeForm(5), Compose(Affine(), ROWS)])
def test_an_orderly_layout_costs_nothing(spline):
    found = layout_penalty(spline, spline.identity().expand(3, -1))
    assert_close(found, torch.zeros(3), rtol=0, atol=1e-9)


@pytest.mark.parametrize("source_size", [None, 7, (32, 128)])
@pytest.mark.parametrize("spline", [ROWS, GRID, Affine()])
def test_affine_layouts_cost_nothing_unless_mirrored(spline, source_size):
    matrices = torch.eye(2, 3).double() + 0.6 * torch.randn(50, 2, 3, dtype=torch.float64)
    kept = matrices[:, :, :2].det() > 0.05
    points = getattr(spline, "points", None)
    if points is None:
        theta = matrices.flatten(1)
    else:
        theta = (points @ matrices[:, :, :2].mT + matrices[:, None, :, 2]).flatten(1)
    found = layout_penalty(spline, theta, source_size=source_size)
    assert_close(found[kept], torch.zeros_like(found[kept]), rtol=0, atol=1e-9)
    assert (found[matrices[:, :, :2].det() < -0.05] > 1e-3).all()
    assert 5 < kept.sum() < 45


@pytest.mark.parametrize("degrees", [10, 60, 150])
def test_rows_along_circles_about_one_centre_cost_nothing(degrees):
    """In the images' pixels: 40 × 160 of them."""
    angles = np.radians(degrees) * np.linspace(-0.5, 0.5, 5)
    edges = [r * np.stack((np.sin(angles), -np.cos(angles)), 1) for r in (30.0, 18.0)]
    theta = np.concatenate(edges) / (80, 20)
    theta = torch.from_numpy(theta.flatten())[None]
    assert layout_penalty(ROWS, theta, source_size=(40, 160)).item() == pytest.approx(0, abs=1e-9)
    assert layout_penalty(ROWS, theta).item() > 1e-4  # not along circles of a square image


@pytest.mark.parametrize("shift", [-0.3, 0.1, 0.5])
def test_spacing_is_the_variance_of_steps(shift):
    """One of four steps of one of two rows: 2 s² / 8, in steps. Oracle: NumPy's variance."""
    points = ROWS.points.clone()
    points[1, 0] += shift * 0.4  # a step is a quarter of 1.6 long
    found = laid_out(points).item()
    assert found == pytest.approx(shift**2 / 4)
    steps = np.diff(points[:, 0].view(2, 5).numpy(), axis=1)
    assert found == pytest.approx(steps.var(1).mean() / steps.mean() ** 2)


def test_rows_of_a_grid_are_spaced_evenly_too():
    """Oracle: NumPy's variance of the steps down the columns."""
    points = GRID.points.clone()
    points[5:10, 1] += 0.3  # the second of four rows
    steps = np.diff(points[:, 1].view(4, 5).numpy(), axis=0)
    due = steps.var(0).mean() / steps.mean() ** 2
    assert laid_out(points, spline=GRID).item() == pytest.approx(due)


def test_spacing_is_relative_to_the_layouts_own():
    uneven = torch.tensor([-1.0, -0.3, 0.5, 1.0]).double()
    points = torch.cat([torch.stack((uneven, torch.full_like(uneven, y)), 1) for y in (-1, 1)])
    spline = ThinPlateSpline(points, parameters="positions")
    assert laid_out(points, 0.2 * points + 0.1, spline=spline).amax() < 1e-9
    even = points.clone()
    even[:, 0] = torch.linspace(-1, 1, 4).repeat(2)
    ratios = (2 / 3) / np.diff(uneven.numpy())
    due = ratios.var() / ratios.mean() ** 2
    assert laid_out(even, spline=spline).item() == pytest.approx(due)


@pytest.mark.parametrize("degrees", [-20.0, 5.0, 40.0])
def test_parallels_are_one_minus_the_cosine(degrees):
    """The lower row turns about its middle; no cell is turned over."""
    points, angle = ROWS.points.clone(), np.radians(degrees)
    lower = points[5:] - points[5:].mean(0)
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points[5:] = lower @ turn.mT + torch.tensor([0.0, 2.0])
    assert laid_out(points).item() == pytest.approx(1 - np.cos(angle), rel=1e-6)


def test_folds_are_corners_that_are_turned_over():
    """Rows that have changed places: every corner is, by all of its area."""
    points = ROWS.points * torch.tensor([1.0, -1.0])
    assert laid_out(points).item() == pytest.approx(1)
    crossed = GRID.points.clone()
    crossed[6], crossed[11] = GRID.points[11], GRID.points[6]
    assert laid_out(crossed, spline=GRID).item() > 0.1


def test_what_moves_turns_and_scales_all_changes_nothing():
    """In pixels: a similarity of an image of 30 × 90, and a scale of 1e-3 or 1e3."""
    torch.manual_seed(4)
    points = ROWS.points + 0.1 * torch.randn(5, 10, 2, dtype=torch.float64)
    scale = torch.tensor([45.0, 15.0]).double()
    due = layout_penalty(ROWS, points.flatten(1), source_size=(30, 90))
    assert (due > 0.01).all()
    for s, angle in ((1e-3, 0.0), (1e3, 1.0), (1.0, -2.5)):
        values = torch.tensor([[s, angle, 0.3, -4.0]], dtype=torch.float64)
        turn = Similarity().matrix(values)[0]
        moved = (points * scale @ turn[:, :2].mT) / scale + turn[:, 2]
        found = layout_penalty(ROWS, moved.flatten(1), source_size=(30, 90))
        assert_close(found, due, rtol=1e-5, atol=0)


@pytest.mark.parametrize("spline", [ROWS, GRID, ThinPlateSpline(5), FreeForm(6), Displacement(4)])
def test_the_layout_costs_more_the_more_is_moved_at_random(spline):
    torch.manual_seed(0)
    noise = torch.randn(20, spline.num_parameters)
    mean = [
        layout_penalty(spline, spline.identity() + s * noise).mean().item()
        for s in (0, 0.01, 0.03, 0.1, 0.3)
    ]
    assert mean == sorted({*mean}), mean


@pytest.mark.parametrize("spline", [ROWS, GRID, FreeForm(4), Affine()])
def test_the_slope_of_the_layout_is_that_of_differences(spline):
    """Oracle: SciPy's finite differences."""
    torch.manual_seed(1)
    noise = 0.1 * torch.randn(spline.num_parameters, dtype=torch.float64)
    theta = (spline.identity() + noise).requires_grad_()

    def penalty(numbers):
        theta = torch.as_tensor(numbers, dtype=torch.float64)[None]
        return layout_penalty(spline, theta, source_size=(20, 50)).item()

    (found,) = torch.autograd.grad(
        layout_penalty(spline, theta[None], source_size=(20, 50)).sum(), theta
    )
    due = approx_fprime(theta.detach().numpy(), penalty, 1e-7)
    assert_close(found, torch.from_numpy(due), rtol=1e-4, atol=1e-5)


def test_descent_lays_out_points_anew():
    torch.manual_seed(2)
    theta = (ROWS.identity() + 0.15 * torch.randn(8, 20)).requires_grad_()
    first = layout_penalty(ROWS, theta).detach()
    optimiser = torch.optim.Adam([theta], 0.01)
    for _ in range(200):
        optimiser.zero_grad()
        layout_penalty(ROWS, theta).sum().backward()
        optimiser.step()
    assert (layout_penalty(ROWS, theta) < 0.05 * first).all()


def test_points_in_a_heap_have_a_finite_slope():
    theta = torch.zeros(2, 20)
    theta[1, 3], theta[1, 8] = torch.nan, torch.inf
    theta.requires_grad_()
    penalty = layout_penalty(ROWS, theta)
    (slope,) = torch.autograd.grad(penalty.sum(), theta)
    assert penalty.isfinite().all()
    assert slope.isfinite().all()


def test_points_behind_the_camera_spoil_no_layout():
    theta = Projective().identity()[None].clone()
    theta[0, -1] = 5.0
    theta.requires_grad_()
    found = layout_penalty(Projective(), theta)
    (slope,) = torch.autograd.grad(found.sum(), theta)
    assert found.isfinite().all()
    assert slope.isfinite().all()


def test_the_rows_are_those_of_the_points_or_a_lattice():
    """Scattered points, and families without any, are looked at on 8 × 8 points."""
    torch.manual_seed(3)
    scattered = ThinPlateSpline(torch.rand(9, 2) * 2 - 1)
    theta = 0.1 * torch.randn(2, 18)
    lattice = ThinPlateSpline((8, 8), parameters="positions")
    centres = regular_points((8, 8), 2) * 7 / 8
    mapped = scattered.transform_points(theta.double(), centres[None]).flatten(1)
    assert_close(
        layout_penalty(scattered, theta.double()),
        layout_penalty(lattice, mapped),
        rtol=1e-9,
        atol=0,
    )


def test_a_state_brings_its_rows():
    other = ThinPlateSpline((5, 2), parameters="positions")
    other.load_state_dict(ROWS.state_dict())
    theta = ROWS.identity()[None] + 0.1 * torch.randn(2, 20)
    assert_close(layout_penalty(other, theta), layout_penalty(ROWS, theta), rtol=1e-5, atol=0)


@pytest.mark.traced
def test_layouts_compile_and_refuse_volumes():
    theta = ROWS.identity()[None] + 0.1 * torch.randn(4, 20)
    compiled = torch.compile(layout_penalty, fullgraph=True, backend="aot_eager")
    assert_close(compiled(ROWS, theta), layout_penalty(ROWS, theta))
    with pytest.raises(InputError, match=r"layout_penalty was asked of Affine\(ndim=3\)"):
        layout_penalty(Affine(3), Affine(3).identity()[None])
    with pytest.raises(InputError, match="size 0 was asked for"):
        layout_penalty(ROWS, theta, source_size=0)
