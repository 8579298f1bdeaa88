"""Traffic signs; oracles: Pillow's reading and resizing, numpy's files, and what is drawn."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from spatial_transformers import InputError, SpatialTransformer, export
from spatial_transformers.experiments import reproduce, run
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.data.official import held_out
from spatial_transformers.experiments.gtsrb import jittered, lit
from spatial_transformers.experiments.gtsrb.signs import HELD_OUT, generated, read
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.registry import defaults, named

NAME = "gtsrb"
HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"


def _listed(name, width, height, label):
    return f"{name};{width};{height};2;1;{width - 2};{height - 1};{label}\n"


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A small folder in the official layout: per class two tracks of two images, 43 to test."""
    root = tmp_path_factory.mktemp("gtsrb")
    draw = np.random.default_rng(0)

    def write(path, width, height):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)

    test = HEAD
    for label in range(43):
        folder, lines = root / "Final_Training" / "Images" / f"{label:05d}", HEAD
        for number in range(4):
            name = f"{number // 2:05d}_{number % 2:05d}.ppm"
            width, height = 20 + label, 60 - label
            write(folder / name, width, height)
            lines += _listed(name, width, height, label)
        (folder / f"GT-{label:05d}.csv").write_text(lines)
        write(root / "Final_Test" / "Images" / f"{label:05d}.ppm", 40, 30)
        test += _listed(f"{label:05d}.ppm", 40, 30, 42 - label)
    (root / "GT-final_test.csv").write_text(test)
    return root


@pytest.fixture
def damaged(official, tmp_path):
    """A copy to damage."""
    shutil.copytree(official, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_official_layout_is_read(official, capfd, monkeypatch):
    monkeypatch.setattr("spatial_transformers.experiments.progress.MINUTE", 0.0)
    train, validation, test = read(official)
    assert "reading" in capfd.readouterr().err  # a progress bar
    assert [len(train), len(validation), len(test)] == [86, 86, 43]
    assert test.targets.tolist() == [*range(42, -1, -1)]
    for label in range(43):
        assert [(part.targets == label).sum() for part in (train, validation)] == [2, 2]
    with Image.open(official / "Final_Test" / "Images" / "00007.ppm") as image:
        due = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    found = test.inputs[7].movedim(0, -1).numpy().astype(int)
    assert np.abs(found - due).max() <= 1


def test_arrays_are_read(tmp_path):
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (86, 32, 32, 3), dtype=np.uint8)
    y, track = np.repeat(np.arange(43), 2).astype(np.uint8), np.tile([0, 1], 43)
    np.savez(tmp_path / "gtsrb32_train.npz", x=x, y=y, track=track)
    np.savez(tmp_path / "gtsrb32_test.npz", x=x[:5], y=y[:5])
    train, validation, test = read(tmp_path)
    assert [len(train), len(validation), len(test)] == [43, 43, 5]
    assert np.array_equal(test.inputs.movedim(1, -1).numpy(), x[:5])
    assert train.targets.tolist() == validation.targets.tolist() == [*range(43)]


def test_no_track_trains_and_validates():
    labels = torch.arange(43).repeat_interleave(30 * 12)
    tracks = torch.arange(12).repeat_interleave(30).repeat(43)
    held = held_out(labels, tracks, HELD_OUT)
    assert held.sum() == 43 * 30  # one in ten, rounded down
    per_track = held.view(43, 12, 30)
    assert torch.equal(per_track.all(2), per_track.any(2))
    assert per_track.any(2).any(0).sum() > 3  # not the same track in each class
    assert not held_out(torch.tensor([3, 3]), torch.tensor([1, 1]), HELD_OUT).any()


def test_images_are_normalised_each():
    inputs = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8) // torch.tensor(
        [1, 4, 16, 256], dtype=torch.int16
    ).view(-1, 1, 1, 1)
    data = named(NAME).data(defaults(NAME, signs="generated"), None)
    shown = data.prepare(inputs.to(torch.uint8), Draws(0, 0, torch.arange(4)), data.train, 0.0)
    flat = shown.flatten(1)
    assert_close(flat.mean(1), torch.zeros(4), rtol=0, atol=1e-5)
    assert_close(flat.std(1), torch.tensor([1.0, 1, 1, 0]))  # the last one is black


def test_light_changes_by_its_strength_alone():
    """Of a grey image: its exponent, its colours, and its sides, within the range."""
    grey, keys = torch.full((2000, 3, 32, 32), 0.5), Draws(0, 0, torch.arange(2000))
    assert_close(lit(grey, keys, 0.0), grey)
    for strength in (0.25, 1.0):
        changed = lit(grey, keys, strength).double()
        middle = changed[:, :, 15:17, 15:17].mean((2, 3))
        most = 0.5 ** np.exp(-0.6 * strength) * (1 + 0.15 * strength)
        least = 0.5 ** np.exp(0.6 * strength) * (1 - 0.15 * strength)
        assert 0.9 * most < middle.max() < 1.1 * most
        assert 0.9 * least < middle.min() < 1.1 * least
        sides = changed.mean((1, 2))  # by column
        ratio = sides[:, -8:].mean(1) / sides[:, :8].mean(1)
        due = (1 + 0.375 * strength) / (1 - 0.375 * strength)
        assert 0.9 * due < ratio.max() < 1.1 * due
        assert 0.9 / due < ratio.min() < 1.1 / due
    edge = torch.zeros(1000, 3, 32, 32)
    edge[..., 16:] = 0.6
    jump = lit(edge, keys.of(torch.arange(1000)), 1.0)[:, :, :, 15:17].mean((1, 2)).diff(dim=1)
    assert jump.min() < 0.5 * jump.max()  # blurred or not


def test_jitter_is_as_strong_as_asked():
    """Read at the middle, and along the axis x, within the range and near its ends."""
    at = (torch.arange(32) + 0.5) / 16 - 1
    ramps = torch.stack(torch.meshgrid(at, at, indexing="ij")).expand(2000, -1, -1, -1)
    for strength in (1.0, 0.25):
        read = jittered(ramps, Draws(0, 0, torch.arange(2000)), strength)
        middle = read[:, :, 15:17, 15:17].mean((2, 3))  # where the middle is read
        move = 0.15 * strength
        assert 0.95 * move < middle.abs().amax() <= move
        along = (read[:, :, 16, 20] - read[:, :, 16, 12]) * 2  # (y, x) of a half to the right
        angle, length = torch.atan2(along[:, 0], along[:, 1]).rad2deg(), along.norm(dim=1)
        assert 0.95 * 15 * strength < angle.abs().amax() <= 15.01 * strength + 0.5
        assert 1 - move - 0.01 <= length.amin() < 1 - 0.9 * move
        assert 1 + 0.9 * move < length.amax() <= 1 + move + 0.01


@pytest.mark.parametrize(
    ("model", "count"), [("cnn", 0), ("st-cnn", 1), ("2-deep-st-cnn", 2), ("3-deep-st-cnn", 3)]
)
def test_networks_are_of_one_size(model, count):
    network = named(NAME).network(defaults(NAME, model=model)).eval()
    logits, theta = network(torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 43)
    assert (theta is None) == (count == 0)
    transformers = [m for m in network.modules() if isinstance(m, SpatialTransformer)]
    assert len(transformers) == count
    assert 905_000 < count_parameters(network) <= 945_000
    order = [type(layer).__name__ for layer in network.classifier]
    order = [name for name in order if name in ("Conv2d", "SpatialTransformer")]
    conv, st = "Conv2d", "SpatialTransformer"
    due = {2: [conv, conv, st, conv], 3: [conv, st, conv, st, conv]}
    assert order == due.get(count, 3 * [conv])


@pytest.mark.traced
def test_a_network_is_exported_for_any_size(tmp_path):
    network = named(NAME).network(defaults(NAME)).eval()
    images = torch.rand(3, 3, 48, 40)
    path = tmp_path / "signs.pt2"
    export(network, images, path)
    found = torch.export.load(path).module()(images)
    assert_close(found, network(images), rtol=1e-4, atol=1e-4)


def test_generated_signs_are_red_or_blue():
    train, _, _ = generated(None)
    middle = train.inputs[:, :, 12:20, 12:20].float().mean((2, 3))
    redder = middle[:, 0] > middle[:, 2]
    assert (redder == (train.targets % 2 == 0)).float().mean() > 0.9


def test_a_rehearsal_trains_and_shows(tmp_path):
    (cell,) = reproduce.cells(NAME, ["signs/2-deep-st-cnn/affine"], quick=True)
    assert cell.baseline == "cnn"
    recipe = replace(cell.recipe, epochs=1, batch_size=320)
    found = run.train(recipe, tmp_path, accelerator="cpu", enable_progress_bar=False)
    assert found["test_images"] == 320
    run.show(tmp_path, tmp_path / "picture.png", count=2)


def _replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_damage_is_named(damaged):
    lists = damaged / "Final_Training" / "Images" / "00003" / "GT-00003.csv"
    image = lists.parent / "00001_00000.ppm"
    kept, bytes_kept = lists.read_text(), image.read_bytes()
    for old, new, words in (
        ("00000_00000.ppm;23", "../x.ppm;23", r"GT-00003.csv, line 2: not a file name"),
        (";23;", ";many;", "line 2: not a file name and the numbers Width"),
        ("Roi.X1", "Roi.Left", "line 2: not a file name and the numbers Width"),
        (";3\n", ";43\n", "line 2: class 43; GTSRB has 0 to 42"),
        (";3\n", ";4\n", r"00000_00000.ppm: listed as class 4 in the folder of class 3"),
        ("00001_00000", "00000_00000", "line 4: 00000_00000.ppm is listed twice"),
        ("Filename", '"Filename', "line 2: not a file name"),
        (";21;", ";24;", r"line 2: the box \[2, 1, 24, 56\] is not in an image of 23×57 pixels"),
    ):
        _replace(lists, old, new)
        with pytest.raises(InputError, match=words):
            read(damaged)
        lists.write_text(kept)
    image.write_bytes(bytes_kept[:-9])
    with pytest.raises(InputError, match=r"00001_00000.ppm: damaged image file"):
        read(damaged)
    image.unlink()
    with pytest.raises(InputError, match=r"00001_00000.ppm: the image is missing"):
        read(damaged)
    lists.unlink()
    with pytest.raises(InputError, match="the file is missing"):
        read(damaged)


def test_what_is_no_data_set_is_refused(damaged, tmp_path):
    with pytest.raises(InputError, match="gtsrb has no data of its own; give --data"):
        read(None)
    with pytest.raises(InputError, match="generated signs need no folder"):
        generated(tmp_path)
    with pytest.raises(InputError, match=r"no Final_Training/Images and no gtsrb32_train\.npz"):
        read(tmp_path)
    (damaged / "GT-final_test.csv").write_text(HEAD)
    with pytest.raises(InputError, match="no image is left for test"):
        read(damaged)
    (damaged / "GT-final_test.csv").unlink()
    with pytest.raises(InputError, match=r"GT-final_test\.csv: the file is missing"):
        read(damaged)
    train = tmp_path / "gtsrb32_train.npz"
    train.write_bytes(b"none")
    with pytest.raises(InputError, match="not a file of the arrays asked for"):
        read(tmp_path)
    np.savez(train, x=np.zeros((2, 32, 32), np.uint8), y=np.zeros(2, int), track=np.zeros(2, int))
    with pytest.raises(InputError, match=r"images \(2, 32, 32\) in uint8"):
        read(tmp_path)
    np.savez(
        train, x=np.zeros((2, 32, 32, 3), np.uint8), y=np.array([object()] * 2), track=np.arange(2)
    )
    with pytest.raises(InputError, match="allow_pickle"):
        read(tmp_path)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    for labels, words in (
        (np.array([0, 43]), "a label of 43 was found, not 0 to 42"),
        (np.array([-1, 0]), "a label of -1 was found"),
        (np.array([0.0, 1.7]), "labels in float64, not whole numbers"),
        (np.array(["a", "b"]), "labels in <U1, not whole numbers"),
        (np.array(3), r"labels \(\)"),
    ):
        np.savez(train, x=images, y=labels, track=np.arange(2))
        with pytest.raises(InputError, match=words):
            read(tmp_path)
    np.savez(train, x=images, y=np.zeros(2, int))
    with pytest.raises(InputError, match=r"not a file of the arrays asked for .*track"):
        read(tmp_path)
    np.savez_compressed(train, x=images, y=np.zeros(2, int), track=np.arange(2))
    damaged_bytes = bytearray(train.read_bytes())
    damaged_bytes[60:70] = bytes(10)
    train.write_bytes(damaged_bytes)
    with pytest.raises(InputError, match="not a file of the arrays asked for"):
        read(tmp_path)
    np.save(tmp_path / "one.npy", images)
    train.write_bytes((tmp_path / "one.npy").read_bytes())
    with pytest.raises(InputError, match="not a file of the arrays asked for"):
        read(tmp_path)
    np.savez(train, x=images, y=np.zeros(2, int), track=np.arange(2))
    with pytest.raises(InputError, match=r"gtsrb32_test\.npz: the file is missing"):
        read(tmp_path)
