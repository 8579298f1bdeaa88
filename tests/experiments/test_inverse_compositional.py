"""Homographies and recurrent networks; oracles: OpenCV, and the same network step by step."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import Recurrent
from spatial_transformers.experiments import reproduce, run
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.inverse_compositional import MODELS, cornered
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.registry import defaults, named

NAME = "inverse-compositional"


def test_corners_are_moved_by_a_fifth_of_the_side():
    """Oracle: OpenCV's homography of the same corners, in pixels of 28×28."""
    draws = Draws(0, 0, torch.arange(400))
    family, theta = cornered(draws)
    square = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    moved = family.inverse_points(theta, square.expand(400, 4, 2))
    moves = (moved - square) / 2  # in sides
    assert 0.199 < moves.abs().max() <= 0.2 + 1e-9
    assert moves.mean().abs() < 0.01
    assert moves.std() == pytest.approx(0.4 / 12**0.5, rel=0.03)
    points = torch.rand(1, 9, 2, dtype=torch.float64) * 1.4 - 0.7
    for n in range(3):
        sides = (np.float32(moved[n].numpy() * 14 + 14), np.float32(square.numpy() * 14 + 14))
        matrix = cv2.getPerspectiveTransform(*sides)
        due = cv2.perspectiveTransform(points.numpy() * 14 + 14, matrix) / 14 - 1
        found = family.transform_points(theta[n : n + 1], points)
        assert_close(found, torch.from_numpy(due), rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_networks_are_of_one_size(model):
    network = named(NAME).network(defaults(NAME, model=model)).eval()
    logits, theta = network(torch.rand(3, 1, 28, 28))
    assert logits.shape == (3, 10)
    assert (theta is not None) == (model != "cnn")
    assert 200_000 < count_parameters(network) <= 208_586


def test_steps_share_one_network_and_begin_with_the_image():
    networks = [named(NAME).network(defaults(NAME, model=m)).eval() for m in MODELS[1:]]
    one, two, four = (network.transformer for network in networks)
    assert isinstance(two, Recurrent)
    assert (two.steps, four.steps) == (2, 4)
    assert count_parameters(one) == count_parameters(two) == count_parameters(four)
    _, theta = networks[2](torch.rand(2, 1, 28, 28))
    assert_close(theta, two.transformation.identity().expand(2, 8))
    state = networks[2].state_dict()
    networks[1].load_state_dict(state)  # the number of steps is no part of it
    image = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        two.transformers[0].localisation.head.weight.normal_(std=0.01)
    _, thetas = two(image, return_theta=True)
    assert_close(networks[1](image)[1], thetas[-1])
    assert (thetas[-1] != thetas[0]).any()


def test_a_rehearsal_trains_and_shows(tmp_path):
    (cell,) = reproduce.cells(NAME, ["H/4-step-st-cnn/projective"], quick=True)
    assert (cell.baseline, cell.paper) == ("cnn", None)
    recipe = replace(cell.recipe, epochs=1, batch_size=399)
    found = run.train(recipe, tmp_path, accelerator="cpu", enable_progress_bar=False)
    assert found["test_images"] == 450
    assert "rotation (deg)" in found["alignment"]
    run.show(tmp_path, tmp_path / "picture.png", count=2)
    run.film(tmp_path, tmp_path / "film.gif")
    assert run.evaluate(tmp_path, accelerator="cpu")["test_error"] == found["test_error"]
