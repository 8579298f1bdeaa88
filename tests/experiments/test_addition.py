"""MNIST addition: pairs, two transformers, and whom each follows; oracles: numpy, `warp`."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import Affine, InputError, Projective, warp
from spatial_transformers.experiments import reproduce, run
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.data.pairs import Apart, Pairs
from spatial_transformers.experiments.data.samples import InMemory
from spatial_transformers.experiments.distorted_mnist import DISTORTIONS
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.pose import correlations
from spatial_transformers.experiments.registry import defaults, named

from .test_pose import moved

NAME = "mnist-addition"


def _digits(count=7):
    images = torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8)
    return InMemory(images, torch.arange(count) % 10)


def test_pairs_are_sums_of_every_digit_with_others():
    digits = _digits()
    pairs = Pairs.of(digits, digits, torch.add, times=3, seed=0)
    numbers = torch.arange(len(pairs))
    images, sums = pairs.take(pairs.load(numbers))
    assert images.shape == (21, 2, 28, 28)
    for image, total, second, n in zip(images, sums, pairs.partners, numbers, strict=True):
        assert torch.equal(image, digits.inputs[torch.stack((n % 7, second)), 0])
        assert total == digits.targets[n % 7] + digits.targets[second]
    assert torch.equal(sums, pairs.targets)
    assert [*torch.bincount(pairs.partners)] == [3] * 7
    again = Pairs.of(digits, digits, torch.add, times=3, seed=0)
    assert torch.equal(pairs.partners, again.partners)
    assert len({tuple(order.tolist()) for order in pairs.partners.split(7)}) == 3
    more = _digits(2)
    assert len(pairs + Pairs.of(more, more, torch.add, times=1, seed=1)) == 27


def test_both_digits_are_placed_on_their_own():
    images = torch.rand(5, 2, 28, 28)
    distortion, draws = Apart(DISTORTIONS["RTS"]), Draws(3, 1, torch.tensor([8, 2, 5, 4, 6]))
    canvases = distortion(images, draws, images)
    family, theta = distortion.place(draws)
    assert theta.shape == (5, 2, 6)
    assert len({*theta.flatten(0, 1)[:, 0].tolist()}) == 10  # no two turns are alike
    for channel in range(2):
        own = images[:, channel : channel + 1]
        due = warp(own, theta[:, channel].float(), family, size=42)
        assert_close(canvases[:, channel : channel + 1], due)
    part = distortion(images[2:], draws.of(torch.tensor([2, 3, 4])), images)
    assert_close(part, canvases[2:])


@pytest.mark.parametrize("model", ["fcn", "cnn", "st-fcn", "2x-st-fcn"])
def test_networks(model):
    recipe = defaults(NAME, model=model, transformation="projective")
    network = named(NAME).network(recipe).eval()
    logits, theta = network(torch.rand(3, 2, 42, 42))
    assert logits.shape == (3, 19)
    due = {"st-fcn": (3, 8), "2x-st-fcn": (3, 2, 8)}.get(model)
    assert (None if theta is None else tuple(theta.shape)) == due
    most = {"cnn": 241_619}.get(model, 1e6)
    assert 0.99 * most < count_parameters(network) <= most


def test_two_transformers_have_networks_of_their_own():
    network = named(NAME).network(defaults(NAME)).eval()
    first, second = network.transformer.localisation
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    with torch.no_grad():
        second.head.bias += torch.tensor([0, 0, 0.5, 0, 0, 0])
    image = torch.rand(2, 2, 42, 42)
    values, theta = network.transformer(image, return_theta=True)
    assert_close(theta[:, 1, 2] - theta[:, 0, 2], torch.full((2,), 0.5))
    each = [warp(image, theta[:, k], Affine(), size=56) for k in range(2)]
    assert_close(values, torch.stack(each, 1))


def test_whom_a_transformer_follows():
    """Oracle: numpy's coefficient, of turns and places."""
    turns, shifts = 60 * torch.rand(2, 500) - 30, torch.rand(2, 500)
    ones, zeros = torch.ones(500), torch.zeros(500, 2)
    parts = [moved(turn, ones, shift) for turn, shift in zip(turns, shifts, strict=True)]
    given = Affine(), torch.stack([Affine().inverse(part) for part in parts], 1)
    noisy = moved(turns[1] + 20 * torch.randn(500), ones, shifts[1])
    poses = [torch.cat((theta, zeros), 1) for theta in (parts[0], noisy)]
    found = correlations(given, (Projective(), torch.stack(poses, 1)))
    assert found["transformer 1"]["part 1"] == 1
    read = {
        name: Affine().describe(noisy)[name] for name in ("rotation (deg)", "translation x (%)")
    }
    due = [np.corrcoef(turns[1], read["rotation (deg)"])[0, 1], 1.0]
    assert found["transformer 2"]["part 2"] == pytest.approx(np.mean(due), abs=0.01)
    assert abs(found["transformer 1"]["part 2"]) < 0.15
    assert [*correlations(given, (Affine(), parts[0]))] == ["transformer 1"]


def test_a_rehearsal_trains_and_shows_both(tmp_path):
    (cell,) = reproduce.cells(NAME, ["RTS/2x-st-fcn/affine"], quick=True)
    assert cell.paper is None
    recipe = replace(cell.recipe, epochs=1, batch_size=399)
    options = {"accelerator": "cpu", "enable_progress_bar": False}
    found = run.train(recipe, tmp_path, **options)
    assert found["test_images"] == 450
    (tmp_path / "metrics.json").unlink()  # as if it had been killed after its last epoch
    again = run.train(recipe, tmp_path, resume=True, **options)
    assert again["correlations"] == found["correlations"]
    assert [*found["correlations"]] == ["transformer 1", "transformer 2"]
    assert found["alignment"] == {}
    run.film(tmp_path, tmp_path / "film.gif")


@pytest.mark.traced
def test_refusals():
    with pytest.raises(InputError, match="mnist-addition needs --data"):
        named(NAME).data(defaults(NAME), None)
    with pytest.raises(InputError, match="distorted-mnist has no quick form"):
        reproduce.cells("distorted-mnist", quick=True)
