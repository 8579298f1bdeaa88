"""The page's pictures and words; oracles: torch's sampling, the run's own network, and labels."""

import base64
import math

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from spatial_transformers import FAMILIES, Affine, InputError, warp
from spatial_transformers import _tensors as tensors
from spatial_transformers.commands import main
from spatial_transformers.experiments.data.digits import shipped
from spatial_transformers.experiments.page import explain, pictures
from spatial_transformers.experiments.page.view import DIGITS, Moves, Straightener, moved
from spatial_transformers.experiments.registry import defaults, named
from spatial_transformers.experiments.run import load
from spatial_transformers.sampler.padding import PADDING_MODES


@pytest.fixture(scope="module")
def digits():
    return Straightener()


def as_drawn(image, side=280, size=150, corner=(20, 90)):
    """Return a digit (1, 8, 8) in black on white, small and off the middle, as (1, side, side)."""
    page = torch.ones(1, side, side)
    (top, left), digit = corner, F.interpolate(image[None], size, mode="bilinear")[0]
    page[:, top : top + size, left : left + size] -= digit
    return page


def untrained(folder, experiment, **facts):
    """Write a run of a network as it begins."""
    from spatial_transformers._files import write_json

    recipe = defaults(experiment, **facts)
    folder.mkdir()
    write_json(folder / "recipe.json", recipe.as_json())
    tensors.write(folder / "model.safetensors", named(experiment).network(recipe).state_dict())
    return folder


def test_sliders_that_rest_leave_the_image():
    for size in ((240, 240), (40, 60)):
        canvas = torch.rand(1, 3, *size)
        assert torch.equal(moved(canvas, Moves()), canvas)


@pytest.mark.parametrize("turn", [30, -75, 180])
@pytest.mark.parametrize(("scale", "right", "down"), [(1, 0, 0), (1.25, 10, -20)])
def test_a_digit_goes_where_torch_says(digits, turn, scale, right, down):
    canvas, angle = digits.sample(3), math.radians(turn)
    back = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    back = back / scale
    shift = torch.tensor([right / 50, down / 50])
    theta = torch.cat((back, -(back @ shift)[:, None]), 1)[None]
    grid = F.affine_grid(theta, list(canvas.shape), align_corners=False)
    expected = F.grid_sample(canvas, grid, align_corners=False)
    found = moved(canvas, Moves(turn, scale, right=right, down=down))
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_quarter_turn_is_counter_clockwise_and_keeps_angles():
    assert torch.allclose(
        moved(canvas := torch.rand(1, 1, 24, 24), Moves(turn=90)),
        canvas.rot90(1, (2, 3)),
        atol=1e-4,
    )
    wide = torch.zeros(1, 1, 20, 60)
    wide[..., 9:11, 20:40] = 1  # a bar of 2 × 20 pixels stands upright
    assert moved(wide, Moves(turn=90))[0, 0, :, 29:31].sum() == pytest.approx(40, abs=0.1)


def test_shear_leans_to_the_right_and_bend_lowers_the_sides():
    bars = torch.zeros(1, 1, 101, 101)
    bars[..., 50] = 1
    column = moved(bars, Moves(shear=0.5))[0, 0].argmax(1)
    assert column[10] - column[90] == pytest.approx(40, abs=1)
    row = moved(bars.mT.contiguous(), Moves(bend=20))[0, 0].argmax(0)
    assert row[0] - row[50] == row[100] - row[50] == pytest.approx(20, abs=1)


def test_predictions_are_those_of_the_runs_network(digits):
    network, moves = load(DIGITS)[1], Moves(turn=-40, bend=5)
    for number in range(3):
        canvas = digits.sample(number)
        seen = F.avg_pool2d(moved(canvas, moves), 15)
        assert seen.shape == (1, 1, 16, 16)
        with torch.no_grad():
            logits, theta = network(seen)
        found = digits(canvas, moves)
        assert [*found.classes.values()] == pytest.approx(logits[0].softmax(0).tolist())
        rotation = Affine().describe(theta)["rotation (deg)"].item()
        assert found.words.splitlines()[0] == f"rotation (deg) {rotation:+.0f}"
        straight = warp(moved(canvas, moves), theta, Affine())[0]
        assert found.straight.tobytes() == pictures.shown(straight).tobytes()


def test_what_ships_reads_digits_that_it_has_not_learnt(digits):
    test = shipped(None, "rotated-digits").test
    right, turned = 0, 0
    for number in range(40):
        label = str(test.targets[number].item())
        drawn = digits.canvas(as_drawn(test.inputs[number].float() / 255))
        for canvas, turn in ((drawn, 0), (digits.sample(number), 9 * number - 180)):
            classes = digits(canvas, Moves(turn=turn / 2)).classes
            right += turn == 0 and max(classes, key=classes.get) == label
            turned += turn != 0 and max(classes, key=classes.get) == label
    assert right >= 36
    assert turned >= 36
    assert sum(path.stat().st_size for path in DIGITS.iterdir()) < 1 << 20


@pytest.mark.parametrize("coarse", [False, True])
def test_ink_is_cut_out_whatever_its_paper(coarse):
    test = shipped(None, "rotated-digits").test
    drawn = as_drawn(test.inputs[0].float() / 255)
    cut = pictures.cut_out(drawn, (240, 240), coarse=coarse)
    again = as_drawn(test.inputs[0].float() / 255, corner=(110, 10))
    for other in (1 - drawn, 0.2 + 0.6 * drawn, drawn.expand(3, -1, -1), again):
        found = pictures.cut_out(other, (240, 240), coarse=coarse)
        assert torch.allclose(found, cut, atol=0.02)
    assert cut.max() == 1
    assert cut[..., :15, :].max() == 0


def test_thin_strokes_are_thickened():
    page = torch.ones(1, 280, 280)
    page[:, 40:240, 138:142] = 0
    for coarse, share in ((False, pictures.PEN), (True, pictures.COARSE_PEN)):
        found = pictures.cut_out(page, (240, 240), coarse=coarse)[0, 0, 120]
        assert found.sum() == pytest.approx(share * 180, rel=0.15)


@pytest.mark.parametrize(
    ("experiment", "facts"),
    [
        ("folder", {"classes": "a/b", "height": 16, "width": 24}),
        ("gtsrb", {"signs": "generated"}),
        ("house-numbers", {"model": "st-cnn", "budget": 600_000}),
        ("two-parts", {}),
        ("inverse-compositional", {}),
    ],
)
def test_other_runs_are_shown_too(tmp_path, experiment, facts):
    straighten = Straightener(untrained(tmp_path / "run", experiment, **facts))
    page = torch.ones(1, 50, 70)
    page[:, 10:30, 20:26] = 0.1
    found = straighten(straighten.canvas(page))
    assert found.words.count("translation x (%)") == (2 if experiment == "two-parts" else 1)
    assert all(0 <= p <= 1 for p in found.classes.values())
    assert found.straight.width > 100


@pytest.mark.traced
@pytest.mark.parametrize(
    ("experiment", "facts", "reason"),
    [
        ("rotated-digits", {"model": "cnn"}, "has no transformer; give a run of an st- model"),
        ("mnist-3d", {}, "does not classify one flat image; give a run of: rotated-digits, "),
        ("mnist-addition", {}, "does not classify one flat image"),
        ("colocalisation", {}, "does not classify one flat image"),
    ],
)
def test_runs_that_do_not_fit_are_refused(tmp_path, capsys, experiment, facts, reason):
    run = untrained(tmp_path / "run", experiment, **facts)
    assert main(["page", str(run), "--port", "0"]) == 2
    _, refused = capsys.readouterr().err.splitlines()
    assert refused.startswith(f"stn page: {run}: ")
    assert reason in refused


def test_files_are_read_over_white(tmp_path):
    image = Image.new("RGBA", (900, 300), (255, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 450, 300))
    image.save(tmp_path / "half.png")
    found = pictures.read(tmp_path / "half.png")
    assert found.shape == (3, 171, 512)
    assert found[:, 80, 100].tolist() == [1, 0, 0]
    assert found[:, 80, 500].tolist() == [1, 1, 1]


@pytest.mark.traced
def test_files_beyond_the_limits_are_refused(tmp_path):
    files = {
        "none.png": (lambda path: path.write_bytes(b"none"), "none.png: not a PNG, JPEG"),
        "long.png": (lambda path: path.write_bytes(bytes((10 << 20) + 1)), "give at most 10 MB"),
        "wide.png": (lambda path: Image.new("1", (4097, 4096)).save(path), "4097×4096 pixels"),
        "bomb.png": (lambda path: Image.new("1", (9000, 9000)).save(path), "too large"),
        "film.png": (
            lambda path: Image.new("L", (9, 9)).save(
                path, save_all=True, append_images=[Image.new("L", (9, 9), 9)]
            ),
            "holds 2 pictures",
        ),
        "gone.png": (lambda path: None, "gone.png: No such file"),
    }
    for name, (write, reason) in files.items():
        write(tmp_path / name)
        with pytest.raises(InputError) as refused:
            pictures.read(tmp_path / name)
        assert reason in str(refused.value)
        assert str(refused.value).startswith(f"{name}: ")


@pytest.mark.traced
@pytest.mark.parametrize(
    "url", ["", "data:image/png;base64,%", "data:text/html;base64,AAAA", "/etc/passwd"]
)
def test_a_damaged_drawing_is_refused(url):
    with pytest.raises(InputError, match="the drawing is damaged"):
        pictures.read_drawing(url)


def test_a_drawing_is_a_png(tmp_path):
    Image.new("L", (30, 20), 51).save(tmp_path / "drawing.png")
    content = base64.b64encode((tmp_path / "drawing.png").read_bytes()).decode()
    found = pictures.read_drawing(f"data:image/png;base64,{content}")
    assert torch.equal(found, torch.full((1, 20, 30), 0.2))


@pytest.mark.traced
def test_empty_paper_and_odd_numbers_are_refused(digits):
    with pytest.raises(InputError, match="nothing is to be seen"):
        digits.canvas(torch.ones(1, 280, 280))
    for moves in (Moves(turn=math.nan), Moves(scale=0)):
        with pytest.raises(InputError, match="give finite numbers, and a scale above 0"):
            digits(digits.sample(0), moves)
    for given in ({"values": [1.0]}, {"values": [math.inf] * 6}):
        with pytest.raises(InputError, match="affine needs 6 finite ones"):
            explain.theta_of("affine", **given)
    for given in ({"strength": 9.0}, {"seed": -1}):
        with pytest.raises(InputError, match="strength"):
            explain.theta_of("cpab", **given)


def test_paddings_are_those_of_the_sampler():
    assert explain.PADDING_MODES == PADDING_MODES


@pytest.mark.parametrize("name", FAMILIES)
def test_families_begin_as_the_identity_and_follow_their_sliders(name):
    known = explain.knobs(name)
    family, theta = explain.theta_of(name, [knob.start for knob in known])
    assert torch.equal(theta[0], family.identity())
    assert len(known) == (family.num_parameters if family.num_parameters <= 10 else 0)
    if known:
        ends = [explain.theta_of(name, [getattr(k, end) for k in known]) for end in ("low", "high")]
        thetas = [theta for _, theta in ends]
    else:
        thetas = [explain.theta_of(name, strength=0.2, seed=seed)[1] for seed in (0, 1)]
        assert torch.equal(thetas[0], explain.theta_of(name, strength=0.2, seed=0)[1])
    assert not torch.equal(*thetas)
    image = torch.rand(3, 32, 40)
    for theta in thetas:
        found = explain.explain(image, family, theta, mode="bilinear", padding_mode="border")
        expected = warp(image[None], theta, family, padding_mode="border")[0]
        assert found.output.tobytes() == pictures.shown(expected).tobytes()
        assert found.words


def test_angles_are_degrees():
    (_, theta), rotation = explain.theta_of("rigid", [90.0, 0, 0]), explain.knobs("rigid")[0]
    assert rotation.label == "rotation (deg)"
    assert theta[0, 0] == pytest.approx(math.pi / 2)


def test_samples_ship():
    for image in explain.samples().values():
        assert image.shape[0] in (1, 3)
        assert max(image.shape) <= 256
