"""A user's own images; oracles: Pillow's reading, torch's sampling, and how files are laid out."""

import csv
import json
import shutil

import numpy as np
import pytest
import skimage
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from spatial_transformers import InputError, Similarity
from spatial_transformers._images import read_image
from spatial_transformers.commands import main
from spatial_transformers.experiments import compare, run
from spatial_transformers.experiments.data.pictures import read_pixels
from spatial_transformers.experiments.folder import FolderRecipe, choices
from spatial_transformers.experiments.folder.images import PARTS, listed
from spatial_transformers.experiments.networks import count_parameters
from spatial_transformers.experiments.registry import chosen, defaults, named

COLOURS = {"größe eins": (200, 40, 40), "b": (40, 160, 60), "c c": (50, 60, 210)}
READ = "probability", "scale", "rotation (deg)"  # columns that people read
BACKGROUND = [220.0, 10.0, 90.0]
#: How images are stored: ending, Pillow's mode, and options.
FORMS = {
    "grey.png": ("L", {}),
    "alpha ä.png": ("RGBA", {}),
    "palette.png": ("P", {}),
    "print.jpg": ("CMYK", {}),
    "turned.jpg": ("RGB", {"exif": True}),
    "deep.png": ("I;16", {}),
}


def picture(colour, seed, size=(44, 30)):
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, (240, 240, 240))
    x, y = (int(v) for v in rng.integers(2, 12, 2))
    ImageDraw.Draw(image).rectangle((x, y, x + 18, y + 10), colour)
    return image


def opened(path):
    with Image.open(path) as image:
        return image.copy()


def write_classes(root, count):
    for label, (name, colour) in enumerate(COLOURS.items()):
        folder = root / name
        folder.mkdir(parents=True)
        for k in range(count):
            picture(colour, 100 * label + k).save(folder / f"{k}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes of twelve images, some stored oddly, and a file that is none."""
    root = tmp_path_factory.mktemp("own") / "my photos"
    write_classes(root, 12)
    for k, (name, (mode, options)) in enumerate(FORMS.items()):
        image = picture(COLOURS["b"], 50 + k)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        else:
            image = image.convert(mode)
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(root / "b" / name, **({"exif": exif} if options else {}))
    (root / "b" / "notes.txt").write_text("no image")
    return root


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "photos"
    command = ["train", "folder", "--data", str(photos), "--epochs", "1", "--out", str(out)]
    assert main([*command, "--baseline"]) == 0
    return out


def test_a_seed_splits_each_class(photos):
    found = listed(photos, 0)
    pairs = [pair for part in PARTS for pair in found.files[part]]
    assert sorted(path for path, _ in pairs) == sorted(
        p for p in photos.rglob("*") if p.is_file() and p.suffix != ".txt"
    )
    assert [len(found.files[part]) for part in PARTS] == [31, 4, 7]  # of 18, 12 and 12 images
    for part in PARTS:
        assert {path.parent.name for path, _ in found.files[part]} == set(COLOURS)
    assert all(found.classes[label] == path.parent.name for path, label in pairs)
    assert found.ignored == 1
    assert listed(photos, 0) == found
    assert listed(photos, 1).files["test"] != found.files["test"]


@pytest.mark.parametrize(
    ("names", "tests", "validates"),
    [
        (("Train", "val", "test"), "test", "val"),
        (("training", "test"), "test", "training"),
        (("train", "valid"), "valid", "train"),
    ],
)
def test_folders_say_what_tests(tmp_path, names, tests, validates):
    for name in names:
        write_classes(tmp_path / name, 6)
    shutil.rmtree(tmp_path / tests / "b")  # not all classes need be tested
    found = listed(tmp_path, 0)
    assert {path.parents[1].name for path, _ in found.files["test"]} == {tests}
    assert {path.parents[1].name for path, _ in found.files["validation"]} == {validates}
    assert {path.parents[1].name for path, _ in found.files["train"]} == {names[0]}
    assert not {p for p, _ in found.files["train"]} & {p for p, _ in found.files["validation"]}
    assert all(found.classes[label] == path.parent.name for path, label in found.files["test"])


def test_images_are_read_as_by_pillow(photos):
    for name in ("0.png", "turned.jpg", "palette.png"):
        image = opened(photos / "b" / name)
        image = image.transpose(Image.Transpose.ROTATE_270) if name == "turned.jpg" else image
        due = np.asarray(image.convert("RGB").resize((24, 16), Image.Resampling.BILINEAR))
        found = read_pixels(photos / "b" / name, (16, 24), fast=True).movedim(0, -1).numpy()
        assert abs(found - due.astype(float)).max() <= 2, name
    grey = read_pixels(photos / "b" / "deep.png", (16, 24), fast=True)
    assert torch.equal(grey[0], grey[2])


def test_a_large_photograph_is_decoded_at_a_fraction_of_its_size(tmp_path):
    photo = skimage.data.astronaut()
    path = tmp_path / "large.jpg"
    Image.fromarray(photo).resize((1500, 1200), Image.Resampling.BICUBIC).save(path, quality=95)
    assert read_image(path, least=96).values.shape == (1, 3, 150, 188)  # an eighth
    found = read_pixels(path, (40, 48), fast=True).movedim(0, -1).numpy().astype(int)
    due = opened(path).resize((48, 40), Image.Resampling.BILINEAR)
    assert abs(found - np.asarray(due)).mean() < 2
    assert torch.equal(read_pixels(path, (900, 900), fast=True), read_pixels(path, (900, 900)))


@pytest.mark.parametrize(
    ("size", "height", "width", "detail"),
    [((44, 30), 32, 48, 1), ((10, 10), 24, 24, 1), ((800, 100), 16, 136, 2), ((64, 64), 48, 48, 1)],
)
def test_the_size_is_that_of_the_images(tmp_path, size, height, width, detail):
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(4):
            Image.new("RGB", size).save(tmp_path / name / f"{k}.png")
    facts = {**choices.choose(listed(tmp_path, 0), "")[1].facts}
    assert facts == {"height": height, "width": width, "detail": detail}


def test_what_is_given_goes_before_what_is_chosen(photos):
    recipe, reasons = chosen(defaults("folder", epochs=7, lr=0.5), photos, {"epochs", "lr"})
    assert (recipe.epochs, recipe.lr, recipe.names) == (7, 0.5, ("b", "c c", "größe eins"))
    assert recipe.transformation == "similarity"
    assert not any(said.startswith(("epochs", "lr")) for said in reasons)
    assert any("31 train, 4 validate, 7 test; ignored are other files: 1" in r for r in reasons)
    many, _ = chosen(defaults("folder"), photos, ())
    assert many.epochs == 60
    assert many.batch_size == 3


@pytest.mark.parametrize(("height", "width", "detail"), [(8, 64, 1), (32, 40, 2)])
def test_both_networks_have_one_size(height, width, detail):
    facts = {"classes": "a/b", "height": height, "width": width, "detail": detail}
    counts = []
    for model in ("cnn", "st-cnn"):
        recipe = defaults("folder", model=model, **facts)
        network = named("folder").network(recipe)
        logits, theta = network.eval()(torch.rand(2, *named("folder").shape(recipe)))
        assert logits.shape == (2, 2)
        assert (theta is None) == (model == "cnn")
        counts.append(count_parameters(network))
    assert max(counts) <= 400_000
    assert min(counts) > 0.93 * max(counts)


def test_a_large_set_is_read_from_its_files(photos, monkeypatch):
    recipe, _ = chosen(defaults("folder", batch_size=4), photos, {"batch_size"})
    held = named("folder").data(recipe, photos)
    monkeypatch.setattr("spatial_transformers.experiments.folder._IN_MEMORY", 0)
    filed = named("folder").data(recipe, photos)
    assert (held.workers, filed.workers) == (0, 2)
    for part in PARTS:
        of_files, in_memory = getattr(filed, part), getattr(held, part)
        numbers = torch.arange(len(in_memory))
        inputs, targets = of_files.take(of_files.load(numbers))
        assert torch.equal(inputs, in_memory.inputs)
        assert torch.equal(targets, in_memory.targets)


def test_training_says_what_it_chose_and_what_came_out(photos, tmp_path, capsys):
    command = ["train", "folder", "--data", str(photos), "--epochs", "1"]
    assert main([*command, "--model", "cnn", "--out", str(tmp_path / "r"), "--baseline"]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "model cnn, which has no transformer itself" in printed.err
    assert main([*command, "--model", "cnn", "--out", str(tmp_path / "r")]) == 0
    printed = capsys.readouterr()
    assert "3 folders of images, 31 train" in printed.out
    assert "epoch 1 of 1: loss" in printed.err  # no terminal
    assert "\r" not in printed.err + printed.out


@pytest.mark.traced
def test_a_run_of_ones_own_images_does_all_that_others_do(trained, photos, tmp_path, capsys):
    assert run.started(trained).model == "st-cnn"
    assert run.started(trained / "baseline").model == "cnn"
    assert main(["eval", str(trained)]) == 0
    assert "test error" in capsys.readouterr().out
    assert main(["show", str(trained), "--out", str(tmp_path / "x.png")]) == 0
    assert opened(tmp_path / "x.png").size
    assert main(["export", str(trained), "--out", str(tmp_path / "x.onnx")]) == 0
    assert main(["train", "folder", "--resume", "--out", str(trained)]) == 0
    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    (moved / "b").rename(moved / "d")
    assert main(["eval", str(trained), "--data", str(moved)]) == 2
    assert "give the folder that it began with" in capsys.readouterr().err


def off_the_identity(trained, tmp_path):
    """Copy the run, with a transformer that turns, shrinks and moves what it sees."""
    from spatial_transformers import _tensors as tensors

    out = tmp_path / "run"
    shutil.copytree(trained, out)
    weights = dict(tensors.read(out / "model.safetensors"))
    weights["transformer.localisation.head.weight"].zero_()
    weights["transformer.localisation.head.bias"] = torch.tensor([-2.0, 4.0, 2.0, -1.0])
    weights["transformer.background.value"] = torch.tensor(BACKGROUND) / 255
    tensors.write(out / "model.safetensors", weights)
    return out


def test_files_are_straightened_as_the_transformer_says(trained, photos, tmp_path, capsys):
    out, made = off_the_identity(trained, tmp_path), tmp_path / "straight"
    assert main(["apply", str(out), str(photos), "--out", str(made)]) == 0
    assert f"42 of 42 images in {made}" in capsys.readouterr().out
    with (made / "theta.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 42
    for row in rows:
        assert all(len(row[k].lstrip("-").replace(".", "").lstrip("0")) <= 4 for k in READ)
        assert row["class"] in COLOURS
        assert 1 / 3 <= float(row["probability"]) <= 1
        given = opened(row["file"])
        found = opened(row["straightened"])
        if (name := row["file"].rpartition("/")[2]) in ("turned.jpg", "print.jpg"):
            assert found.size == ((30, 44) if name == "turned.jpg" else (44, 30))
            continue
        assert found.size == given.size
        assert found.mode == {"P": "RGB"}.get(given.mode, given.mode)
        if given.mode != "RGB":
            continue
        theta = torch.tensor([[float(v) for k, v in row.items() if k.startswith("theta ")]])
        assert theta[0, 0] < 0.9
        assert abs(float(row["rotation (deg)"]) - theta[0, 1].rad2deg().item()) < 6e-3
        pixels = torch.from_numpy(np.array(given)).movedim(-1, 0)[None].double()
        matrix = Similarity().matrix(theta.double())[:, :2]
        grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
        outside = torch.tensor(BACKGROUND)[:, None, None].double()
        due = F.grid_sample(pixels - outside, grid, align_corners=False) + outside
        assert abs(due[0].movedim(0, -1).numpy() - np.asarray(found)).max() <= 1


def test_a_file_that_cannot_be_read_is_passed_over(trained, photos, tmp_path, capsys):
    given = tmp_path / "in"
    shutil.copytree(photos / "b", given)
    (given / "broken.png").write_bytes((given / "0.png").read_bytes()[:80])
    Image.new("RGB", (9, 9)).save(
        given / "film.webp", save_all=True, append_images=[Image.new("RGB", (9, 9), "red")]
    )
    table = tmp_path / "theta.json"
    command = ["apply", str(trained), str(given), str(given / "no.png"), "--table", str(table)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    refused = capsys.readouterr().err.splitlines()
    for name, reason in (("broken.png", "damaged"), ("film.webp", "2 pictures"), ("no.png", "")):
        assert any(name in line and reason in line for line in refused), name
    rows = json.loads(table.read_text())
    assert sorted(row["file"] for row in rows) == sorted(
        str(p) for p in given.iterdir() if p.name not in ("broken.png", "film.webp", "notes.txt")
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{run}/baseline", "{photos}", "--out", "{new}"], "the model cnn, which has no transform"),
        (["{new}", "{photos}", "--out", "{new}"], "No such file"),
        (["{run}", "{run}", "--out", "{new}"], "a folder without image files"),
        (["{run}", "{photos}", "--out", "{photos}"], "would be replaced; give --out another"),
        (["{run}", "{photos}", "--out", "{new}", "--table", "x.txt"], "ends in .csv or .json"),
        (["{run}", "{photos}/b/0.png", "{photos}/c c/0.png", "--out", "{new}"], "would both"),
    ],
)
def test_refusals_of_apply(trained, photos, tmp_path, capsys, arguments, reason):
    places = {"new": tmp_path / "new", "run": trained, "photos": photos}
    assert main(["apply", *(a.format(**places) for a in arguments)]) == 2
    begins, *refused = capsys.readouterr().err.splitlines()
    assert begins == "stn apply: loading the run …"
    assert len(refused) == 1
    assert reason in refused[0]


def test_runs_of_other_experiments_cannot_be_applied(tmp_path, capsys):
    out = tmp_path / "digits"
    assert main(["train", "rotated-digits", "--epochs", "1", "--out", str(out)]) == 0
    assert main(["apply", str(out), "x.png", "--out", str(tmp_path)]) == 2
    assert "a run of rotated-digits" in capsys.readouterr().err


def damage(photos, tmp_path, how):
    root = tmp_path / "own"
    shutil.copytree(photos, root)
    how(root)
    return root


def one_image(root):
    for path in list((root / "b").iterdir())[1:]:
        path.unlink()


def truncated(root):
    for name in ("0.png", "3.png"):
        path = root / "c c" / name
        path.write_bytes(path.read_bytes()[:-40])


def only_train(root):
    (root / "train").mkdir()
    for name in COLOURS:
        (root / name).rename(root / "train" / name)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda root: (root / "d").mkdir(), "d: holds no image"),
        (one_image, "b: holds 1 image, too few"),
        (lambda root: (root / "b" / "0.png").write_bytes(b""), "0.png: an empty file; remove or"),
        (truncated, "own/c c: 2 images cannot be read: 0.png, 3.png (damaged image file"),
        (
            lambda root: [shutil.rmtree(root / name) for name in ("b", "c c")],
            "1 folders, not 2 or more",
        ),
        (only_train, "has train, but neither val nor test"),
        (lambda root: (only_train(root), write_classes(root / "val" / "x", 1)), "no class of that"),
        (lambda root: shutil.rmtree(root), "no such folder"),
    ],
)
def test_folders_that_cannot_be_learnt_from(photos, tmp_path, how, reason):
    root = damage(photos, tmp_path, how)
    recipe, _ = chosen(defaults("folder"), photos, ())
    with pytest.raises(InputError) as refused:
        named("folder").data(recipe, root)
    assert reason in str(refused.value)


@pytest.fixture
def begun(trained, photos, tmp_path):
    """A run that has not ended, and a copy of its folder."""
    out, root = tmp_path / "begun", tmp_path / "photos"
    shutil.copytree(trained, out)
    shutil.copytree(photos, root)
    (out / "metrics.json").unlink()
    return out, root


@pytest.mark.traced
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda b: picture((9, 9, 9), 1).save(b / "x.png"), "'b' has 19 images and had 18; put it"),
        (lambda b: (b / "0.png").unlink(), "'b' has 17 images and had 18; put it back"),
        (lambda b: (b / "0.png").rename(b / "x.png"), "images of 'b' are others by name or size"),
        (
            lambda b: shutil.copy(b / "deep.png", b / "0.png"),
            "images of 'b' are others by name or size",
        ),
    ],
)
def test_a_run_does_not_continue_on_a_folder_that_changed(begun, trained, capsys, how, reason):
    out, root = begun
    how(root / "b")
    command = ["train", "folder", "--resume", "--data", str(root), "--out", str(out)]
    assert main([*command, "--baseline"]) == 2
    refused = capsys.readouterr().err
    assert f"{root}: has changed since the run began: {reason}" in refused
    assert refused.count("\n") == 1
    shutil.copy(trained / "metrics.json", out / "metrics.json")
    shutil.rmtree(out / "baseline")  # which must learn from the same images
    assert main([*command, "--baseline"]) == 2
    assert "has changed since the run began" in capsys.readouterr().err


@pytest.mark.traced
def test_a_run_continues_where_its_folder_is_now(begun, capsys):
    out, root = begun
    (root / "b" / "more.txt").write_text("no image")
    assert main(["train", "folder", "--resume", "--data", str(root), "--out", str(out)]) == 0
    shutil.rmtree(root)
    (out / "metrics.json").unlink()
    assert main(["train", "folder", "--resume", "--out", str(out)]) == 2
    assert "lay there, and are gone; give --data where they are" in capsys.readouterr().err


@pytest.mark.traced
def test_a_run_is_tested_on_what_is_there(trained, photos, tmp_path, capsys, monkeypatch):
    read = []
    module = "spatial_transformers.experiments.data.pictures.read_pixels"
    monkeypatch.setattr(
        module, lambda path, *a, **k: read.append(path) or read_pixels(path, *a, **k)
    )
    (tested,) = [[p for p, _ in listed(photos, 0).files["test"]]]
    assert main(["eval", str(trained), "--json"]) == 0
    assert sorted(read) == sorted(tested)  # the others are not needed
    assert not capsys.readouterr().err
    root = tmp_path / "photos"
    shutil.copytree(photos, root)
    (root / tested[0].relative_to(photos)).unlink()
    assert main(["eval", str(trained), "--data", str(root), "--json"]) == 0
    printed = capsys.readouterr()
    assert f"{root}: its test images are not those of the run" in printed.err
    assert json.loads(printed.out)


def test_both_networks_learn_from_what_is_read_once(photos, tmp_path, monkeypatch):
    read = []
    module = "spatial_transformers.experiments.data.pictures.read_pixels"
    monkeypatch.setattr(
        module, lambda path, *a, **k: read.append(path) or read_pixels(path, *a, **k)
    )
    out = tmp_path / "run"
    command = ["train", "folder", "--data", str(photos), "--epochs", "1", "--out", str(out)]
    assert main([*command, "--baseline"]) == 0
    assert len(read) == 42
    listings = []
    monkeypatch.setattr(choices, "choose", lambda *a: listings.append(a))
    assert main(command) == 2  # before files are looked at
    assert not listings


@pytest.mark.traced
@pytest.mark.parametrize("in_memory", [True, False])
def test_what_cannot_be_read_is_left_out_if_asked(photos, tmp_path, capsys, monkeypatch, in_memory):
    if not in_memory:
        monkeypatch.setattr("spatial_transformers.experiments.folder._IN_MEMORY", 0)
        monkeypatch.setattr("spatial_transformers.experiments.folder._READERS", 0)
    root, out = damage(photos, tmp_path, truncated), tmp_path / "run"
    (root / "b" / "0.png").write_text("this is no image")
    pixels = bytearray((root / "b" / "1.png").read_bytes())
    pixels[60:70] = bytes(10)  # whole, as far as its head and its end say
    (root / "b" / "1.png").write_bytes(pixels)
    command = ["train", "folder", "--data", str(root), "--epochs", "1", "--out", str(out)]
    assert main(command) == 2
    refused = capsys.readouterr().err
    assert "3 images cannot be read: b/0.png (not a PNG" in refused
    assert "give --skip-unreadable" in refused
    assert not out.exists()
    assert main([*command, "--skip-unreadable"]) == 0
    assert "left out are 4 of 42 images" in capsys.readouterr().err
    bad = ["b/0.png", "b/1.png", "c c/0.png", "c c/3.png"]
    assert json.loads((out / "data.json").read_text())["left_out"] == bad
    tests = {path.relative_to(root).as_posix() for path, _ in listed(root, 0).files["test"]}
    facts = json.loads((out / "metrics.json").read_text())
    assert facts["test_images"] == len(tests - {*bad})
    (out / "metrics.json").unlink()
    assert main(["train", "folder", "--resume", "--out", str(out)]) == 0
    (out / "metrics.json").unlink()
    size = (root / "b" / "0.png").stat().st_size
    (root / "b" / "0.png").write_bytes(b"P6 1 1 255\n" + bytes(size - 11))
    assert main(["train", "folder", "--resume", "--out", str(out)]) == 2
    refused = capsys.readouterr().err
    assert "b/0.png could not be read when the run began" in refused


def found(error, images):
    recipe = FolderRecipe(experiment="folder").as_json()
    return {"recipe": recipe, "test_error": error, "test_images": images}


@pytest.mark.parametrize(
    ("ours", "theirs", "images", "word"),
    [
        (2.0, 4.0, 10_000, "the transformer pays: 2.00 % error with it, 4.00 % without"),
        (4.0, 2.0, 10_000, "the transformer does not pay"),
        (2.0, 4.0, 100, "whether the transformer pays is open"),
        (2.0, 2.0, 10_000, "is open"),
        (0.0, 100.0, 2, "is open"),
        (0.0, 100.0, 20, "pays: 0.00 %"),
    ],
)
def test_a_verdict_needs_enough_images(ours, theirs, images, word):
    assert word in compare.verdict(found(ours, images), found(theirs, images))
