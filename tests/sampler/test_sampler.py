"""The sampler as an object: what the functions do, with options checked when it is made."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from equality import assert_identical
from spatial_transformers import (
    KERNELS,
    Affine,
    InputError,
    Sampler,
    SpatialTransformer,
    sample,
    warp,
)

AFFINE = Affine()
IMAGE, GRID = torch.randn(2, 3, 7, 6), torch.rand(2, 4, 5, 2) * 2.4 - 1.2
THETA = AFFINE.identity() + 0.1 * torch.randn(2, 6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "lanczos3", "padding_mode": "wrap", "align_corners": True},
        {"mode": "bicubic", "padding_mode": "constant", "fill_value": [1.0, 2.0, 3.0]},
        {"antialias": 3, "gradient": "multi-scale", "backend": "reference"},
        {"mode": KERNELS["gaussian"].with_phi(0.8)},
    ],
)
def test_it_is_sample_and_warp(options):
    for sampler in (Sampler(**options), deepcopy(Sampler(**options))):
        assert_identical(sampler(IMAGE, GRID), sample(IMAGE, GRID, **options))
        found = sampler.warp(IMAGE, THETA, AFFINE, size=4)
        assert_identical(found, warp(IMAGE, THETA, AFFINE, size=4, **options))


def test_options_of_a_call_stand_in_for_its_own():
    """A fill goes with its padding, unless the call brings one."""
    sampler = Sampler(padding_mode="constant", fill_value=9.0)
    for changes in (
        {"mode": "nearest", "fill_value": 9.0, "padding_mode": "constant"},
        {"padding_mode": "border"},
        {"padding_mode": "constant", "fill_value": 2.0},
    ):
        found = sampler.warp(IMAGE, THETA, AFFINE, **changes)
        assert_identical(found, warp(IMAGE, THETA, AFFINE, **changes))


def test_a_swapped_fill_is_read():
    """`functional_call` puts another tensor in a parameter's place for one call."""
    sampler = Sampler(padding_mode="constant", fill_value=nn.Parameter(torch.zeros(3)))
    swapped = {"fill_value": torch.tensor([1.0, 2.0, 3.0])}
    found = torch.func.functional_call(sampler, swapped, (IMAGE, GRID))
    due = sample(IMAGE, GRID, padding_mode="constant", fill_value=swapped["fill_value"])
    assert_identical(found, due)


@pytest.mark.traced
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding_mode": "wrap", "fill_value": 1}, "goes with 'constant'"),
        ({"padding_mode": "constant"}, "without a fill_value"),
        ({"mode": "cubic"}, "'cubic' was asked for; known modes"),
        ({"antialias": 65}, "give True, False, or how far"),
        ({"gradient": "none"}, "gradient 'none' was asked for; known"),
    ],
)
def test_wrong_options_are_refused_when_it_is_made(options, message):
    with pytest.raises(InputError, match=message):
        Sampler(**options)


@pytest.mark.traced
@pytest.mark.parametrize(
    ("old", "new"), [("fill_value", "sampler.fill_value"), ("mode.phi", "sampler.mode.phi")]
)
def test_a_state_of_before_names_what_moved(old, new):
    stn = nn.Sequential(SpatialTransformer(nn.Identity(), AFFINE))
    with pytest.raises(InputError, match=f"'0.{old}' .* rename it to '0.{new}'"):
        stn.load_state_dict({f"0.{old}": torch.zeros(1)})
