"""Digits as bodies in volumes; oracles: scipy's rotations and its resampling, and numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from spatial_transformers.experiments import reproduce, run
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.mnist_3d import extruded, placed
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.registry import defaults, named

NAME = "mnist-3d"
TURN = 60.0  # degrees


def _matrices(draws):
    """Return matrices (N, 3, 3) and moves (N, 3), in voxels of the volume to those of the body."""
    theta = placed(draws, TURN)[1].unflatten(1, (3, 4))
    body = torch.tensor([14.0, 14, 6], dtype=theta.dtype)[:, None]
    return theta[..., :3] * body / 30, theta[..., 3] * body[:, 0]


def test_bodies_are_turned_about_every_axis():
    """Oracle: scipy's angles of the rotation about x, y and z in turn."""
    turns, _ = _matrices(Draws(0, 0, torch.arange(3000)))
    assert_close(turns @ turns.mT, torch.eye(3, dtype=turns.dtype).expand(3000, -1, -1))
    assert_close(torch.linalg.det(turns), torch.ones(3000, dtype=turns.dtype))
    angles = np.abs(Rotation.from_matrix(turns.numpy()).as_euler("XYZ", degrees=True))
    assert angles.max() < TURN + 1e-6
    assert np.allclose(angles.mean(0), TURN / 2, rtol=0.05)
    assert np.allclose(angles.std(0), TURN / 12**0.5, rtol=0.05)


def test_volumes_are_those_of_scipy():
    """Oracle: scipy's linear resampling of the extruded image, outside of which there is nothing.

    Nothing of a digit, whose ink MNIST keeps to the middle 20 × 20 pixels, is lost.
    """
    images = torch.zeros(5, 1, 28, 28)
    images[..., 4:24, 4:24] = torch.rand(5, 1, 20, 20)
    draws = Draws(0, 0, torch.arange(5))
    volumes = extruded(images, draws, TURN)
    assert volumes.shape == (5, 1, 60, 60, 60)
    turns, moves = _matrices(draws)
    for image, volume, turn, move in zip(images, volumes, turns, moves, strict=True):
        body = image.expand(12, -1, -1).double().numpy()
        matrix = turn.flip(0, 1).numpy()  # as z, y, x
        middle = np.array([5.5, 13.5, 13.5])
        offset = middle + move.flip(0).numpy() - matrix @ np.full(3, 29.5)
        due = ndimage.affine_transform(
            body, matrix, offset, (60, 60, 60), order=1, mode="grid-constant"
        )
        assert_close(volume[0].double(), torch.from_numpy(due), rtol=0, atol=1e-4)
        assert volume.sum() == pytest.approx(body.sum(), rel=0.02)


@pytest.mark.parametrize("model", ["cnn", "st-cnn"])
def test_networks_are_of_one_size(model):
    network = named(NAME).network(defaults(NAME, model=model)).eval()
    logits, theta = network(torch.rand(2, 1, 60, 60, 60))
    assert logits.shape == (2, 10)
    assert (None if theta is None else tuple(theta.shape)) == {"st-cnn": (2, 12)}.get(model)
    assert 260_000 < count_parameters(network) <= 270_026


def test_a_transformer_may_be_rigid():
    network = named(NAME).network(defaults(NAME, transformation="rigid")).eval()
    assert network(torch.rand(2, 1, 60, 60, 60))[1].shape == (2, 6)


def test_what_is_given_is_flattened_along_depth():
    network = named(NAME).network(defaults(NAME)).eval()
    volume = torch.rand(2, 1, 60, 60, 60)
    seen = []
    network.classifier[2].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    _, theta = network(volume)
    given = network.transformer.warp(volume, theta)
    assert given.shape == (2, 1, 16, 56, 56)
    assert_close(seen[0], given.unflatten(4, (28, 2)).unflatten(3, (28, 2)).mean((2, 4, 6)))


def test_a_rehearsal_trains_and_shows(tmp_path):
    (cell,) = reproduce.cells(NAME, ["volumes/st-cnn/affine"], quick=True)
    recipe = replace(cell.recipe, epochs=1, batch_size=399, jitter=1.0)
    found = run.train(recipe, tmp_path, accelerator="cpu", enable_progress_bar=False)
    assert found["test_images"] == 450
    assert found["alignment"]
    run.show(tmp_path, tmp_path / "picture.png", count=2)
    run.film(tmp_path, tmp_path / "film.gif")
