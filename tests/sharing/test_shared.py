"""Folders that are saved and loaded: the same module, in words too, or refused in one line."""

import json
import os
import re
import sys

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import spatial_transformers
from spatial_transformers import (
    Affine,
    FreeForm,
    InputError,
    LocalisationCNN,
    Parallel,
    Recurrent,
    Series,
    SpatialTransformer,
    ThinPlateSpline,
    Transformation,
    Translation,
)
from test_configs import TRANSFORMER, assert_same_values, moved, transformer

_CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def code_of(folder):
    """Return the one block of Python of a folder's card."""
    (code,) = _CODE.findall((folder / "README.md").read_text())
    return code


def spline(family=None) -> SpatialTransformer:
    family = family or ThinPlateSpline(4)
    localisation = LocalisationCNN(family, in_channels=1, input_size=12)
    return SpatialTransformer(localisation, family, size=8)


@pytest.mark.parametrize("make", TRANSFORMER.values(), ids=TRANSFORMER)
def test_what_is_loaded_is_what_was_saved(make, tmp_path):
    module, image = moved(make()), torch.rand(2, 2, 8, 9)
    module(image)  # the background is estimated
    module.save_pretrained(tmp_path / "new" / "folder")
    other = type(module).from_pretrained(tmp_path / "new" / "folder")
    assert not other.training
    assert other.to_config() == module.to_config()
    assert repr(other) == repr(module)
    assert_same_values(module.eval(), other, image)
    state = other.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    names = {"image", "output", "theta"}
    exec(code_of(tmp_path / "new" / "folder"), found := {})
    assert names <= {*found}
    assert {p.name for p in (tmp_path / "new" / "folder").iterdir()} == {
        *("README.md", "config.json", "model.safetensors")
    }


def test_a_volume_and_parts_that_are_one(tmp_path):
    family = Affine(3)
    stn = SpatialTransformer(LocalisationCNN(family, in_channels=2), family, size=6)
    stn.save_pretrained(tmp_path / "volume")
    exec(code_of(tmp_path / "volume"), found := {})
    assert found["output"].shape == (1, 2, 6, 6, 6)
    twice = moved(spline())
    series = Series(twice, twice)
    series.save_pretrained(tmp_path / "series")
    again = Series.from_pretrained(tmp_path / "series")
    assert_same_values(series.eval(), again, torch.rand(2, 1, 9, 9))


def test_the_card_is_read_by_the_hubs_own_reader(tmp_path):
    picture = tmp_path / "Seen.PNG"
    Image.new("RGB", (3, 2)).save(picture)
    numbers = {"test error (%)": 0.66, "a | b\nc": 10, "data": "MNIST"}
    spline().save_pretrained(
        tmp_path / "x", license="other: mine", numbers=numbers, picture=str(picture)
    )
    card = ModelCard.load(tmp_path / "x" / "README.md")
    assert card.data.library_name == "spatial-transformers"
    assert card.data.license == "other: mine"
    assert card.data.tags == ["spatial-transformer"]
    assert card.text.strip().startswith("# SpatialTransformer (ThinPlateSpline)\n")
    for line in ("| test error (%) | 0.66 |", r"| a \| b c | 10 |", "| data | MNIST |"):
        assert line in card.text.splitlines()
    assert "(transformation): ThinPlateSpline(points=(4, 4))" in card.text
    assert "](picture.png)" in card.text
    assert (tmp_path / "x" / "picture.png").read_bytes() == picture.read_bytes()


def test_a_card_that_is_there_stays_and_weights_are_renewed(tmp_path):
    spline().save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    module = moved(spline())
    module.save_pretrained(tmp_path, numbers={"error": 1.0})
    assert (tmp_path / "README.md").read_text() == "mine"
    found = SpatialTransformer.from_pretrained(tmp_path)
    assert torch.equal(found.localisation.head.weight, module.localisation.head.weight)


class Mine(SpatialTransformer):
    """A transformer of someone's own."""


def test_a_class_of_ones_own_is_loaded_by_itself(tmp_path):
    family = Translation()
    Mine(LocalisationCNN(family, in_channels=1), family).save_pretrained(tmp_path)
    assert type(Mine.from_pretrained(tmp_path)) is Mine
    assert f"from {__name__} import Mine\n" in code_of(tmp_path)
    assert "A transformer of someone's own." in (tmp_path / "README.md").read_text()


def refusal(call, *args, **options) -> str:
    """Return the line in which a call is refused."""
    with pytest.raises(InputError) as error:
        call(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.traced
def test_what_cannot_be_saved_leaves_nothing(tmp_path):
    ours = transformer()
    own = SpatialTransformer(nn.Linear(3, 3), Translation())
    meta = transformer().to("meta")
    text = tmp_path / "text.txt"
    text.touch()
    for module, options, message in (
        (own, {}, "localisation of SpatialTransformer is a Linear"),
        (meta, {}, "on the meta device was to be saved"),
        (ours, {"picture": tmp_path / "none.png"}, "none.png: no picture for a card"),
        (ours, {"picture": text}, "text.txt: no picture for a card; give a file that ends in .png"),
    ):
        assert message in refusal(module.save_pretrained, tmp_path / "x", **options)
        assert not (tmp_path / "x").exists()


@pytest.mark.traced
def test_a_save_that_fails_halfway_leaves_what_was_there(tmp_path, monkeypatch):
    spline().save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("spatial_transformers.sharing.shared._LARGEST", 100)
    line = refusal(moved(spline()).save_pretrained, tmp_path)
    assert "larger than 100 bytes" in line
    assert "keep the code that makes it" in line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


#: Families whose θ has as many entries as a spline's of 4 × 4 points, or of a matrix.
TWINS = {
    "free-form": (ThinPlateSpline(4), FreeForm(4)),
    "positions": (ThinPlateSpline(4), ThinPlateSpline(4, parameters="positions")),
    "geometric": (Affine(), Affine(parameters="geometric")),
    "bounds": (Affine(), Affine(bounds=(-2, 2))),
}


@pytest.mark.traced
@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_weights_of_another_meaning_are_refused(twins, tmp_path):
    one, other = (spline(family) for family in twins)
    assert twins[0].num_parameters == twins[1].num_parameters
    one.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(other.to_config()))
    line = refusal(SpatialTransformer.from_pretrained, tmp_path)
    assert line.startswith(f"{tmp_path / 'model.safetensors'}: not the weights of what config.json")
    assert "their theta means" in line


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    spline().save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(saved, tmp_path):
    for name, content in saved.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


CONFIGS = {
    "newer": ({"version": 2}, "versions up to 1; install the one that wrote it"),
    "unknown key": ({"shear": 1}, "was given with 'shear', which it does not have"),
    "other class": ({"class": "Series"}, "whose class is 'Series'; give one of SpatialTransformer"),
    "code": ({"class": "os.system"}, "whose class is 'os.system'"),
    "no class": ({"class": None}, "class is None, not a text"),
    "type": ({"size": "large"}, "was given with size='large'"),
    "too wide": ({"localisation": {"class": "LocalisationCNN"}}, "without 'transformation'"),
}


@pytest.mark.traced
@pytest.mark.parametrize(("change", "message"), CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_does_not_fit_is_refused(change, message, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    line = refusal(SpatialTransformer.from_pretrained, folder)
    assert line.startswith(f"{folder / 'config.json'}: ")
    assert message in line


@pytest.mark.traced
def test_a_damaged_config_is_refused(folder):
    path = folder / "config.json"
    for content in (b"", b"[1]", b"{", b'{"class": 3}', b"[" * 4000, b" " * (1 << 24) + b"{}"):
        path.write_bytes(content)
        assert f"{path}: no config of a " in refusal(SpatialTransformer.from_pretrained, folder)
    path.unlink()
    assert "No such file" in refusal(SpatialTransformer.from_pretrained, folder)
    os.mkfifo(path)
    assert "no regular file" in refusal(SpatialTransformer.from_pretrained, folder)
    for kind in (Series, Recurrent, Parallel):
        spline().save_pretrained(folder / "stn")
        assert f"a config of {kind.__name__}" in refusal(kind.from_pretrained, folder / "stn")


@pytest.mark.traced
def test_weights_that_do_not_fit_are_refused(folder):
    path = folder / "model.safetensors"
    content, state = path.read_bytes(), load_file(path)
    first = "localisation.head.bias"
    for change, message in (
        ({first: torch.zeros(3)}, f"{first} is (3,) float32, not (32,) float32"),
        ({first: torch.zeros(32, dtype=torch.int64)}, "int64, not (32,) float32"),
        ({"x": torch.zeros(1)}, "x is not of it"),
        ({first: None}, f"{first} is missing"),
        ({"_extra_state": None}, "_extra_state is missing"),
        ({"_extra_state": torch.zeros(2, 3)}, "_extra_state is (2, 3) float32"),
    ):
        save_file({n: t for n, t in {**state, **change}.items() if t is not None}, path)
        line = refusal(SpatialTransformer.from_pretrained, folder)
        assert line.startswith(f"{path}: not the weights of what config.json describes (")
        assert message in line
    for damaged in (b"", content[:9], content[:-9], b"[" * 2000):
        path.write_bytes(damaged)
        assert f"{path}: damaged tensors" in refusal(SpatialTransformer.from_pretrained, folder)
    os.truncate(path, 1 << 32)
    assert "has 4294967296 bytes, and" in refusal(SpatialTransformer.from_pretrained, folder)


class Malicious:
    """Makes a folder wherever it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.traced
def test_no_pickle_is_read(folder):
    weights = folder / "model.safetensors"
    torch.save(Malicious(folder / "made"), folder / "pytorch_model.bin")
    SpatialTransformer.from_pretrained(folder)  # beside weights it does not matter
    weights.unlink()
    line = refusal(SpatialTransformer.from_pretrained, folder)
    assert "has no model.safetensors" in line
    assert "pytorch_model.bin, may run code" in line
    (folder / "pytorch_model.bin").rename(weights)
    assert "damaged tensors" in refusal(SpatialTransformer.from_pretrained, folder)
    assert not (folder / "made").exists()
    torch.load(weights.rename(folder / "x.bin"), weights_only=False)  # it would have been
    assert (folder / "made").exists()


@pytest.mark.traced
def test_a_folder_without_a_card_is_refused(folder):
    (folder / "README.md").unlink()
    assert "has no README.md" in refusal(SpatialTransformer.from_pretrained, folder)


@pytest.mark.traced
def test_what_is_not_installed_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    SpatialTransformer.from_pretrained(folder)  # a folder needs no Hub
    for call in (
        lambda: SpatialTransformer.from_pretrained("a/b"),
        lambda: spline().push_to_hub("a/b"),
    ):
        line = refusal(call)
        assert "needs the package 'huggingface_hub'" in line
        assert "pip install '.[hub]'" in line
    monkeypatch.delattr(spatial_transformers, "_tensors")
    monkeypatch.delitem(sys.modules, "spatial_transformers._tensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (spline().save_pretrained, SpatialTransformer.from_pretrained):
        line = refusal(call, folder)
        assert "needs the package 'safetensors'" in line
        assert "pip install '.[hub]'" in line


def test_only_what_has_weights_of_its_own_is_shared():
    sharing = {name for name in dir(spatial_transformers) if _shares(name)}
    assert sharing == {"SpatialTransformer", "Series", "Recurrent", "Parallel"}
    assert not hasattr(Transformation, "from_pretrained")


def _shares(name):
    return hasattr(getattr(spatial_transformers, name), "push_to_hub")
