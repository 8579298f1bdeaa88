"""Co-localisation: what is shown, how the crop shrinks, and what counts as found; oracle: numpy."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from spatial_transformers import InputError
from spatial_transformers.experiments import reproduce, run
from spatial_transformers.experiments.colocalisation import (
    CANVASES,
    IMAGES,
    Colocalisation,
    Colocaliser,
    placed,
)
from spatial_transformers.experiments.colocalisation.views import (
    NOTHING,
    PLAIN,
    Encoder,
    looks,
    trained,
)
from spatial_transformers.experiments.data.digits import shipped
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.registry import defaults, named

NAME = "colocalisation"


def _data(**facts):
    recipe = defaults(NAME, digits="scikit-learn", **facts)
    return named(NAME).data(recipe, None)


@pytest.mark.parametrize("distortion", ["T", "TC"])
def test_a_digit_lies_in_its_box_always_at_the_same_place(distortion):
    data = _data(distortion=distortion, digit=3)
    stored, boxes = data.test.take(torch.arange(IMAGES))
    shown = data.prepare(stored, Draws(5, 7, torch.arange(IMAGES)), data.test, 0.0)
    again = data.prepare(stored[:9], Draws(1, 2, torch.arange(9) + 3 * IMAGES), data.test, 1.0)
    assert torch.equal(shown[:9], again)
    assert shown.shape == (IMAGES, 1, 84, 84)
    corners = ((boxes.view(-1, 2, 2) + 1) * 42).round().long()  # pixels, (x, y)
    assert_close(corners[:, 1] - corners[:, 0], torch.full((IMAGES, 2), 28))
    alike = 0
    for image, digit, (low, high) in zip(shown[:, 0], stored[:, 0], corners, strict=True):
        there = image[low[1] : high[1], low[0] : high[0]]
        assert (there >= digit / 255 - 1e-6).all()
        alike += torch.equal(there.sum() > 0, image.sum() > there.sum())
    assert (alike == IMAGES) == (distortion == "TC")  # clutter lies elsewhere, too
    assert CANVASES[distortion].patches == (16 if distortion == "TC" else 0)


def test_a_hundred_images_of_one_digit_are_seen_in_rounds():
    data = _data(digit=7)
    assert len(data.test) == len(data.validation) == IMAGES
    assert len(data.train) == 20 * IMAGES
    first, _ = data.train.take(torch.tensor([4, 4 + 3 * IMAGES]))
    assert torch.equal(first[0], first[1])
    family, theta = placed(Draws(0, 0, torch.arange(2 * IMAGES)))
    assert torch.equal(theta[:IMAGES], theta[IMAGES:])
    assert family.ndim == 2


def test_the_crop_lies_on_the_image_and_shrinks():
    network = Colocaliser(steps=10)
    shrinking = network.transformer.localisation
    with torch.no_grad():
        shrinking.localisation.head.weight.normal_(std=3.0)
    image, sides = torch.rand(64, 1, 84, 84), []
    for step in range(12):
        assert shrinking.seen == step
        _, theta = network(image)
        side = theta[:, :1]
        assert (theta[:, 1:].abs() + side).max() <= 1 + 1e-6
        sides.append(side.max().item())
        assert side.min() >= 0.75 * side.max() - 1e-6 or side.min() > 0.3
    assert sides[0] <= 0.95
    assert all(a > b for a, b in pairwise(sides[:6]))
    assert max(sides[6:]) <= 0.4
    network.eval()(image)
    assert shrinking.seen == 12  # scoring does not count


def test_encodings_count_every_layer_alike_and_do_not_train():
    encoder, views = trained(), torch.rand(5, 1, 48, 48)
    found = encoder.encode(views)
    due = sum(1 - F.cosine_similarity(a[:1], a[1:]) for a in encoder.activations(views))
    assert_close((found[:1] - found[1:]).square().sum(1), 2 * due / 3, rtol=1e-4, atol=1e-5)
    network = Colocaliser(steps=3).train()
    before = {name: buffer.clone() for name, buffer in network.encoder.named_buffers()}
    assert not any(p.requires_grad for p in network.encoder.parameters())
    output, theta = network(torch.rand(4, 1, 84, 84))
    assert output.shape == (4, 2, found.shape[1])
    for name, buffer in network.encoder.named_buffers():
        assert torch.equal(buffer, before[name])
    Colocalisation().loss(output, theta, torch.zeros(4, 4)).backward()
    assert network.transformer.localisation.localisation.head.bias.grad.abs().sum() > 0


def test_what_is_found_overlaps_by_half():
    """Oracle: numpy's masks of the boxes."""
    theta = torch.tensor([[0.4, 0.0, 0.0], [0.4, 0.3, 0.0], [0.3, 0.1, -0.1], [0.9, 0.0, 0.0]])
    boxes = torch.tensor([[-1, -1, 1, 1]]) / 3 + torch.zeros(4, 1)
    at = (np.arange(900) + 0.5) / 450 - 1

    def mask(x0, y0, x1, y1):
        return ((at > y0) & (at < y1))[:, None] & ((at > x0) & (at < x1))

    due = []
    for (s, x, y), box in zip(theta.tolist(), boxes.tolist(), strict=True):
        crop, digit = mask(x - s, y - s, x + s, y + s), mask(*box)
        due.append((crop & digit).sum() / (crop | digit).sum() > 0.5)
    scores = Colocalisation().scores(torch.zeros(4, 2, 7), theta, boxes)
    assert scores["found"].tolist() == due == [True, False, True, False]


def test_views_hold_a_digit_or_nothing():
    draws, nothing = Draws(0, 0, torch.arange(2000)), torch.arange(2000) % 2 == 0
    theta = looks(draws, nothing)
    corner = torch.tensor([[[-1.0, -1.0]]], dtype=torch.float64).expand(2000, -1, -1)
    family, places = PLAIN.place(draws)
    middle = family.inverse_points(places, corner)[:, 0] + 1 / 3
    off = (theta[:, 1:] - middle).abs().amax(1) / theta[:, 0]  # in half views
    assert off[nothing].min() >= 0.9
    ink = (20 / 84) * (1 / theta[~nothing, 0])  # MNIST's ink is 20 pixels wide
    assert (off[~nothing] + ink).max() < 1.15
    assert 0.3 < theta[~nothing, 0].min() < 0.35
    data = named("digit-views").data(defaults("digit-views", digits="scikit-learn"), None)
    share = (data.train.targets == NOTHING).double().mean()
    assert share == pytest.approx(0.3, abs=0.001)
    _, target = data.train.take(torch.arange(len(data.train)))
    numbers = torch.arange(8)
    shown = data.prepare(data.train.inputs[:8], Draws(0, 0, numbers), data.train, 1.0)
    assert shown.shape == (8, 1, 48, 48)
    assert Encoder()(shown)[0].shape == (8, int(target.max()) + 1)


def test_the_encoder_that_ships_knows_digits_of_another_kind():
    """Scikit-learn's digits of a class are far nearer to each other than to clutter."""
    digits = shipped(None, NAME, 20).train
    encode, clutter = trained().encode, torch.zeros(3, 1, 48, 48)
    clutter[0, :, 10:20, 5:16] = clutter[1, :, 30:36, 30:40] = clutter[2, :, :12, :12] = 1
    for digit in range(10):
        images = digits.inputs[digits.targets == digit][:60].float() / 255
        crops = encode(F.interpolate(F.pad(images, (4, 4, 4, 4)), size=48, mode="bilinear"))
        alike = torch.cdist(crops, crops).square().mean()
        assert alike < torch.cdist(crops, encode(clutter)).square().mean() / 3


def test_a_rehearsal_can_be_continued(tmp_path):
    (cell,) = reproduce.cells(NAME, ["TC/digit-4"], quick=True)
    recipe = replace(cell.recipe, epochs=1)
    options = {"accelerator": "cpu", "enable_progress_bar": False}
    found = run.train(recipe, tmp_path, **options)
    assert found["test_images"] == IMAGES
    assert 0 <= found["test_found"] <= 100
    (tmp_path / "metrics.json").unlink()  # as if it had been killed after its last epoch
    again = run.train(recipe, tmp_path, resume=True, **options)
    assert again["test_found"] == found["test_found"]
    run.film(tmp_path, tmp_path / "film.gif")


@pytest.mark.traced
def test_refusals(tmp_path):
    with pytest.raises(InputError, match="digit 10 was asked for; give 0 to 9"):
        defaults(NAME, digit=10).check()
    with pytest.raises(InputError, match="needs --data"):
        named(NAME).data(defaults(NAME), None)
