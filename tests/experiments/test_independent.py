"""Test inputs made without this library are distributed as the experiments' own are."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from spatial_transformers.experiments import independent
from spatial_transformers.experiments.data.digits import shipped
from spatial_transformers.experiments.data.distortion import Distortion, clutter, rotated
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.data.pairs import Apart
from spatial_transformers.experiments.data.samples import InMemory
from spatial_transformers.experiments.distorted_mnist import DISTORTIONS
from spatial_transformers.experiments.inverse_compositional import cornered
from spatial_transformers.experiments.mnist_3d import extruded
from spatial_transformers.experiments.two_parts import PARTS_APART, PATCHES

COUNT = 3000
COLUMNS = {
    "R": (independent.turned, DISTORTIONS["R"]),
    "RTS": (independent.posed, DISTORTIONS["RTS"]),
    "P": (independent.projected, DISTORTIONS["P"]),
    "E": (independent.elastic, DISTORTIONS["E"]),
    "TC": (independent.cluttered, DISTORTIONS["TC"]),
    "H": (independent.cornered, Distortion(28, cornered)),
    "sums": (independent.sums, Apart(DISTORTIONS["RTS"])),
}


def blob():
    """A bright thing without symmetry, (28, 28) in [0, 1]."""
    image = np.zeros((28, 28), np.float32)
    image[5:22, 9:12] = image[7:10, 12:21] = 1
    image[18:22, 16:19] = 0.5
    return torch.from_numpy(ndimage.gaussian_filter(image, 0.8))


def digits(count, labels=None):
    labels = torch.zeros(count, dtype=torch.long) if labels is None else labels
    return InMemory((255 * blob()).to(torch.uint8).expand(count, 1, -1, -1), labels)


def keys(count):
    return Draws(0, 0, torch.arange(count))


def assert_alike(own, others):
    """At each pixel, mean and mean square differ by what the samples' spread lets expect.

    The mean over pixels of the square of that ratio is about 1 if both are of one distribution.
    """
    assert own.shape[1:] == others.shape[1:]
    assert others.dtype == torch.float32
    for power in (1, 2):
        first, second = own**power, others**power
        expected = first.var(0) / len(first) + second.var(0) / len(second)
        ratio = (first.mean(0) - second.mean(0)).square() / expected
        assert ratio[expected > 1e-4 / COUNT].mean() < 1.25


@pytest.mark.parametrize("name", COLUMNS)
def test_distortions(name):
    maker, distortion = COLUMNS[name]
    samples = digits(COUNT)
    images = samples.inputs / 255
    seen = images.expand(-1, 2, -1, -1) if name == "sums" else images
    made = independent.made(maker, samples)
    assert_alike(distortion(seen, keys(COUNT), samples.inputs), made.inputs)


def test_turned_about_another_pixel():
    """Which stays where it is."""
    image = np.zeros((28, 28), np.float32)
    image[13:16, 13:16] = 1
    samples = InMemory(torch.from_numpy(255 * image).expand(50, 1, -1, -1).byte(), torch.zeros(50))
    made = independent.made(partial(independent.turned, about=14), samples).inputs.numpy()
    for turned in made[:, 0]:
        assert ndimage.center_of_mass(turned) == pytest.approx((14, 14), abs=1e-4)
    at_the_middle = independent.made(independent.turned, samples).inputs
    own = Distortion(28, rotated)(samples.inputs / 255, keys(50), samples.inputs)
    assert at_the_middle.mean() == pytest.approx(own.mean().item(), rel=0.01)
    assert not np.allclose(at_the_middle.numpy(), made, atol=0.1)


def test_parts():
    samples = digits(2 * COUNT, torch.arange(2 * COUNT) % 10)
    made = independent.made(independent.parts, samples)
    pairs = (samples.inputs / 255)[:COUNT].expand(-1, 2, -1, -1)
    canvas = PARTS_APART(pairs, keys(COUNT), samples.inputs).amax(1, keepdim=True)
    own = clutter(canvas, keys(COUNT), samples.inputs, PATCHES, between=False)
    assert_alike(own, made.inputs)
    counts = made.targets.bincount(minlength=25)
    assert counts.shape == (25,)
    assert counts.min() > 60  # of 3,000 pairs: 120 each


def test_bodies():
    """They lie and are turned alike: about which axis first matters to how wide they are."""
    samples = digits(1500)
    made = independent.made(partial(independent.bodies, degrees=75.0), samples)
    assert made.inputs.shape == (300, 1, 60, 60, 60)
    own = extruded(samples.inputs[:300] / 255, keys(300), 75.0)
    (middles, widths), (other_middles, other_widths) = map(_spread, (own, made.inputs))
    assert_close(middles.std(0), other_middles.std(0), rtol=0.15, atol=0)
    assert_close(widths.mean(0), other_widths.mean(0), rtol=0, atol=0.06)
    assert_close(widths.std(0), other_widths.std(0), rtol=0, atol=0.06)


def _spread(volumes):
    """Return where volumes have their mass along each axis, and how far from there: (N, 3) each."""
    at = torch.arange(60.0)
    along = [volumes.sum([axis for axis in (1, 2, 3, 4) if axis != kept]) for kept in (2, 3, 4)]
    mass = torch.stack(along, 1) / volumes.sum((1, 2, 3, 4))[:, None, None]
    middles = (mass * at).sum(2)
    return middles, ((mass * at.square()).sum(2) - middles.square()).sqrt()


def test_targets_are_those_of_the_digits():
    test = shipped(None, "a test", 28).test
    assert_close(independent.made(independent.turned, test).targets, test.targets)
    sums = independent.made(independent.sums, test)
    again = independent.made(independent.sums, test)
    assert sums.inputs.shape == (450, 2, 42, 42)
    assert 0 <= sums.targets.min() < 4
    assert 14 < sums.targets.max() <= 18
    assert_close(again.inputs, sums.inputs, rtol=0, atol=0)
