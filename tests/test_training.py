"""Parameter groups, diagnosis and monitor; oracles: what the transformers were built to do."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spatial_transformers import (
    KERNELS,
    Affine,
    Attention,
    InputError,
    LocalisationCNN,
    RegressionHead,
    Sampler,
    SpatialTransformer,
    Translation,
    coarse_to_fine,
    diagnose,
    monitor,
    parameter_groups,
    show,
    tiled_starts,
)


def _own():
    return nn.Sequential(nn.Flatten(), nn.Linear(400, 3))


def _model(*localisations):
    transformers = [SpatialTransformer(loc, Attention(), Sampler()) for loc in localisations]
    return nn.ModuleDict({"stns": nn.ModuleList(transformers), "head": nn.Linear(4, 2)})


def _names(model, group):
    names = {id(p): name for name, p in model.named_parameters()}
    return sorted(names[id(p)] for p in group["params"])


def test_every_parameter_is_in_one_group():
    shared = _own()
    model = _model(shared, shared, LocalisationCNN(Attention(), in_channels=1))
    groups = parameter_groups(model, 0.02, weight_decay=0.1)
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(0.02, 0.1), (0.02, 0), (0.002, 0)]
    assert _names(model, groups[0]) == ["head.bias", "head.weight"]
    assert all(name.startswith("stns.2.") for name in _names(model, groups[1]))
    assert _names(model, groups[2]) == [
        "stns.0.localisation.1.bias",
        "stns.0.localisation.1.weight",
    ]
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    torch.optim.AdamW(groups)


def test_a_rate_of_their_own():
    model = _model(_own(), LocalisationCNN(Attention(), in_channels=1))
    groups = parameter_groups(model, 0.02, localisation_lr=0.5)
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(0.02, 0), (0.5, 0)]
    (only,) = parameter_groups(nn.Linear(2, 2), 0.1)
    assert len(only["params"]) == 2


def test_layers_that_slow_themselves_down_are_left_at_the_rate():
    """In a network of one's own, some do and others do not."""
    head = RegressionHead(8, Attention(), lr_multiplier=0.1)
    localisation = nn.Sequential(nn.Flatten(), nn.Linear(400, 8), head)
    sampler = Sampler(KERNELS["gaussian"].learnable())
    model = nn.ModuleList([SpatialTransformer(localisation, Attention(), sampler)])
    _, plain, slow = parameter_groups(model, 0.02)
    assert (plain["lr"], slow["lr"]) == (0.02, 0.002)
    assert _names(model, plain) == [
        *("0.localisation.2.bias", "0.localisation.2.weight", "0.sampler.mode.phi"),
    ]
    assert _names(model, slow) == ["0.localisation.1.bias", "0.localisation.1.weight"]


class _Still(nn.Module):
    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, image):
        return self.theta


def test_a_diagnosis_counts():
    theta = torch.tensor([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [1.0, 0.0, 9.0]])
    stn = SpatialTransformer(_Still(theta), Attention(), reach=None)
    found = diagnose(stn, torch.rand(3, 1, 8, 8))
    assert found.values["outside (%)"].tolist() == [0, 50, 100]
    assert found.values["local scale"].tolist() == pytest.approx([1, 0.5, 1])
    assert found.values["scale"].tolist() == [1, 0.5, 1]
    assert found.means()["outside (%)"] == 50
    assert found.advice == ()
    assert "Nothing seems wrong." in str(found)


def test_every_map_of_an_image_is_counted_by_itself():
    """Two that lie apart, of which one is the same for every image."""
    theta = tiled_starts(Attention(), 2) + torch.zeros(6, 2, 3)
    theta[:, 1, 1] += torch.linspace(0, 0.3, 6)
    stn = SpatialTransformer(_Still(theta), Attention(), reach=None)
    found = diagnose(stn, torch.rand(6, 1, 8, 8))
    assert found.values["apart (%)"].tolist() == pytest.approx([0, 10.2], abs=0.1)
    assert found.values["scale"].shape == (12,)
    assert found.advice[0].startswith("theta is the same for every image")


def test_zeros_about_normalised_images_are_noticed():
    images = (torch.rand(3, 1, 12, 12) * 0.1 - 1).clone()
    images[:, :, 4:8, 4:8] = 2
    theta = Attention().identity() + 0.1 * torch.randn(3, 3)
    stn = SpatialTransformer(_Still(theta), Attention(), Sampler())
    (advice,) = diagnose(stn, images).advice
    assert "zeros are outside, but the images' border is -0.9" in advice
    for good in (None, Sampler(padding_mode="border")):
        assert diagnose(SpatialTransformer(_Still(theta), Attention(), good), images).advice == ()


def test_a_diagnosis_leaves_the_transformer_as_it_was():
    localisation = LocalisationCNN(Affine(), in_channels=1, norm="batch")
    stn = SpatialTransformer(localisation, Affine())
    before = {k: v.clone() for k, v in stn.state_dict().items()}
    stn.localisation.body[2].eval()  # statistics that are frozen
    diagnose(stn, torch.rand(3, 1, 12, 12))
    assert stn.training
    assert not stn.localisation.body[2].training
    for name, value in stn.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True, msg=name)


def test_a_monitor_looks_now_and_then():
    stn, seen = SpatialTransformer(LocalisationCNN(Affine(), in_channels=1), Affine()), []
    watching = monitor(stn, lambda values, step: seen.append((step, values)), every=3)
    images = torch.rand(4, 1, 12, 12)
    for _ in range(7):
        stn(images)
    stn.eval()(images)
    assert [step for step, _ in seen] == [3, 6]
    assert seen[0][1]["rotation (deg)"] == 0
    assert seen[0][1]["local scale"] == pytest.approx(1)
    watching.close()
    for _ in range(7):
        stn.train()(images)
    assert len(seen) == 2


def _aligned(steps, coarsest, gradient, apart=14.0):
    """How many pixels a blob is off, once a translation was to bring it onto another one."""
    place = torch.arange(64.0)
    first, second = (-((place - x).square()) / 18 for x in (32 - apart / 2, 32 + apart / 2))
    across = -((place[:16] - 8).square()) / 18
    moving, fixed = ((across[:, None] + along).exp()[None, None] for along in (first, second))
    stn = SpatialTransformer(_Still(torch.zeros(1, 2)), Translation(), Sampler(), theta_clip=None)
    optimiser = torch.optim.Adam(stn.parameters(), lr=0.03)
    for step in range(steps + steps // 2):
        both = torch.cat((moving, fixed))
        seen, wanted = coarse_to_fine(
            stn, both, step / steps, coarsest=coarsest, gradient=gradient
        ).split(1)
        loss = (stn(seen) - wanted).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert stn.sampler.options.gradient == "exact"
    return abs(stn.localisation.theta[0, 0].item() * 32 + apart)


def test_from_coarse_to_fine_a_blob_is_found_that_is_far_away():
    assert _aligned(40, 1.0, "exact") > 10
    for coarsest, gradient in ((1.0, "multi-scale"), (4.0, "exact"), (4.0, "multi-scale")):
        assert _aligned(40, coarsest, gradient) < 0.5, (coarsest, gradient)


def test_coarse_images_are_small_ones_made_large():
    images = torch.rand(2, 3, 24, 36)
    stn = SpatialTransformer(LocalisationCNN(Affine(), in_channels=3), Affine())
    assert coarse_to_fine(stn, images, 1.0) is images
    assert coarse_to_fine(stn, images, 0.0, coarsest=1) is images
    seen = coarse_to_fine(stn, images, 0.5, coarsest=9)  # pixels of three
    small = F.interpolate(images, (8, 12), mode="bilinear", antialias=True)
    torch.testing.assert_close(seen, F.interpolate(small, (24, 36), mode="bilinear"))
    assert stn.sampler.options.gradient == "multi-scale"


@pytest.mark.traced
def test_refusals():
    with pytest.raises(InputError, match="Linear was given to diagnose"):
        diagnose(nn.Linear(2, 2), torch.rand(1, 1, 2, 2))
    with pytest.raises(InputError, match="every=0"):
        monitor(SpatialTransformer(nn.Identity(), Affine()), every=0)
    with pytest.raises(InputError, match="Identity was given to monitor"):
        monitor(nn.Identity())
    stn = SpatialTransformer(nn.Identity(), Affine())
    for progress, coarsest in ((-0.1, 4), (float("nan"), 4), (0, 0.5)):
        with pytest.raises(InputError, match=f"progress={progress}"):
            coarse_to_fine(stn, torch.rand(1, 1, 2, 2), progress, coarsest=coarsest)
    for progress in ("half", None):
        with pytest.raises(InputError, match=f"progress={progress!r} and"):
            coarse_to_fine(stn, torch.rand(1, 1, 2, 2), progress)
    for shape in ((1, 1, 0, 2), (8, 8)):
        with pytest.raises(InputError, match=re.escape(f"of shape {shape}")):
            coarse_to_fine(stn, torch.rand(shape), 0)
    with pytest.raises(InputError, match="uint8"):
        coarse_to_fine(stn, torch.zeros(1, 1, 2, 2, dtype=torch.uint8), 0)
    with pytest.raises(InputError, match="gradient 'far'"):
        coarse_to_fine(stn, torch.rand(1, 1, 2, 2), 1, gradient="far")
    several = SpatialTransformer(_Still(tiled_starts(Attention(), 4).expand(9, 4, 3)), Attention())
    with pytest.raises(InputError, match="9 images were given to show, which take 36 columns"):
        show(several, torch.rand(9, 1, 2, 2))
