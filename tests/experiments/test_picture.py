"""Pictures: the drawn grid is where the sampler reads, and the file is a readable PNG."""

import pytest
import torch
from PIL import Image

from spatial_transformers import Affine, InputError
from spatial_transformers.experiments.networks import build
from spatial_transformers.experiments.picture import draw, film, grid_lines

FACTS = {"size": 16, "view": 16, "classes": 10, "budget": 30_000}


def test_grid_lines():
    quarter = torch.tensor([[0.0, -1.0, 0.0, 1.0, 0.0, 0.0]])  # x' = -y, y' = x
    lines = grid_lines(Affine(), quarter)[0]
    assert torch.equal(lines[0, 0], torch.tensor([1.0, -1.0]))  # the output's top left corner
    assert torch.equal(lines[0, -1], torch.tensor([1.0, 1.0]))  # its top right


def test_a_png_is_written(tmp_path):
    network = build("st-cnn", "affine", **FACTS).eval()
    draw(network, torch.rand(3, 1, 16, 16), torch.arange(3), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 400
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 50


def test_a_gif_shows_every_step(tmp_path):
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


def test_refusals(tmp_path):
    images, labels = torch.rand(1, 1, 16, 16), torch.zeros(1)
    with pytest.raises(InputError, match="no spatial transformer"):
        draw(build("cnn", "affine", **FACTS), images, labels, tmp_path / "x.png")
    with pytest.raises(InputError, match=r"ends in \.png"):
        draw(build("st-cnn", "affine", **FACTS), images, labels, tmp_path / "x.gif")
