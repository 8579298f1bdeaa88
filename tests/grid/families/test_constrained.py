"""Constraints; oracles: the unconstrained family with the held entries put in."""

import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    Affine,
    Attention,
    Constrained,
    Displacement,
    InputError,
    Projective,
    Rigid,
)

NO_SHEAR = [[None, 0, None], [0, None, None]]


def test_held_entries_are_put_in_place():
    theta = torch.randn(5, 4)
    found = Constrained(Affine(), fixed=[[0.5, None, None], [None, None, 0]]).matrix(theta)
    a, b, c, d = theta.unbind(1)
    half, zero = torch.full((5,), 0.5), torch.zeros(5)
    rows = torch.stack((half, a, b), -1), torch.stack((c, d, zero), -1)
    assert_identical(found, torch.stack(rows, 1))


def test_a_list_and_names_say_the_same():
    theta = torch.randn(3, 4, dtype=torch.float64)
    listed = Constrained(Affine(), fixed=NO_SHEAR)
    flat = Constrained(Affine(), fixed=[None, 0, None, 0, None, None])
    named = Constrained(Affine(), fixed={"m21": 0, "m12": 0.0})
    assert listed.entries == flat.entries == named.entries == ("m11", "tx", "m22", "ty")
    assert_identical(listed.matrix(theta), named.matrix(theta))
    assert_identical(flat.matrix(theta), named.matrix(theta))


def test_constraints_combine_and_keep_a_fixed_zero():
    theta = torch.randn(3, 2)
    both = Constrained(Constrained(Affine(), fixed=NO_SHEAR), fixed={"tx": 0, "ty": 0.25})
    assert both.entries == ("m11", "m22")
    matrix = both.matrix(theta)
    assert_identical(matrix[:, 0, 1:], torch.zeros(3, 2))
    assert_identical(matrix[:, 1, 0], torch.zeros(3))
    assert_identical(matrix[:, 1, 2], torch.full((3,), 0.25))
    assert_identical(matrix[:, [0, 1], [0, 1]], theta)


def test_inverse_and_compose_within_the_constraint():
    family, affine = Constrained(Affine(), fixed=NO_SHEAR), Affine()
    theta = family.identity() + 0.3 * torch.rand(4, 4)
    full = affine.from_matrix(family.matrix(theta))
    inverse = affine.matrix(affine.inverse(full))
    assert_close(family.matrix(family.inverse(theta)), inverse)
    twice = affine.matrix(affine.compose(full, full))
    assert_close(family.matrix(family.compose(theta, theta)), twice)


def test_half_the_scale_held_as_for_birds():
    crop = Constrained(Attention(), fixed={"s": 0.5})
    assert crop.entries == ("tx", "ty")
    assert_identical(crop.identity(), torch.zeros(2))
    assert crop.describe(torch.zeros(1, 2))["scale"].item() == 0.5


def test_perspective_and_3d():
    vertical = Constrained(Projective(), fixed={"h31": 0})
    theta = vertical.identity() + 0.1 * torch.randn(3, 7)
    assert vertical.perspective
    assert_identical(vertical.matrix(theta)[:, 2, 0], torch.zeros(3))
    about_z = Constrained(Rigid(3), fixed={"rx": 0, "ry": 0})
    assert about_z.entries == ("rz", "tx", "ty", "tz")
    turned = about_z.matrix(torch.tensor([[0.3, 0.0, 0.0, 0.0]]))
    assert_close(turned[:, :2, :2], Rigid().matrix(torch.tensor([[0.3, 0.0, 0.0]]))[:, :, :2])


def test_bounds_hold_behind_a_constraint():
    bounded = Constrained(Attention(bounds={"s": (0.1, 2)}), fixed={"tx": 0})
    values = bounded.values(torch.tensor([[-5e6, 3.0]]))
    assert_close(values, torch.tensor([[0.1, 3.0]]))
    assert values[0, 0] >= 0.1
    held = Constrained(Attention(bounds={"s": (0.1, 2)}), fixed={"s": 1.5})
    assert_close(held.matrix(torch.zeros(1, 2))[0, 0, 0], torch.tensor(1.5))


@pytest.mark.traced
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Constrained(Affine(), fixed=[None, 0]), "was given 2 entries.*give 6.*m11 m12"),
        (lambda: Constrained(Affine(), fixed={"scale": 1}), "some of m11 m12 tx"),
        (lambda: Constrained(Affine(), fixed={"tx": float("nan")}), "finite numbers"),
        (lambda: Constrained(Affine(), fixed=["a"] * 6), "finite numbers"),
        (lambda: Constrained(Affine(), fixed=3), "or numbers by name"),
        (lambda: Constrained(Affine(), fixed=[1, 0, 0, 0, 1, 0]), "at least one entry"),
        (lambda: Constrained(Displacement((4, 4)), fixed={"x": 1}), "that is a matrix"),
        (lambda: Constrained(Attention(bounds={"s": (0.1, 2)}), fixed={"s": 3}), "bounds"),
    ],
)
def test_what_cannot_be_held(make, said):
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.traced
def test_a_result_outside_the_constraint_is_named():
    unit = Constrained(Affine(), fixed={"m11": 1, "m22": 1})
    theta = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]])
    with pytest.raises(InputError, match="sample 1 of the batch is not of this family"):
        unit.inverse(theta)
    points = torch.rand(2, 5, 2)
    moved = unit.transform_points(theta, points)
    assert_close(unit.inverse_points(theta, moved), points)
