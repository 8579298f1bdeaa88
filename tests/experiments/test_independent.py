"""Test inputs made without this library are distributed as the experiments' own are."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from spatial_transformers import InputError
from spatial_transformers.experiments import independent
from spatial_transformers.experiments.data.digits import shipped
from spatial_transformers.experiments.data.distortion import Distortion, clutter
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


def alike(image, count):
    """So many digits that are all one image (28, 28) in [0, 1], labelled 0."""
    inputs = torch.from_numpy(255 * image).byte().expand(count, 1, -1, -1)
    return InMemory(inputs, torch.zeros(count, dtype=torch.long))


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
    """Which stays where it is, while another one goes around it by up to 90° both ways."""
    image = np.zeros((28, 28), np.float32)
    image[13:16, 13:16] = 1
    samples = alike(image, 50)
    made = independent.made(partial(independent.turned, about=14), samples).inputs.numpy()
    for turned in made[:, 0]:
        assert ndimage.center_of_mass(turned) == pytest.approx((14, 14), abs=1e-4)
    image = np.roll(image, 6, 1)
    samples = alike(image, 500)
    made = independent.made(partial(independent.turned, about=14), samples).inputs.numpy()
    y, x = np.transpose([ndimage.center_of_mass(turned) for turned in made[:, 0]]) - 14
    angles = np.rad2deg(np.arctan2(y, x))
    assert angles.min() == pytest.approx(-90, abs=1)
    assert angles.max() == pytest.approx(90, abs=1)
    assert np.hypot(x, y) == pytest.approx(6, abs=0.1)


def test_poses_turn_and_scale_over_their_whole_range():
    """By the axes of a bar, which has no clutter and stays on the canvas."""
    image = np.zeros((28, 28), np.float32)
    image[13:15, 7:21] = 1
    samples = alike(image, 2000)
    y, x = np.indices((42, 42))
    angles, lengths = [], []
    for canvas in independent.made(independent.posed, samples).inputs[:, 0].numpy():
        cy, cx = ndimage.center_of_mass(canvas)
        cov = np.cov(np.stack((x - cx, y - cy)).reshape(2, -1), aweights=canvas.ravel())
        values, vectors = np.linalg.eigh(cov)
        angles.append(np.rad2deg(np.arctan(vectors[1, 1] / vectors[0, 1])))
        lengths.append(np.sqrt(12 * values[1]))
    assert (min(angles), max(angles)) == pytest.approx((-45, 45), abs=0.7)
    assert (min(lengths), max(lengths)) == pytest.approx((0.7 * 14, 1.2 * 14), rel=0.03)


def test_parts():
    samples = digits(2 * COUNT, torch.arange(2 * COUNT) % 10)
    made = independent.made(independent.parts, samples)
    pairs = (samples.inputs / 255)[:COUNT].expand(-1, 2, -1, -1)
    canvas = PARTS_APART(pairs, keys(COUNT), samples.inputs).amax(1, keepdim=True)
    own = clutter(canvas, keys(COUNT), samples.inputs, PATCHES, between=False)
    assert_alike(own, made.inputs)
    assert made.targets.bincount(minlength=25).min() > 60  # of 3,000 pairs: 120 each


def test_targets_of_parts_and_what_clutters_them():
    """Of digits that are as bright as their labels and fill their images."""
    labels = torch.arange(400) % 10
    bright = (25 * (labels + 1)).byte()[:, None, None, None].expand(-1, 1, 28, 28).contiguous()
    made = independent.made(independent.parts, InMemory(bright, labels))
    for canvas, target in zip(made.inputs[:, 0], made.targets.tolist(), strict=True):
        few, many = target // 5, target % 5 + 5
        seen = (canvas * 255 / 25 - 1).round().int()
        assert seen.max() == many  # the clutter is of the digits below five
        assert (seen == many).sum() >= 14 * 14
        assert (seen == few).any()


def test_bodies():
    """They lie and are turned alike: about which axis first matters to how wide they are."""
    samples = digits(1500)
    made = independent.made(partial(independent.bodies, degrees=75.0), samples)
    assert made.inputs.shape == (300, 1, 60, 60, 60)
    own = extruded(samples.inputs[:300] / 255, keys(300), 75.0)
    (middles, widths), (other_middles, other_widths) = map(_spread, (own, made.inputs))
    assert_close(middles.mean(0), other_middles.mean(0), rtol=0, atol=2)
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
    bright = (25 * (test.targets + 1)).byte()[:, None, None, None].expand(-1, 1, 28, 28)
    sums = independent.made(independent.sums, InMemory(bright.contiguous(), test.targets))
    seen = (sums.inputs.amax((2, 3)) * 255 / 25 - 1).round().long()
    assert_close(sums.targets, seen.sum(1))
    sums = independent.made(independent.sums, test)
    again = independent.made(independent.sums, test)
    assert sums.inputs.shape == (450, 2, 42, 42)
    assert_close(again.inputs, sums.inputs, rtol=0, atol=0)


def test_few_digits_and_digits_of_another_size():
    few = digits(3)
    made = independent.made(partial(independent.bodies, degrees=75.0), few)
    assert made.inputs.shape == (1, 1, 60, 60, 60)
    with pytest.raises(InputError, match="images of 32×32 pixels were given"):
        independent.made(independent.cluttered, alike(np.zeros((32, 32)), 3))
