"""Networks: the paper's layers, of matched size, starting behind an identity."""

import pytest
import torch

from spatial_transformers import FAMILIES
from spatial_transformers.experiments.networks import (
    MODELS,
    build,
    count_parameters,
)
from spatial_transformers.experiments.networks.cnn import CNN
from spatial_transformers.experiments.registry import EXPERIMENTS


def test_parameters_of_the_paper_s_cnn():
    """64 filters at 28, 42 and 60 pixels, with biases: the counts in the paper's ranges."""
    for size, expected in ((28, 208_586), (42, 222_026), (60, 270_026)):
        network = CNN(size, 64, 10)
        weights = sum(p.numel() for n, p in network.named_parameters() if p.ndim > 1)
        assert weights + 64 + 64 + 10 == expected


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("transformation", FAMILIES)
def test_matched_size(name, transformation):
    experiment = EXPERIMENTS[name]
    facts = {"size": experiment.size, "classes": 10, "budget": experiment.budget}
    for model in MODELS:
        network = build(model, transformation, **facts)
        assert 0.96 * experiment.budget < count_parameters(network) <= experiment.budget
        logits, theta = network(torch.rand(2, 1, experiment.size, experiment.size))
        assert logits.shape == (2, 10)
        assert (theta is None) == (not model.startswith("st-"))


def test_starts_as_the_plain_network():
    network = build("st-cnn", "affine", size=28, classes=10, budget=100_000).eval()
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(network(images)[0], network.classifier(images))
