"""Learning more slowly, by any optimiser; oracle: the network without a multiplier."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    Affine,
    InputError,
    LocalisationCNN,
    LocalisationFCN,
    RegressionHead,
    Sampler,
    SpatialTransformer,
    diagnose,
)
from spatial_transformers.benchmarks.hostile.images import embedded

NETWORKS = {"cnn": LocalisationCNN, "fcn": LocalisationFCN}
networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
OPTIMISERS = {  # and how far they move weights that are a tenth of the parameters
    "adam": (lambda p: torch.optim.Adam(p, lr=0.01, eps=1e-30), 0.1),
    "sgd": (lambda p: torch.optim.SGD(p, lr=0.01), 0.01),
    "momentum": (lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True), 0.01),
    "rmsprop": (lambda p: torch.optim.RMSprop(p, lr=0.01, eps=1e-30), 0.1),
}


def _pair(network, multiplier=0.1):
    """The same network twice, in float64: at the optimiser's rate, and at a fraction of it."""
    options = {"in_channels": 1, "perturbation": 0.5, "dtype": torch.float64}
    plain = network(Affine(), lr_multiplier=1.0, **options)
    slow = network(Affine(), lr_multiplier=multiplier, **options)
    slow.load_state_dict(plain.state_dict())
    return plain, slow


def _weights(module):
    """The weights that a network computes with, by the parameters' names."""
    other = type(module)(
        Affine(), in_channels=1, perturbation=0.5, dtype=torch.float64, lr_multiplier=1.0
    )
    other.load_state_dict(module.state_dict())
    return dict(other.named_parameters())


@networks
def test_the_same_network(network):
    plain, slow = _pair(network)
    image = torch.rand(3, 1, 20, 24, dtype=torch.float64)
    assert_close(slow(image), plain(image), rtol=0, atol=1e-12)
    for (name, own), other in zip(
        slow.body.named_parameters(), plain.body.parameters(), strict=True
    ):
        assert_close(own, 10 * other, msg=name)


@networks
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_steps_are_a_fraction_of_those_without(network, optimiser):
    make, fraction = OPTIMISERS[optimiser]
    moved = []
    image = torch.rand(3, 1, 20, 24, dtype=torch.float64)
    for module in _pair(network):
        before, step = _weights(module), make(module.parameters())
        (module(image) - 0.3).square().sum().backward()
        step.step()
        after = _weights(module)
        moved.append(
            {name: (after[name] - before[name]).detach() for name, _ in module.named_parameters()}
        )
    plain, slow = moved
    for name, step in plain.items():
        assert_close(slow[name], fraction * step, rtol=1e-6, atol=1e-12)


@networks
def test_new_networks_are_drawn_alike(network):
    torch.manual_seed(0)
    plain = network(Affine(), in_channels=1, perturbation=0.5, lr_multiplier=1.0)
    torch.manual_seed(0)
    slow = network(Affine(), in_channels=1, perturbation=0.5)
    image = torch.rand(3, 1, 20, 24)
    assert_close(slow(image), plain(image))
    slow.head.reset_parameters()
    assert_identical(slow.head.bias.detach(), Affine().identity())


@networks
def test_a_state_without_a_multiplier_is_one_of_1(network):
    plain, slow = _pair(network)
    state = {k: v for k, v in plain.state_dict().items() if k != "head._extra_state"}
    fresh = network(Affine(), in_channels=1, dtype=torch.float64)
    fresh.load_state_dict(state)
    image = torch.rand(3, 1, 20, 24, dtype=torch.float64)
    assert_close(fresh(image), plain(image), rtol=0, atol=1e-12)
    again = copy.deepcopy(slow)
    again.load_state_dict(slow.state_dict())
    assert_identical(again(image), slow(image))


def test_a_state_inside_another_module():
    plain, slow = _pair(LocalisationCNN)
    outer, other = nn.ModuleList([plain, slow]), nn.ModuleList([slow, copy.deepcopy(slow)])
    other.load_state_dict(outer.state_dict())
    image = torch.rand(3, 1, 20, 24, dtype=torch.float64)
    assert_close(other[0](image), plain(image), rtol=0, atol=1e-12)


@pytest.mark.parametrize("optimiser", [partial(Adam, lr=1e-2), partial(SGD, lr=0.1, momentum=0.9)])
@pytest.mark.parametrize("multiplier", [1.0, 0.1])
def test_the_rate_alone_keeps_a_transformer_in_the_image(optimiser, multiplier):
    """Switched off, forty steps at a rate that suits the classifier lose it."""
    torch.manual_seed(2)
    images, affine = embedded(640, 16), Affine()
    options = {"input_size": 24, "lr_multiplier": multiplier}
    stn = SpatialTransformer(
        LocalisationCNN(affine, in_channels=1, **options),
        affine,
        Sampler(),
        size=20,
        reach=None,
        theta_clip=None,
        watch=False,
    )
    classifier = [nn.Conv2d(1, 8, 5), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    network = nn.Sequential(stn, *classifier, nn.Linear(512, 10))
    steps = optimiser(network.parameters())
    for _ in range(40):
        some = torch.randint(640, (32,))
        loss = F.cross_entropy(network(images.train[some]), images.train_labels[some])
        steps.zero_grad()
        loss.backward()
        steps.step()
    outside = diagnose(stn, images.test).means()["outside (%)"]
    assert outside < 10 if multiplier < 1 else outside > 90


@pytest.mark.traced
@pytest.mark.parametrize("multiplier", [0, -1, float("nan"), float("inf"), True])
def test_refusals(multiplier):
    with pytest.raises(InputError, match="lr_multiplier="):
        RegressionHead(4, Affine(), lr_multiplier=multiplier)
    with pytest.raises(InputError, match="lr_multiplier="):
        LocalisationCNN(Affine(), in_channels=1, lr_multiplier=multiplier)
