"""Pictures: the drawn grid is where the sampler reads, and the file is a readable PNG."""

import pytest
import torch
from PIL import Image

from spatial_transformers import Affine, InputError
from spatial_transformers._drawing import figure_of, grid_lines
from spatial_transformers.experiments.networks import build
from spatial_transformers.experiments.picture import draw, film
from spatial_transformers.experiments.task import Classification

TASK = Classification(10)
FACTS = {"size": 16, "view": 16, "classes": 10, "budget": 30_000}


def test_grid_lines():
    quarter = torch.tensor([[0.0, -1.0, 0.0, 1.0, 0.0, 0.0]])  # x' = -y, y' = x
    lines = grid_lines(Affine(), quarter)[0]
    assert torch.equal(lines[0, 0], torch.tensor([1.0, -1.0]))  # the output's top left corner
    assert torch.equal(lines[0, -1], torch.tensor([1.0, 1.0]))  # its top right


def test_normalised_images_are_seen_whole():
    """Their own range is brought to 0 to 1; the output of one is drawn in the input's."""
    images = torch.rand(2, 3, 8, 8)
    images[1] = 4 * images[1] - 2
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0]]).expand(2, -1)
    figure = figure_of(Affine(), images, images / 2, theta, ["", ""])
    drawn = [
        torch.from_numpy(axes.images[0].get_array().data).movedim(-1, 0) for axes in figure.axes
    ]
    assert torch.equal(drawn[0], images[0])
    assert torch.equal(drawn[2], images[0] / 2)
    low, high = images[1].min(), images[1].max()
    torch.testing.assert_close(drawn[1], (images[1] - low) / (high - low))
    torch.testing.assert_close(drawn[3], (images[1] / 2 - low) / (high - low))


def test_a_png_is_written(tmp_path):
    network = build("st-cnn", "affine", **FACTS).eval()
    draw(network, TASK, torch.rand(3, 1, 16, 16), torch.arange(3), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 400
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20


def test_a_gif_shows_first_and_last_step(tmp_path):
    network = build("st-cnn", "affine", **FACTS)
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0]).expand(3, -1)
    zoom = torch.stack((identity, 0.5 * identity))
    film(network, torch.rand(3, 1, 16, 16), torch.tensor([0, 9]), zoom, tmp_path / "x.gif")
    with Image.open(tmp_path / "x.gif") as picture:
        assert picture.format == "GIF"
        assert picture.n_frames == 2
        first = picture.convert("RGB")
        picture.seek(1)
        assert picture.convert("RGB").tobytes() != first.tobytes()


def test_files_stay_small(tmp_path):
    network = build("st-cnn", "affine", **FACTS).eval()
    images, steps = torch.zeros(8, 1, 16, 16), torch.arange(40)
    images[..., 3:13, 7:10] = 1  # a stroke
    angles = torch.linspace(0, 1, len(steps))[:, None].expand(-1, 8)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    thetas = torch.stack((cos, -sin, zero, sin, cos, zero), -1)
    film(network, images, steps, thetas, tmp_path / "x.gif")
    draw(network, TASK, images, torch.arange(8), tmp_path / "x.png")
    with Image.open(tmp_path / "x.gif") as picture:
        frames = picture.n_frames
    assert frames < len(steps)
    assert (tmp_path / "x.gif").stat().st_size < 25_000 * frames
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.mode == "P"
    assert (tmp_path / "x.png").stat().st_size < 40_000


def test_refusals(tmp_path):
    images, labels = torch.rand(1, 1, 16, 16), torch.zeros(1)
    with pytest.raises(InputError, match="no spatial transformer"):
        draw(build("cnn", "affine", **FACTS), TASK, images, labels, tmp_path / "x.png")
    with pytest.raises(InputError, match=r"ends in \.png"):
        draw(build("st-cnn", "affine", **FACTS), TASK, images, labels, tmp_path / "x.gif")
