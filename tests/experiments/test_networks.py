"""Networks: the paper's layers, of matched size, starting on the middle of the image."""

from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spatial_transformers import FAMILIES
from spatial_transformers.experiments import distorted_mnist, rotated_digits
from spatial_transformers.experiments.networks import (
    MODELS,
    build,
    count_parameters,
    has_transformer,
    plain,
)
from spatial_transformers.experiments.networks.convolution import (
    LargeKernelConvolution,
    OneChannelConvolution,
)
from spatial_transformers.experiments.registry import defaults, named


def test_budgets_are_those_of_the_paper_s_networks():
    """64 filters of 9×9 and 64 of 7×7, or 256 hidden units twice, with biases, and a classifier."""
    for size in (28, 42, 60):
        convolutions = nn.Conv2d(1, 64, 9), nn.MaxPool2d(2), nn.Conv2d(64, 64, 7), nn.MaxPool2d(2)
        left = nn.Sequential(*convolutions, nn.Flatten())(torch.zeros(1, 1, size, size)).shape[1]
        cnn = nn.Sequential(*convolutions, nn.Linear(left, 10))
        fcn = nn.Sequential(nn.Linear(size**2, 256), nn.Linear(256, 256), nn.Linear(256, 10))
        assert count_parameters(cnn) == distorted_mnist.SIZES["cnn"][size].budget
        assert count_parameters(fcn) == distorted_mnist.SIZES["fcn"][size].budget


def every_network():
    """A recipe of each: plain networks once, since no transformation matters to them."""
    for experiment in (distorted_mnist, rotated_digits):
        name = experiment.EXPERIMENT.recipe.experiment
        canvases = {d.size: column for column, d in experiment.DISTORTIONS.items()}
        for (size, column), model in product(canvases.items(), MODELS):
            for transformation in FAMILIES if has_transformer(model) else ["affine"]:
                facts = {"model": model, "transformation": transformation}
                yield pytest.param(
                    defaults(name, distortion=column, **facts),
                    experiment.SIZES[plain(model)][size].budget,
                    id=f"{name}-{size}-{model}-{transformation}",
                )


@pytest.mark.parametrize(("recipe", "budget"), list(every_network()))
def test_matched_size(recipe, budget):
    experiment = named(recipe.experiment)
    network = experiment.network(recipe)
    assert 0.96 * budget < count_parameters(network) <= budget
    logits, theta = network(torch.rand(2, *experiment.shape(recipe)))
    assert logits.shape == (2, 10)
    assert (theta is not None) == has_transformer(recipe.model)


def test_starts_as_the_plain_network_on_the_middle_of_the_image():
    """At 40 pixels the middle has 28, each of which is seen at four points, then averaged."""
    network = build("st-cnn", "affine", size=40, view=28, classes=10, budget=210_000).eval()
    images = torch.rand(2, 1, 40, 40)
    twice = F.interpolate(images, scale_factor=2, mode="bilinear")[..., 12:-12, 12:-12]
    torch.testing.assert_close(network(images)[0], network.classifier(twice))
    _, *plain = network.classifier
    torch.testing.assert_close(
        network(images)[0], nn.Sequential(*plain)(F.interpolate(twice, 28, mode="area"))
    )


@pytest.mark.parametrize("transformation", ["affine", "projective", "thin-plate-spline"])
def test_starts_at_the_middle_in_every_family_of_the_table(transformation):
    network = build("st-fcn", transformation, size=28, view=28, classes=10, budget=100_000).eval()
    _, theta = network(torch.rand(1, 1, 28, 28))
    points = torch.rand(1, 50, 2) * 2 - 1
    read = network.transformer.transformation.transform_points(theta, points)
    torch.testing.assert_close(read, 0.7 * points)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (partial(OneChannelConvolution, 1), (3, 1, 12, 14)),
        (partial(LargeKernelConvolution, 4, bias=False), (3, 4, 7, 8)),
        (partial(LargeKernelConvolution, 4, bias=False), (3, 4, 7, 9)),  # the result is as large
    ],
)
def test_convolutions(layer, shape):
    """They are nn.Conv2d, in values and gradients."""
    mine = layer(6, 5).double()
    plain = nn.Conv2d(shape[1], 6, 5, bias=mine.bias is not None).double()
    plain.load_state_dict(mine.state_dict())
    image = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    cotangent = torch.rand_like(plain(image))
    found, expected = (
        torch.autograd.grad(layer(image), (image, *layer.parameters()), cotangent)
        for layer in (mine, plain)
    )
    torch.testing.assert_close(mine(image), plain(image))
    torch.testing.assert_close(found, expected)


def test_a_large_kernel_takes_its_own_way_in_training_only():
    layer = LargeKernelConvolution(2, 3, 5, bias=False)
    image = torch.rand(1, 2, 8, 8)
    assert "LargeKernel" in layer(image).grad_fn.name()
    assert "LargeKernel" not in layer(torch.rand(1, 2, 9, 8)).grad_fn.name()
    assert "LargeKernel" not in layer.eval()(image).grad_fn.name()
