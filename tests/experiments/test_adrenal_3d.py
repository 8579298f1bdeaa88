"""Turned shapes in volumes; oracles: scipy's rotations, numpy's files, and what a rod is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from spatial_transformers import InputError
from spatial_transformers.experiments import reproduce, run
from spatial_transformers.experiments.adrenal_3d import turned
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.registry import defaults, named

NAME = "adrenal-3d"


def _file(folder, **changed):
    """Write a small file in MedMNIST's layout."""
    generator = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", 40), ("val", 4), ("test", 6)):
        shape = (count, 28, 28, 28)
        parts[f"{part}_images"] = 255 * generator.integers(0, 2, shape, dtype=np.uint8)
        parts[f"{part}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    parts |= changed
    np.savez(folder / "adrenalmnist3d.npz", **{k: v for k, v in parts.items() if v is not None})
    return parts


def test_all_turns_are_alike_likely():
    """Oracle: scipy's uniform rotations, whose angles are spread as (1 - cos a) / π."""
    matrices = turned(Draws(0, 0, torch.arange(20_000)))[1].unflatten(1, (3, 4))[..., :3]
    assert_close(matrices @ matrices.mT, torch.eye(3, dtype=matrices.dtype).expand(20_000, -1, -1))
    assert_close(torch.linalg.det(matrices), torch.ones(20_000, dtype=matrices.dtype))
    found = Rotation.from_matrix(matrices.numpy()).magnitude()
    due = Rotation.random(20_000, random_state=0).magnitude()
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert np.quantile(found, share) == pytest.approx(np.quantile(due, share), abs=0.03)
    assert matrices.mean(0).abs().max() < 0.02  # no axis is preferred


def test_volumes_are_read_and_turned(tmp_path):
    """Oracle: scipy's linear resampling of the stored volume."""
    parts = _file(tmp_path)
    data = named(NAME).data(defaults(NAME), tmp_path)
    assert [len(data.train), len(data.validation), len(data.test)] == [40, 4, 6]
    stored, labels = data.test.take(torch.arange(6))
    assert np.array_equal(stored[:, 0].numpy(), parts["test_images"])
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    draws = Draws(1, 0, torch.arange(6))
    shown = data.prepare(stored, draws, data.test, 1.0)
    for volume, theta, out in zip(stored, turned(draws)[1], shown, strict=True):
        matrix = theta.view(3, 4)[:, :3].flip(0, 1).numpy()  # as z, y, x
        middle = np.full(3, 13.5)
        due = ndimage.affine_transform(
            volume[0].numpy() / 255, matrix, middle - matrix @ middle, order=1, mode="grid-constant"
        )
        assert_close(out[0].double(), torch.from_numpy(due), rtol=0, atol=1e-4)


def test_rods_are_straight_or_bent():
    """A straight rod is mirrored in its axis; a bent one has mass off it."""
    data = named(NAME).data(defaults(NAME, volumes="generated"), None)
    rods, labels = data.train.take(torch.arange(len(data.train)))
    assert rods.shape[1:] == (1, 28, 28, 28)
    assert labels.float().mean() == 0.5
    mirrored = (rods == rods.flip(3)).flatten(1).all(1)
    assert torch.equal(mirrored, labels == 0)


@pytest.mark.parametrize("model", ["cnn", "st-cnn"])
def test_networks_are_of_one_size(model):
    network = named(NAME).network(defaults(NAME, model=model)).eval()
    logits, theta = network(torch.rand(2, 1, 28, 28, 28))
    assert logits.shape == (2, 2)
    assert (None if theta is None else tuple(theta.shape)) == {"st-cnn": (2, 6)}.get(model)
    assert 115_000 < count_parameters(network) <= 120_000


def test_a_rehearsal_trains_and_shows(tmp_path):
    (cell,) = reproduce.cells(NAME, ["turned/st-cnn/rigid"], quick=True)
    recipe = replace(cell.recipe, epochs=1, batch_size=50)
    found = run.train(recipe, tmp_path, accelerator="cpu", enable_progress_bar=False)
    assert found["test_images"] == 10 * 60
    run.show(tmp_path, tmp_path / "picture.png", count=2)


def test_a_missing_or_odd_file_is_refused(tmp_path):
    def read():
        named(NAME).data(defaults(NAME), tmp_path)

    with pytest.raises(InputError, match="needs --data"):
        named(NAME).data(defaults(NAME), None)
    with pytest.raises(InputError, match="no folder"):
        named(NAME).data(defaults(NAME, volumes="generated"), tmp_path)
    with pytest.raises(InputError, match="the file is missing; give --data"):
        read()
    (tmp_path / "adrenalmnist3d.npz").write_bytes(b"none")
    with pytest.raises(InputError, match="not a file of the arrays asked for"):
        read()
    _file(tmp_path, val_labels=None)
    with pytest.raises(InputError, match="not a file of the arrays asked for"):
        read()
    _file(tmp_path, test_images=np.zeros((6, 28, 28, 27), np.uint8))
    with pytest.raises(InputError, match=r"test has volumes \(6, 28, 28, 27\)"):
        read()
    _file(tmp_path, test_labels=np.full((6, 1), 2))
    with pytest.raises(InputError, match="a label of 2 was found, not 0 to 1"):
        read()
    _file(tmp_path, train_labels=np.array([[object()]] * 40))
    with pytest.raises(InputError, match="allow_pickle"):
        read()
