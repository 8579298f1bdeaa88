"""How far a grid may move; oracle: the distance that its points are moved by."""

import copy

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    FAMILIES,
    Affine,
    Attention,
    Displacement,
    InputError,
    ThinPlateSpline,
    make_transformation,
)
from spatial_transformers.protection.reach import Reach
from tracing import compile_and_compare, export_and_compare

#: Families whose points move in proportion to θ, so that the distance is more than a first order.
PROPORTIONAL = [
    Affine(),
    Affine(3),
    Attention(),
    ThinPlateSpline(4),
    make_transformation("free-form"),
    Displacement(4),
]
transformations = pytest.mark.parametrize("transformation", PROPORTIONAL, ids=repr)


def _distance(transformation, theta):
    """The root mean square by which θ moves the points of a lattice."""
    theta = theta.double()
    moved = transformation.grid(theta, 5) - transformation.grid(
        transformation.identity()[None].double(), 5
    )
    return moved.square().sum(-1).flatten(1).mean(1).sqrt()


@transformations
def test_grids_stay_within_reach(transformation):
    theta = (
        transformation.identity()
        + torch.randn(50, transformation.num_parameters) * torch.logspace(-2, 6, 50)[:, None]
    )
    reach = Reach(transformation, 2.0)
    before, after = (
        _distance(transformation, theta),
        _distance(transformation, reach(theta, transformation)),
    )
    assert (after <= 2.0 + 1e-4).all()
    near = before <= 1.499
    assert near.any()
    assert not near.all()
    assert_identical(reach(theta, transformation)[near], theta[near])
    expected = 1.5 + torch.atan((before - 1.5) * torch.pi) / torch.pi  # of 0.5 room
    assert_close(after[~near], expected[~near], rtol=1e-4, atol=1e-4)


@transformations
def test_the_direction_is_kept_and_leads_back(transformation):
    start = transformation.identity().double()
    away = torch.randn(transformation.num_parameters, dtype=torch.float64)
    theta = (start + 1e3 * away)[None].requires_grad_()
    brought = Reach(transformation, 2.0)(theta, transformation)
    assert_close(torch.cosine_similarity(brought - start, away[None]), torch.ones(1).double())
    length = (brought - start).norm()
    (slope,) = torch.autograd.grad(length, theta)
    assert (slope[0] @ away) > 0


@pytest.mark.parametrize("away", [0.0, 0.3, 3.0])
def test_derivatives(away):
    affine = Affine()
    reach = Reach(affine, 2.0)
    torch.manual_seed(1)
    theta = (affine.identity() + away * torch.randn(3, 6)).double().requires_grad_()
    assert gradcheck(lambda t: reach(t, affine), theta)
    assert gradgradcheck(lambda t: reach(t, affine), theta)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name):
    transformation = make_transformation(name)
    reach = Reach(transformation, 2.0)
    start = transformation.identity()
    assert_identical(reach(start[None], transformation), start[None])
    theta = reach(start + 1e4 * torch.randn(4, len(start)), transformation)
    assert theta.isfinite().all()
    assert reach.state_dict() == {}


def test_on_meta_it_is_measured_when_there_are_values():
    with torch.device("meta"):
        spline = ThinPlateSpline(3)
        reach = Reach(spline, 2.0)
    real = ThinPlateSpline(3)
    theta = real.identity() + torch.randn(4, 18)
    assert_identical(copy.deepcopy(reach)(theta, real), Reach(real, 2.0)(theta, real))


def test_thousands_of_entries_are_left_as_they_are():
    field = Displacement(64)
    theta = torch.randn(2, field.num_parameters)
    assert Reach(field, 2.0)(theta, field) is theta


@pytest.mark.traced
def test_it_traces():
    affine = Affine()
    reach = Reach(affine, 2.0)
    cases = [(affine.identity() + torch.randn(n, 6),) for n in (5, 7)]
    compile_and_compare(lambda theta: reach(theta, affine), cases)
    export_and_compare(lambda theta: reach(theta, affine), cases, [(0,)])


@pytest.mark.traced
@pytest.mark.parametrize("reach", [0, -1, float("nan"), float("inf"), True])
def test_refusals(reach):
    with pytest.raises(InputError, match="reach="):
        Reach(Affine(), reach)
