"""`stn warp`: Pillow's own rotation, shift and crop as oracle; every refusal is one line."""

import json
import os
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from spatial_transformers import FAMILIES, make_transformation
from spatial_transformers.commands import main


def smooth(shape, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, channels), dtype=np.uint8).squeeze())
    return small.resize(shape[::-1], Image.Resampling.BICUBIC)


@pytest.fixture
def photo(tmp_path):
    smooth((40, 60)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def warp(source, out, *options):
    assert main(["warp", str(source), "--out", str(out), *map(str, options)]) == 0
    with Image.open(out) as image:
        return np.asarray(image).astype(int)


def test_identity_keeps_every_bit(photo, tmp_path):
    assert np.array_equal(warp(photo, tmp_path / "o.png"), np.asarray(Image.open(photo)))


def test_ppm_is_read_and_written(photo, tmp_path):
    """Oracle: OpenCV's reading."""
    warp(photo, tmp_path / "o.ppm")
    assert np.array_equal(cv2.imread(tmp_path / "o.ppm"), cv2.imread(photo))
    assert np.array_equal(
        warp(tmp_path / "o.ppm", tmp_path / "o.png"), np.asarray(Image.open(photo))
    )


@pytest.mark.parametrize("degrees", [30, -75, 180])
@pytest.mark.parametrize("corners", [(), ("--align-corners",)])
def test_rotation(photo, tmp_path, degrees, corners):
    turned = warp(photo, tmp_path / "o.png", "--rotate", degrees, *corners)
    expected = Image.open(photo).rotate(degrees, Image.Resampling.BILINEAR)
    inside = Image.new("L", (60, 40), 255).rotate(degrees) == np.asarray(255)
    inside = np.asarray(Image.new("L", (60, 40), 255).rotate(degrees)) == 255
    eroded = inside & np.roll(inside, 2, 0) & np.roll(inside, -2, 0) & np.roll(inside, 2, 1)
    eroded &= np.roll(inside, -2, 1)
    eroded[:2] = eroded[-2:] = False
    eroded[:, :2] = eroded[:, -2:] = False
    assert abs(turned - np.asarray(expected).astype(int))[eroded].max() <= 1


def test_translation(photo, tmp_path):
    moved = warp(photo, tmp_path / "o.png", "--translate", 7, -3)
    source = np.asarray(Image.open(photo)).astype(int)
    assert np.array_equal(moved[:37, 7:], source[3:, :-7])
    assert not moved[37:].any()
    assert not moved[:, :7].any()


def test_scale_grows_the_picture(photo, tmp_path):
    grown = warp(photo, tmp_path / "o.png", "--scale", 2)
    expected = Image.open(photo).resize((60, 40), Image.Resampling.BILINEAR, box=(15, 10, 45, 30))
    assert abs(grown - np.asarray(expected).astype(int))[1:-1, 1:-1].max() <= 1


def test_a_smaller_picture_is_antialiased_as_by_pillow(photo, tmp_path):
    options = ("--size", 8, 12, "--mode", "lanczos3", "--antialias")
    small = warp(photo, tmp_path / "o.png", *options, "--padding-mode", "renormalise")
    due = Image.open(photo).resize((12, 8), Image.Resampling.LANCZOS)
    assert abs(small - np.asarray(due).astype(int)).max() <= 1


def test_all_together_compose_in_the_said_order(photo, tmp_path):
    """Growth, then turn, then translation."""
    once = warp(photo, tmp_path / "o.png", "--rotate", 90, "--translate", 5, 0, "--size", 60, 60)
    warp(photo, tmp_path / "turned.png", "--rotate", 90, "--size", 60, 60)
    twice = warp(tmp_path / "turned.png", tmp_path / "p.png", "--translate", 5, 0)
    assert abs(once - twice).max() <= 1


def test_theta_crops(photo, tmp_path):
    crop = warp(
        photo, tmp_path / "o.png", "--transformation", "attention",
        "--theta", 0.5, 0.5, -0.5, "--size", 20, 30,
    )  # fmt: skip
    assert np.array_equal(crop, np.asarray(Image.open(photo))[:20, 30:])


def test_negative_numbers_are_no_options(photo, tmp_path):
    """On Python 3.10 to 3.13 argparse takes -1e-3 for an option."""
    theta = ["1", "-1e-3", "-.5e-1", "-0.0", "1e0", "-1E-3"]
    found = warp(photo, tmp_path / "o.png", "--theta", *theta)
    decimal = warp(photo, tmp_path / "o.png", "--theta", *(f"{float(t):f}" for t in theta))
    assert np.array_equal(found, decimal)


def test_constant_fill(photo, tmp_path):
    moved = warp(
        photo, tmp_path / "o.png", "--translate", 10, 0,
        "--padding-mode", "constant", "--fill", 255, 128, 0,
    )  # fmt: skip
    assert (moved[:, :9] == (255, 128, 0)).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "1", "P"])
def test_modes(tmp_path, mode):
    image = smooth((12, 10), 4) if "A" in mode else smooth((12, 10), 3)
    if mode == "I;16":
        image = Image.fromarray((np.arange(120).reshape(12, 10) * 500).astype(np.uint16))
    elif mode == "LA":
        image = Image.merge("LA", image.split()[2:])
    elif mode != "RGBA":
        image = image.convert(mode)
    image.save(tmp_path / "i.png")
    kept = warp(tmp_path / "i.png", tmp_path / "o.png")
    expected = np.asarray(image.convert({"1": "L", "P": "RGB"}.get(mode, mode))).astype(int)
    seen = kept[..., -1:] > 0 if "A" in mode else np.ones_like(kept, bool)
    assert np.array_equal(kept * seen, expected * seen)


@pytest.mark.parametrize("name", [*FAMILIES, "attention+rigid"])
def test_every_family_by_name(photo, tmp_path, name):
    identity = make_transformation(name).identity().tolist()
    plain = warp(photo, tmp_path / "o.png", "--transformation", name)
    original = np.asarray(Image.open(photo)).astype(int)
    assert np.array_equal(plain, original) != ("polar" in name)
    (tmp_path / "theta.json").write_text(json.dumps(identity))
    read = warp(photo, tmp_path / "o.png", "--transformation", name, "--theta-file",
                tmp_path / "theta.json")  # fmt: skip
    assert np.array_equal(read, plain)
    drawn = [
        warp(photo, tmp_path / "o.png", "--transformation", name, "--random", 0.1, "--seed", seed)
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], plain)


def test_transparent_edges_are_not_darkened(tmp_path):
    Image.new("RGBA", (20, 20), (200, 100, 50, 255)).save(tmp_path / "i.png")
    turned = warp(tmp_path / "i.png", tmp_path / "o.png", "--rotate", 30)
    partly = (turned[..., 3] > 8) & (turned[..., 3] < 247)
    assert partly.sum() > 20
    assert abs(turned[partly][:, :3] - (200, 100, 50)).max() <= 12


def test_a_translucent_fill_comes_out_as_asked(tmp_path):
    smooth((12, 10), 4).save(tmp_path / "i.png")
    moved = warp(
        tmp_path / "i.png", tmp_path / "o.png", "--translate", 5, 0,
        "--padding-mode", "constant", "--fill", 200, 100, 50, 128,
    )  # fmt: skip
    assert (moved[:, :5] == (200, 100, 50, 128)).all()


@pytest.mark.parametrize("suffix", ["png", "tiff", "tif", "bmp", "webp", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_formats(photo, tmp_path, suffix, mode):
    if mode == "RGBA" and suffix in ("bmp", "jpeg"):
        mode = "RGB"
    with Image.open(photo) as image:
        lossless = {"lossless": True} if suffix == "webp" else {"quality": 95}
        image.convert(mode).save(tmp_path / f"i.{suffix}", **lossless)
    kept = warp(tmp_path / f"i.{suffix}", tmp_path / f"o.{suffix}")
    with Image.open(tmp_path / f"i.{suffix}") as due, Image.open(tmp_path / f"o.{suffix}") as found:
        assert found.format == due.format
        expected = np.asarray(due.convert("L" if mode == "L" else due.mode)).astype(int)
    if expected.ndim < kept.ndim:  # WebP has colours only
        expected = expected[..., None]
    assert abs(kept - expected).max() <= (16 if suffix == "jpeg" else 0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_profile_and_resolution_are_kept(photo, tmp_path, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    with Image.open(photo) as image:
        image.save(tmp_path / f"i.{suffix}", icc_profile=profile, dpi=(300, 150))
    warp(tmp_path / f"i.{suffix}", tmp_path / f"o.{suffix}", "--rotate", 3)
    with Image.open(tmp_path / f"o.{suffix}") as found:
        assert found.info["icc_profile"] == profile
        if suffix != "webp":  # which has no resolution
            assert np.allclose([float(n) for n in found.info["dpi"]], (300, 150), atol=0.1)


def test_a_cap_that_bites_is_told(photo, tmp_path, capsys):
    for options, told in (((), True), (("--max-shrink", 20), False)):
        warp(photo, tmp_path / "o.png", "--size", 2, 3, "--antialias", *options)
        assert ("shrinks by up to 20" in capsys.readouterr().err) == told


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: shown upright at 90° clockwise
    smooth((12, 30)).save(tmp_path / "i.jpg", exif=exif)
    assert warp(tmp_path / "i.jpg", tmp_path / "o.jpg").shape == (30, 12, 3)


REFUSALS = {
    "no such file": (["none.png", "--out", "o.png"], "No such file"),
    "not an image": (["text.png", "--out", "o.png"], "not a PNG, JPEG"),
    "pages": (["pages.tiff", "--out", "o.png"], "holds 2 pictures"),
    "sixteen bits": (["deep.png", "--out", "o.png"], "colours of 16 bits"),
    "sixteen bits, PPM": (["deep.ppm", "--out", "o.png"], "values of more than 8 bits"),
    "sixteen bits, grey PPM": (["deep.pgm", "--out", "o.png"], "values of more than 8 bits"),
    "floats, PPM": (["float.pfm", "--out", "o.png"], "values of more than 8 bits"),
    "pipe": (["pipe.png", "--out", "o.png"], "no regular file"),
    "truncated": (["cut.png", "--out", "o.png"], "damaged image file"),
    "width of theta": (["p.png", "--out", "o.png", "--theta", "1", "2"], "m11 m12 tx"),
    "mode": (["p.png", "--out", "o.png", "--mode", "cubic"], "known modes: nearest, bilinear"),
    "fill": (["p.png", "--out", "o.png", "--fill", "3"], "goes with 'constant'"),
    "ending": (["p.png", "--out", "o.gif"], "written as .png"),
    "no folder": (["p.png", "--out", "none/o.png"], "none/o.png"),
    "scale": (["p.png", "--out", "o.png", "--scale", "0"], "other than 0"),
    "size": (["p.png", "--out", "o.png", "--size", "0", "9"], "--size [0, 9]"),
    "huge size": (["p.png", "--out", "o.png", "--size", "99999", "99999"], "--size"),
    "family": (["p.png", "--out", "o.png", "--transformation", "x"], "known: translation, rigid"),
    "part of a chain": (["p.png", "--out", "o.png", "--transformation", "rigid+x"], "'rigid+x'"),
    "family and turn": (
        ["p.png", "--out", "o.png", "--rotate", "3", "--transformation", "rigid"],
        "neither with θ nor with families",
    ),
    "theta file": (["p.png", "--out", "o.png", "--theta-file", "text.png"], "no JSON list"),
    "no theta file": (["p.png", "--out", "o.png", "--theta-file", "none.json"], "No such file"),
    "theta not finite": (["p.png", "--out", "o.png", "--theta-file", "nan.json"], "entry 5 is nan"),
    "theta no list": (["p.png", "--out", "o.png", "--theta-file", "text.json"], "not a list"),
    "random spread": (["p.png", "--out", "o.png", "--random", "-1"], "from 0 to"),
    "seed": (["p.png", "--out", "o.png", "--random", "1", "--seed", "-3"], "seed from 0"),
    "random": (["p.png", "--out", "o.png", "--random", "inf"], "not finite"),
    "alpha": (["rgba.png", "--out", "o.jpg"], "JPEG does not hold transparency"),
    "alpha in BMP": (["rgba.png", "--out", "o.bmp"], "BMP does not hold transparency"),
    "tiny scale": (["p.png", "--out", "o.png", "--scale", "1e-320"], "other than 0"),
    "much fill": (
        ["p.png", "--out", "o.png", "--padding-mode", "constant", "--fill", "300"],
        "from 0 to 255",
    ),
    "negative fill": (
        ["p.png", "--out", "o.png", "--padding-mode", "constant", "--fill", "-5"],
        "from 0 to 255",
    ),
    "endless theta": (["p.png", "--out", "o.png", "--theta-file", "/dev/zero"], "no regular"),
    "no antialias": (["p.png", "--out", "o.png", "--max-shrink", "9"], "give both"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.traced
def test_refusals(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    smooth((40, 60)).save("p.png")
    smooth((4, 6), 4).save("rgba.png")
    (tmp_path / "text.png").write_text("hello")
    os.mkfifo("pipe.png")
    smooth((4, 6)).save("pages.tiff", save_all=True, append_images=[smooth((4, 6), seed=1)])
    for deep in ("deep.png", "deep.ppm"):
        cv2.imwrite(deep, np.zeros((4, 6, 3), np.uint16))
    cv2.imwrite("deep.pgm", np.zeros((4, 6), np.uint16))
    cv2.imwrite("float.pfm", np.zeros((4, 6), np.float32))
    (tmp_path / "text.json").write_text('{"1": 2}')
    (tmp_path / "nan.json").write_text("[1, 0, 0, 0, 1, NaN]")
    (tmp_path / "cut.png").write_bytes((tmp_path / "p.png").read_bytes()[:-400])
    arguments, reason = REFUSALS[name]
    before = sorted(tmp_path.iterdir())
    assert main(["warp", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert reason in printed.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_nothing(photo, tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    code = "from spatial_transformers.commands import main; import sys; sys.exit(main())"
    arguments = ["warp", str(photo), "--rotate", "9", "--out", str(tmp_path / "o.png")]
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],
        preexec_fn=small_files, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "o.png: File too large" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_many_files_in_one_go(photo, tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.png", "deeper/b.png"):
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "c.png").write_bytes(photo.read_bytes()[:60])
    (folder / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    assert main(["warp", str(folder), str(photo), "--rotate", "30", "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "c.png: damaged" in printed.err
    due = warp(photo, tmp_path / "one.png", "--rotate", 30)
    for name in ("a.png", "deeper/b.png", "photo.png"):
        assert str(out / name) in printed.out
        with Image.open(out / name) as image:
            assert np.array_equal(np.asarray(image).astype(int), due)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["{0}/photo.png", "{0}", "--out", "{0}"], "would be replaced"),
        (["{0}", "--out", "{0}/o", "--rotate", "nan"], "not finite"),
    ],
)
def test_many_files_are_refused_once(photo, tmp_path, capsys, options, reason):
    (tmp_path / "other.png").write_bytes(photo.read_bytes())
    assert main(["warp", *(option.format(tmp_path) for option in options)]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert reason in printed
