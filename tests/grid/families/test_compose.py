"""Chains of transformations; oracles: the maps one by one, the product of matrices."""

import pytest
import torch
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    Affine,
    Attention,
    Compose,
    InputError,
    Projective,
    Rigid,
    Translation,
    warp,
)


def _theta(family, n=4, spread=0.1):
    identity = family.identity().double()
    return identity + spread * torch.randn(n, len(identity), dtype=torch.float64)


def test_points_go_through_the_last_first():
    parts = Affine(), Projective(), Rigid()
    chain = Compose(*parts)
    theta, points = _theta(chain), torch.rand(4, 6, 2, dtype=torch.float64)
    own = theta.split([6, 8, 3], 1)
    expected = points
    for part, t in reversed(list(zip(parts, own, strict=True))):
        expected = part.transform_points(t, expected)
    assert_close(chain.transform_points(theta, points), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_chain_of_affine_maps_is_their_product(align_corners):
    chain, affine = Compose(Affine(3), Affine(3)), Affine(3)
    theta = _theta(chain)
    product = affine.compose(*theta.split(12, 1))
    sizes = (3, 5, 4), (6, 7, 2)
    found = chain.pixels(theta, *sizes, align_corners=align_corners)
    expected = affine.pixels(product, *sizes, align_corners=align_corners)
    assert_close(found, expected, rtol=0, atol=1e-13)


def test_one_resampling_keeps_what_leaves_and_returns():
    image, there = torch.rand(1, 1, 6, 8), torch.tensor([[1.0, 0.0, -1.0, 0.0]])
    chain = Compose(Translation(), Translation())
    assert_identical(warp(image, there, chain), image)
    by_steps = warp(warp(image, there[:, 2:], Translation()), there[:, :2], Translation())
    assert (by_steps != image).any()


def test_describe_numbers_the_parts():
    chain = Compose(Attention(), Rigid())
    parts = chain.describe(torch.tensor([[0.5, 0.0, 0.2, 0.0, 0.4, 0.0]]))
    assert parts["0. scale"].item() == 0.5
    assert parts["1. translation x (%)"].item() == pytest.approx(20)
    assert len(chain.entries) == chain.num_parameters == 6


def test_chains_nest_and_bounds_hold():
    inner = Compose(Translation(bounds=(-0.5, 0.5)), Translation())
    chain = Compose(Translation(), inner)
    moved = chain.transform_points(torch.tensor([[1.0, 0, 9, 9, 0, 1]]), torch.zeros(1, 1, 2))
    assert_close(moved, torch.tensor([[[1.5, 1.5]]]), rtol=0, atol=0.02)
    assert (moved < 1.5).all()
    values = chain.values(torch.tensor([[1.0, 0, 9, 9, 0, 1]]))
    assert_close(values, torch.tensor([[1.0, 0, 0.5, 0.5, 0, 1]]), rtol=0, atol=0.02)


@pytest.mark.traced
@pytest.mark.parametrize("parts", [(Affine(),), (Affine(), Affine(3)), (Affine(), "rigid")])
def test_what_does_not_chain(parts):
    with pytest.raises(InputError, match="two or more transformations of the same number"):
        Compose(*parts)
