"""House numbers; oracles: h5py's and Pillow's files in SVHN's layout, and what a number says."""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from spatial_transformers import InputError, SpatialTransformer
from spatial_transformers.commands import main
from spatial_transformers.experiments import reproduce, run
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.data.samples import InMemory
from spatial_transformers.experiments.data.street import _apart, draw_numbers, glyphs
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.registry import defaults, named
from spatial_transformers.experiments.svhn.numbers import read

NAME = "svhn"
KEYS = ("label", "left", "top", "width", "height")


def _write(folder, entries):
    """Write pictures and their list; an entry is a size (w, h) and digits (label, x, y, w, h)."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    with h5py.File(folder / "digitStruct.mat", "w") as file:
        kept, names, boxes = file.create_group("#refs#"), [], []
        for number, ((width, height), digits) in enumerate(entries, 1):
            coarse = Image.fromarray(draw.integers(0, 256, (7, 6, 3), dtype=np.uint8))
            coarse.resize((width, height)).save(folder / f"{number}.png")
            name = np.array([[ord(c)] for c in f"{number}.png"], np.uint16)
            names.append(kept.create_dataset(f"n{number}", data=name).ref)
            group = kept.create_group(f"b{number}")
            columns = dict(zip(KEYS, zip(*digits, strict=True), strict=True))
            for key in KEYS:
                column = columns[key]
                if len(column) > 1:  # MATLAB refers to the numbers
                    column = [
                        kept.create_dataset(f"{key}{number}_{k}", data=[[float(value)]]).ref
                        for k, value in enumerate(column)
                    ]
                    data = np.array(column, h5py.ref_dtype)[:, None]
                    group.create_dataset(key, data=data, dtype=h5py.ref_dtype)
                else:
                    group.create_dataset(key, data=[[float(column[0])]])
            boxes.append(group.ref)
        for key, refs in (("name", names), ("bbox", boxes)):
            data = np.array(refs, h5py.ref_dtype)[:, None]
            file.create_dataset(f"digitStruct/{key}", data=data, dtype=h5py.ref_dtype)


ENTRY = ((60, 40), [(2, 10, 8, 12, 20), (10, 22, 9, 12, 20)])  # the number 20
SIX = ((60, 40), [(d, 8 * d, 8, 7, 20) for d in range(1, 7)])


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A small folder in the official layout, one of whose numbers has six digits."""
    root = tmp_path_factory.mktemp("svhn")
    single = ((30, 50), [(7, 5, 6, 20, 40)])
    _write(root / "train", [ENTRY, single, SIX] * 6)
    _write(root / "test", [single, ENTRY])
    _write(root / "extra", [ENTRY] * 3)
    return root


@pytest.fixture
def damaged(official, tmp_path):
    shutil.copytree(official, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_official_layout_is_read(official, capfd, monkeypatch):
    monkeypatch.setattr("spatial_transformers.experiments.progress.MINUTE", 0.0)
    train, validation, test = read(official, 64)
    assert "reading extra" in capfd.readouterr().err
    assert [len(train), len(validation), len(test)] == [12 - 2 + 3, 2, 2]
    assert test.targets.tolist() == [[7, 10, 10, 10, 10], [2, 0, 10, 10, 10]]
    assert train.targets[-3:].tolist() == 3 * [[2, 0, 10, 10, 10]]
    images, _ = test.take(test.load(torch.arange(2)))
    with Image.open(official / "test" / "2.png") as picture:
        # the box of both digits, (10, 8) to (34, 29), grown to 31 by 27 pixels about its middle
        box = (round(22 - 15.6), round(18.5 - 13.65))
        crop = picture.crop((*box, box[0] + 31, box[1] + 27))
        due = np.asarray(crop.resize((64, 64), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(images[1].movedim(0, -1).numpy().astype(int) - due).max() <= 1


def test_loose_crops_are_twice_as_wide_and_go_on_beyond_the_edge(official):
    tight, loose = (read(official, size)[2] for size in (64, 128))
    small, large = (part.read(part.paths[1]) for part in (tight, loose))
    assert large.shape == (3, 128, 128)
    inner = large[:, 32:96, 32:96]
    alike = np.corrcoef(inner.flatten(), small.flatten())[0, 1]
    assert alike > 0.97  # the same place, but for half a pixel, of as many pixels
    rows = large[:, :8].float()
    assert_close(rows, rows[:, :1].expand_as(rows))  # above the picture its first row goes on


LIST = "file,split,digits,width,height,digit_boxes_xywh_pixels\n"


@pytest.fixture
def words(official, tmp_path):
    """A folder with photographs of the numbers of `official`'s test, one of six digits, and one."""
    images = tmp_path / "digit_words" / "images"
    images.mkdir(parents=True)
    for name in ("1.png", "2.png"):
        shutil.copy(official / "test" / name, images)
    boxes = "10 8 12 20;22 9 12 20"
    lines = f"2.png,test,20,60,40,{boxes}\n3.png,test,123456,60,40,\n1.png,train,7,30,50,\n"
    (images.parent / "labels.csv").write_text(LIST + lines)
    return tmp_path


@pytest.mark.parametrize("size", [64, 128])
def test_photographs_are_read_as_svhn_is(official, words, size):
    """What has no boxes fills its picture."""
    recipe = defaults("house-numbers", size=size)
    found = named("house-numbers").independent(recipe, words)["photographs"]
    assert found.targets.tolist() == [[2, 0, 10, 10, 10], [7, 10, 10, 10, 10]]
    test = read(official, size)[2]
    assert_close(found.inputs[0], test.read(test.paths[1]), rtol=0, atol=0)
    with Image.open(words / "digit_words" / "images" / "1.png") as picture:
        middle = np.asarray(picture).mean((0, 1))
    if size == 64:
        inner = found.inputs[1, :, 8:56, 8:56].float().mean((1, 2)).numpy()
        assert np.abs(inner - middle).max() < 12
    assert named("house-numbers").independent(recipe, official) == {}
    assert named("svhn").independent(defaults("svhn"), words) == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1.png,test,7x,30,50,", "line 2: not a photograph"),
        ("1.png,test,7,30,fifty,", "line 2: not a photograph"),
        ("1.png,test,7,30,50,1 2 3", "line 2: not a photograph"),
        ("../1.png,test,7,30,50,", "line 2: not a photograph"),
        ("3.png,test,7,30,50,", "3.png: the image is missing"),
        ("1.png,test,7,30,50,40 1 9 9", "does not fit its 30×50 pixels"),
        ("1.png,test,1234567,30,50,", "no number of one to 5 digits"),
        ("1.png", "line 2: not a photograph"),
        ("1.png,test,7,30,50,nan 1 9 9", "line 2: not a photograph"),
        ("1.png,test,7,30,50,1 1 -9 9", "line 2: not a photograph"),
        ("1.png,test,789,30,50,1 1 9 9;2 2 9 9", "line 2: not a photograph"),
        ("1.png,test,7," + 400 * "9" + ",50,", "line 2: not a photograph"),
        ("1.png,test,7,30,50," + 140_000 * " ", ": not a photograph"),
        ("1.png,test,7,30,50,\n1.png,test,7,30,50,", "1.png: listed twice"),
    ],
)
def test_damaged_photographs_are_refused(words, line, reason):
    (words / "digit_words" / "labels.csv").write_text(f"{LIST}{line}\n")
    with pytest.raises(InputError, match=reason) as caught:
        named("house-numbers").independent(defaults("house-numbers"), words)
    assert "\n" not in str(caught.value)


def test_made_numbers_are_drawn_anew_by_their_draws_alone():
    recipe = defaults(NAME, numbers="generated", digits="scikit-learn")
    data = named(NAME).data(recipe, None)
    chosen, targets = data.train.take(torch.arange(len(data.train)))
    lengths = (targets != 10).sum(1)
    assert lengths.min() == 1
    assert lengths.max() == 5
    filled = torch.arange(5) < lengths[:, None]
    assert torch.equal(filled, targets != 10)  # no gaps
    drawn = (chosen != chosen.max()).sum(1)  # the last glyph is empty
    assert set((drawn - lengths).tolist()) == {0, 1}  # some have a mark, which has no label
    draws = Draws(0, 0, torch.arange(8))
    one, two = (data.prepare(chosen[:8], draws, data.train, 1.0) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == (8, 3, 64, 64)
    assert 0 <= one.min() < one.max() <= 1
    assert torch.equal(
        data.prepare(chosen[2:4], draws.of(torch.tensor([2, 3])), data.train, 1.0), one[2:4]
    )
    later = data.prepare(chosen[:8], Draws(0, 1, torch.arange(8)), data.train, 1.0)
    assert (one - later).abs().amax((1, 2, 3)).min() > 0.1
    other = data.prepare(chosen[8:16], draws, data.train, 1.0)
    assert (one - other).abs().amax((1, 2, 3)).min() > 0.1  # the digits are to be seen


@pytest.mark.parametrize("size", [64, 128])
def test_the_crop_is_placed_as_it_is_said_to_be(size):
    """A number's box spans a share of the crop, and lies in it."""
    recipe = defaults(NAME, numbers="generated", digits="scikit-learn", size=size)
    data = named(NAME).data(recipe, None)
    family, theta = data.place(Draws(0, 0, torch.arange(500)))
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]).double().expand(500, 4, 2)
    box = family.inverse_points(theta, corners)
    side = (box.amax(1) - box.amin(1)) / 2
    middle = {64: 1 / 1.3, 128: 0.5 / 1.3}[size]
    assert side.mean() == pytest.approx(middle, rel=0.12)
    assert box.abs().max() < 1.1
    spread = box.mean(1).std(0)
    assert (spread > (0.25 if size == 128 else 0.03)).all()


@pytest.mark.parametrize(("model", "count"), [("cnn", 0), ("st-cnn", 1), ("4-deep-st-cnn", 4)])
@pytest.mark.parametrize("size", [64, 128])
def test_networks_are_of_one_size(model, count, size):
    network = named(NAME).network(defaults(NAME, model=model, size=size)).eval()
    logits, theta = network(torch.rand(2, 3, size, size))
    assert logits.shape == (2, 5, 11)
    assert (theta is None) == (count == 0)
    assert sum(isinstance(m, SpatialTransformer) for m in network.modules()) == count
    order = [type(layer).__name__ for layer in network.classifier]
    order = [name for name in order if name in ("Conv2d", "SpatialTransformer")]
    conv, st = "Conv2d", "SpatialTransformer"
    deep = [conv, st, conv, st, conv, st, *5 * [conv]]
    assert order == (deep if count == 4 else 8 * [conv])
    assert 1_600_000 < count_parameters(network) <= 2_000_000


def test_a_rehearsal_trains_and_shows(tmp_path):
    (cell,) = reproduce.cells(NAME, ["64px/4-deep-st-cnn/affine"], quick=True)
    recipe = replace(cell.recipe, epochs=1, batch_size=640)
    found = run.train(recipe, tmp_path, accelerator="cpu", enable_progress_bar=False)
    assert found["test_images"] == 320
    run.show(tmp_path, tmp_path / "picture.png", count=2)


def _rewritten(folder, entry):
    shutil.rmtree(folder / "test")
    _write(folder / "test", [entry])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (((60, 40), [(11, 1, 1, 9, 9)]), r"1\.png: a digit is labelled 11; SVHN has 1 to 10"),
        (((60, 40), [(0, 1, 1, 9, 9)]), r"1\.png: a digit is labelled 0"),
        (((60, 40), [(1, float("nan"), 1, 9, 9)]), r"1\.png: a digit's box is not finite"),
        (((60, 40), [(1, 1, 1, 0, 9)]), r"1\.png: a digit's box has no area"),
        (((60, 40), [(1, k, 1, 9, 9) for k in range(17)]), "17 digits in one picture"),
    ],
)
def test_entries_that_cannot_be_are_refused(damaged, entry, words):
    _rewritten(damaged, entry)
    with pytest.raises(InputError, match=words):
        read(damaged, 64)


@pytest.mark.parametrize("box", [(60, 1, 9, 9), (1, -9, 9, 9), (1, 1, 3e7, 9)])
def test_a_box_outside_its_picture_is_refused(damaged, box):
    _rewritten(damaged, ((60, 40), [(1, *box)]))
    test = read(damaged, 64)[2]
    with pytest.raises(
        InputError, match=r"1\.png: its number is listed at .* which does not fit its 60×40"
    ):
        test.read(test.paths[0])


def test_a_fault_in_a_loader_is_one_line(damaged, capsys, tmp_path):
    """Pictures are read by processes of their own, which must not bring a traceback."""
    _rewritten(damaged, ((60, 40), [(1, 60, 1, 9, 9)]))
    arguments = ["train", NAME, "--model", "cnn", "--batch-size", "2", "--epochs", "1"]
    assert main([*arguments, "--data", str(damaged), "--out", str(tmp_path / "run")]) == 2
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert errors.strip().splitlines()[-1].startswith("stn train: ")


def test_a_name_that_leaves_the_folder_is_refused(damaged):
    listed = damaged / "test" / "digitStruct.mat"
    with h5py.File(listed, "a") as file:
        name = np.array([[ord(c)] for c in "../train/1.png"], np.uint16)
        file["digitStruct/name"][0, 0] = file.create_dataset("odd", data=name).ref
    with pytest.raises(InputError, match=r"1\.png: listed, but the picture is missing"):
        read(damaged, 64)


def test_a_digit_that_is_not_there_is_named():
    digits = InMemory(torch.zeros(9, 1, 28, 28, dtype=torch.uint8), torch.arange(9))
    with pytest.raises(InputError, match="no digit 9 was found"):
        draw_numbers(glyphs([digits]), 4, 0)


def test_paint_stands_out():
    colour, other = torch.rand(2, 5000, 3, 1, 1).unbind(0)
    seen = _apart(colour, other)
    assert (seen - other).mean(1).abs().min() > 0.35 - 1e-5
    assert 0 <= seen.min() < seen.max() <= 1


def test_damage_is_named(damaged, tmp_path):
    with pytest.raises(InputError, match="svhn has no data of its own; give --data"):
        read(None, 64)
    (damaged / "test" / "2.png").unlink()
    with pytest.raises(InputError, match=r"test/2\.png: listed, but the picture is missing"):
        read(damaged, 64)
    listed = damaged / "test" / "digitStruct.mat"
    kept = listed.read_bytes()
    for content in (b"MATLAB 5.0 MAT-file", kept[: len(kept) // 2]):
        listed.write_bytes(content)
        with pytest.raises(InputError, match="not SVHN's list of full numbers"):
            read(damaged, 64)
    with h5py.File(listed, "w") as file:
        file["X"] = np.zeros(3)
    with pytest.raises(InputError, match="not SVHN's list of full numbers"):
        read(damaged, 64)
    listed.unlink()
    with pytest.raises(InputError, match=r"digitStruct\.mat: the file is missing"):
        read(damaged, 64)
    shutil.rmtree(damaged / "test")
    _write(damaged / "test", [SIX])
    with pytest.raises(InputError, match="12 numbers to train and 0 to test"):
        read(damaged, 64)
