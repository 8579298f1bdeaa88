"""What is wrong with a transformer in training: noticed, said once, and started anew."""

import copy
import warnings

import pytest
import torch
from torch import nn

from spatial_transformers import (
    Affine,
    Attention,
    LocalisationCNN,
    Projective,
    RegressionHead,
    Sampler,
    SpatialTransformer,
    diagnose,
)
from spatial_transformers.protection.watch import EVERY, PATIENCE, faults, starts_of

IDENTITY = Affine().identity()
BATCH = IDENTITY + 0.05 * torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda theta: theta, []),
        (lambda theta: theta + torch.tensor([0, 0, 2.5, 0, 0, 0]), ["outside"]),
        (lambda theta: theta * 441, ["outside", "scale"]),
        (lambda theta: theta * 0.01, ["scale"]),
        (lambda theta: theta * torch.tensor([1, 1, 1, 1, 1, torch.nan]), ["not finite"]),
        (lambda theta: IDENTITY.expand(8, -1), ["still"]),
        (lambda theta: (IDENTITY + 0.2).expand(8, -1), ["constant"]),
    ],
)
def test_faults(change, expected):
    assert faults(Affine(), change(BATCH), [IDENTITY]) == expected


def test_scale_is_relative_to_the_start():
    """A crop of a tenth is no fault of a transformer that starts there."""
    start = torch.tensor([0.1, 0, 0, 0, 0.1, 0])
    theta = start + 0.01 * torch.randn(8, 6)
    assert faults(Affine(), theta, [start]) == []
    assert faults(Affine(), theta) == ["scale"]


class _Heads(nn.Module):
    """Two transformers' heads, whose θ are stacked (N, 2, P) or joined to one (N, P)."""

    def __init__(self, starts, stacked):
        super().__init__()
        self.heads = nn.ModuleList(RegressionHead(4, Attention(), start=start) for start in starts)
        self.stacked = stacked

    def forward(self, image):
        thetas = [head(image.flatten(1)) for head in self.heads]
        return torch.stack(thetas, 1) if self.stacked else (thetas[0] + thetas[1]) / 2


@pytest.mark.parametrize("stacked", [True, False])
def test_starts_of_networks_with_heads_of_their_own(stacked):
    """Crops of a tenth that begin in two places, or in one between them."""
    starts = torch.tensor([[0.1, -0.8, 0.0], [0.1, 0.8, 0.0]])
    stn = SpatialTransformer(_Heads(starts, stacked), Attention(), Sampler())
    _, theta = stn(torch.rand(5, 1, 2, 2), return_theta=True)
    found = faults(Attention(), theta, starts_of(stn.localisation))
    assert found == (["still"] if stacked else ["scale", "constant"])


def test_a_horizon_in_the_image_is_a_fault():
    theta = Projective().identity() + torch.tensor([0, 0, 0, 0, 0, 0, 0, 30.0])
    assert faults(Projective(), theta + 0.01 * torch.randn(8, 8)) == ["scale"]


def _lost(watch, bias):
    """A transformer whose localisation network was thrown off, as by one step too large."""
    localisation = LocalisationCNN(Affine(), in_channels=1, input_size=16, perturbation=0.1)
    stn = SpatialTransformer(localisation, Affine(), Sampler(), reach=None, watch=watch)
    with torch.no_grad():
        localisation.head.bias += bias / localisation.lr_multiplier
    return stn


def _steps(stn, count):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(count):
            stn(torch.rand(8, 1, 20, 20)).sum().backward()
    return [str(w.message) for w in said if w.category is UserWarning]


FAR = torch.tensor([0, 0, 5.0, 0, 0, 5.0])


@pytest.mark.parametrize("watch", [True, False])
def test_a_transformer_that_left_the_image_is_brought_back(watch):
    """Switched off, it stays outside, where no gradient leads back."""
    stn = _lost(watch, FAR)
    said = _steps(stn, EVERY + 1)
    inside = "outside (%)", diagnose(stn, torch.rand(8, 1, 20, 20)).values["outside (%)"]
    if watch:
        assert len(said) == 1
        assert "less than 20% of the sampling grid lies inside" in said[0]
        assert "started anew" in said[0]
        assert (inside[1] < 50).all()
    else:
        assert said == []
        assert (inside[1] == 100).all()


def test_it_says_so_once():
    stn = _lost(True, FAR)
    assert len(_steps(stn, EVERY + 1)) == 1
    with torch.no_grad():
        stn.localisation.head.bias += FAR / stn.localisation.lr_multiplier
    assert _steps(stn, EVERY + 1) == []
    assert not (stn(torch.rand(8, 1, 20, 20), return_theta=True)[1].abs() > 2).any()


def test_a_network_of_ones_own_is_warned_of_only():
    localisation = nn.Sequential(nn.Flatten(), nn.Linear(400, 6))
    stn = SpatialTransformer(localisation, Affine(), Sampler(), reach=None)
    with torch.no_grad():
        localisation[1].bias += FAR
    before = copy.deepcopy(localisation.state_dict())
    (said,) = _steps(stn, EVERY + 1)
    assert "started anew" not in said
    assert all(torch.equal(before[k], v) for k, v in localisation.state_dict().items())


def test_a_theta_that_stays_is_said_after_a_while():
    localisation = LocalisationCNN(Affine(), in_channels=1, input_size=16)
    stn = SpatialTransformer(localisation, Affine(), Sampler())
    assert _steps(stn, EVERY * (PATIENCE - 1) + 1) == []
    (said,) = _steps(stn, EVERY)
    assert "theta has not left its start" in said


def test_nothing_is_watched_outside_of_training():
    stn = _lost(True, FAR)
    with torch.no_grad():
        assert _steps_without_gradient(stn) == []
    stn.eval()
    assert _steps(stn, EVERY + 1) == []


def _steps_without_gradient(stn):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(EVERY + 1):
            stn(torch.rand(8, 1, 20, 20))
    return said
