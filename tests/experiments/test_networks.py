"""Networks: the paper's layers, of matched size, starting behind an identity."""

import pytest
import torch
from torch import nn

from spatial_transformers import FAMILIES
from spatial_transformers.experiments.networks import (
    MODELS,
    build,
    count_parameters,
)
from spatial_transformers.experiments.networks.cnn import CNN, OneChannelConvolution
from spatial_transformers.experiments.registry import EXPERIMENTS


def test_parameters_of_the_paper_s_cnn():
    """64 filters at 28, 42 and 60 pixels, with biases: the counts in the paper's ranges."""
    for size, expected in ((28, 208_586), (42, 222_026), (60, 270_026)):
        network = CNN(size, 64, 10)
        weights = sum(p.numel() for n, p in network.named_parameters() if p.ndim > 1)
        assert weights + 64 + 64 + 10 == expected


def test_budget_of_distorted_mnist():
    """It is the CNN's of 64 filters, to the last one."""
    experiment = EXPERIMENTS["distorted-mnist"]
    for size, budget in experiment.budget.items():
        network = build("cnn", "affine", size=size, view=28, classes=10, budget=budget)
        assert network.classifier[0].out_channels == 64
        assert count_parameters(network) == budget


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("transformation", FAMILIES)
def test_matched_size(name, transformation):
    experiment = EXPERIMENTS[name]
    sizes = {distortion.size for distortion in experiment.distortions.values()}
    assert sizes == set(experiment.budget)
    for size, budget in experiment.budget.items():
        for model in MODELS:
            facts = {"view": experiment.view, "classes": 10, "budget": budget}
            network = build(model, transformation, size=size, **facts)
            assert 0.96 * budget < count_parameters(network) <= budget
            logits, theta = network(torch.rand(2, 1, size, size))
            assert logits.shape == (2, 10)
            assert (theta is None) == (not model.startswith("st-"))


def test_starts_as_the_plain_network():
    network = build("st-cnn", "affine", size=28, view=28, classes=10, budget=100_000).eval()
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(network(images)[0], network.classifier(images))


def test_one_channel_convolution():
    """It is nn.Conv2d, in values and gradients."""
    mine = OneChannelConvolution(1, 6, 5).double()
    plain = nn.Conv2d(1, 6, 5).double()
    plain.load_state_dict(mine.state_dict())
    image = torch.rand(3, 1, 12, 14, dtype=torch.float64, requires_grad=True)
    cotangent = torch.rand(3, 6, 8, 10, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad(layer(image), (image, layer.weight, layer.bias), cotangent)
        for layer in (mine, plain)
    )
    torch.testing.assert_close(mine(image), plain(image))
    torch.testing.assert_close(found, expected)
