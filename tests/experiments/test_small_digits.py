"""Small digits, anywhere on their canvases; oracles: SciPy's affine map, and masks of the image."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from spatial_transformers.experiments import run
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.registry import defaults, named
from spatial_transformers.experiments.small_digits import PICTURES, PLACED, anywhere

NAME = "small-digits"
CORNERS = torch.tensor([[[-1.0, -1], [1, -1], [1, 1], [-1, 1]]], dtype=torch.float64)


def _draws(count, seed=0, epoch=0):
    return Draws(seed, epoch, torch.arange(count))


def _corners(count):
    """Return where each image's corners lie, in pixels from the canvas's upper left: (N, 4, 2)."""
    family, theta = anywhere(_draws(count))
    return 20 + 20 * family.inverse_points(theta, CORNERS.expand(count, -1, -1))


def test_images_lie_whole_on_the_canvas():
    corners = _corners(5000)
    assert corners.min() > -1e-9
    assert corners.max() < 40 + 1e-9
    for axis in range(2):  # they reach every edge
        assert corners[..., axis].min() < 0.2
        assert corners[..., axis].max() > 39.8


def test_images_have_every_size_and_angle():
    corners = _corners(5000)
    top = corners[:, 1] - corners[:, 0]
    side = top.norm(dim=1)
    assert side.min() == pytest.approx(12, rel=1e-3)
    assert side.max() == pytest.approx(26, rel=1e-3)
    assert side.median() == pytest.approx((12 * 26) ** 0.5, rel=0.02)
    left = corners[:, 3] - corners[:, 0]
    assert (top * left).sum(1).abs().max() < 1e-6  # not sheared
    torch.testing.assert_close(left.norm(dim=1), side)
    angle = torch.atan2(top[:, 1], top[:, 0]).rad2deg()
    assert angle.min() == pytest.approx(-60, abs=0.2)
    assert angle.max() == pytest.approx(60, abs=0.2)


def test_digits_are_where_they_are_said_to_be():
    """Oracle: SciPy reads the same image at the pixels that the corners imply."""
    image = np.zeros((8, 8), np.float32)
    image[1:7, 1:7] = np.random.default_rng(0).random((6, 6))
    images = torch.from_numpy(image).expand(12, 1, -1, -1)
    canvases = PLACED(images, _draws(12), images)[:, 0].numpy()
    pixels = np.indices((40, 40)).reshape(2, -1).T[:, ::-1] + 0.5  # (x, y) of their centres
    for canvas, corners in zip(canvases, _corners(12).numpy(), strict=True):
        axes = np.stack((corners[1] - corners[0], corners[3] - corners[0]), 1) / 8
        x, y = np.linalg.solve(axes, (pixels - corners[0]).T) - 0.5
        due = ndimage.map_coordinates(image, (y, x), order=1, mode="grid-constant")
        np.testing.assert_allclose(canvas.ravel(), due, atol=1e-5)


def test_pictures_are_drawn_once():
    """In every epoch and batch alike, some of each digit; others with another seed."""
    data = named(NAME).data(defaults(NAME), None)
    count = len(data.train) // PICTURES
    number = torch.tensor([0, 7, count, count + 7])
    inputs, labels = data.train.take(number)
    assert torch.equal(inputs[:2], inputs[2:])
    assert torch.equal(labels[:2], labels[2:])

    def prepared(epoch, seed=0, part=slice(None)):
        return data.prepare(inputs[part], Draws(seed, epoch, number[part]), data.train, 1.0)

    first = prepared(0)
    assert first.shape == (4, 1, 40, 40)
    assert torch.equal(first, prepared(5))
    assert torch.equal(first[3:], prepared(3, part=slice(3, None)))
    for other in (first.roll(2, 0), prepared(0, seed=1)):
        assert (first - other).abs().amax((1, 2, 3)).min() > 0.1


def test_networks_are_of_one_size():
    for model in ("cnn", "st-cnn"):
        network = named(NAME).network(defaults(NAME, model=model)).eval()
        assert 24_000 < count_parameters(network) <= 25_000
        logits, theta = network(torch.rand(2, 1, 40, 40))
        assert logits.shape == (2, 10)
        assert (theta is not None) == (model == "st-cnn")


def test_the_cnn_reads_a_digit_alike_in_many_places():
    """It is not crippled by where digits lie: a move by its pools together changes nothing."""
    images = torch.zeros(2, 1, 40, 40)
    images[..., 16:20, 16:20] = torch.rand(4, 4)
    network = named(NAME).network(defaults(NAME, model="cnn")).eval()
    torch.testing.assert_close(network(images.roll((8, -8), (2, 3)))[0], network(images)[0])


def test_a_short_run_is_shown(tmp_path):
    recipe = defaults(NAME, epochs=1, batch_size=1000)
    found = run.train(recipe, tmp_path, accelerator="cpu", enable_progress_bar=False)
    assert found["test_images"] == 450 * 20
    assert found["alignment"]["rotation (deg)"]["before"] > 20
    run.film(tmp_path, tmp_path / "film.gif")
    assert (tmp_path / "film.gif").stat().st_size < 600_000
