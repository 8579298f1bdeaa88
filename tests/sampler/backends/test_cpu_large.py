"""Images of more than 2³¹ values: offsets have 64 bits where they must. Behind `--all`."""

import os

import pytest
import torch

from spatial_transformers import normalise, sample

from .paths import needs_library

pytestmark = needs_library

SIDE = 46_341  # whose square is beyond 2³¹
CORNERS = [(0, 0), (3, 40_000), (23_000, 7), (46_000, 46_000), (SIDE - 2, SIDE - 2)]


@pytest.fixture(autouse=True)
def _only_if_asked_for(request):
    if not request.config.option.all:
        pytest.skip("it takes 18 GB: --all")
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if available < 20e9:
        pytest.skip(f"it takes 18 GB, and {available / 1e9:.0f} are free")


def blank(*shape):
    """Return zeros that the system gives memory when they are written."""
    return torch.zeros(shape, dtype=torch.float16)


def test_one_plane():
    """Four equal pixels about each point give their number; the gradient reaches these alone."""
    image = blank(1, 1, SIDE, SIDE)
    for k, (row, column) in enumerate(CORNERS):
        image[..., row : row + 2, column : column + 2] = k + 1
    pixels = torch.tensor([[(c + 0.5, r + 0.5) for r, c in CORNERS]], dtype=torch.float64)
    grid = normalise(pixels, (SIDE, SIDE)).float()[:, None].requires_grad_()
    found = sample(image.requires_grad_(), grid, backend="cpu")
    assert found.flatten().tolist() == [1, 2, 3, 4, 5]
    to_image, to_grid = torch.autograd.grad(found.sum(), (image, grid))
    assert not to_grid.any()
    for row, column in CORNERS:
        square = to_image[0, 0, row : row + 2, column : column + 2]
        assert abs(square.sum().item() - 1) < 2e-3  # weights are rounded to float16
        square.zero_()
    assert not any(rows.any() for rows in to_image[0, 0].split(4096))


@pytest.mark.parametrize("last", [False, True])
def test_many_channels(last):
    """Planes are small here, and lie far apart or, channels last, make far pixels."""
    channels, side = 20_000, 330
    image = (
        blank(1, side, side, channels).movedim(-1, 1) if last else blank(1, channels, side, side)
    )
    image[0, -1, -2:, -2:] = 3
    pixels = torch.tensor([[[[side - 1.5, side - 1.5], [0.5, 0.5]]]], dtype=torch.float64)
    grid = normalise(pixels, (side, side)).float()
    found = sample(image, grid, backend="cpu")
    assert found[0, -1].flatten().tolist() == [3, 0]
    assert not found[0, :-1].any()
