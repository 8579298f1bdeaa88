"""`sample` computes eq. 3 for every option; oracles: `F.grid_sample`, and plain loops of eq. 3."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from spatial_transformers import sample

from .oracles import (
    NAMES,
    PADDINGS,
    SOURCES,
    TARGETS,
    TORCH_PADDINGS,
    equation_3,
    exact_size,
    gradients,
    grid_sample,
    normalise,
    off_kinks,
    on_kinks,
)

backends = pytest.mark.parametrize("backend", NAMES)
modes = pytest.mark.parametrize("mode", ["nearest", "bilinear"])
corners = pytest.mark.parametrize("align_corners", [False, True])
dimensions = pytest.mark.parametrize("ndim", [2, 3])
paddings = pytest.mark.parametrize("padding_mode", PADDINGS)
torch_paddings = pytest.mark.parametrize("padding_mode", TORCH_PADDINGS)


def _image(n, size, dtype=torch.float64):
    return torch.randn(n, 2, *size, dtype=dtype)


def _fill(padding_mode, value=0.7):
    return value if padding_mode == "constant" else None


def _agree(image, grid, backend, **options):
    """Compare values and gradients with those of `F.grid_sample`."""
    found = gradients(lambda u, g: sample(u, g, backend=backend, **options), image, grid)
    assert_close(found, gradients(lambda u, g: grid_sample(u, g, **options), image, grid))


@backends
@modes
@torch_paddings
@corners
@dimensions
def test_agrees_with_grid_sample(backend, mode, padding_mode, align_corners, ndim):
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    source, target = SOURCES[ndim], TARGETS[ndim]
    grid = normalise(off_kinks(2, source, target), source, align_corners)
    _agree(_image(2, source), grid, backend, **options)
    _agree(_image(2, source), grid * 3, backend, **options)


@backends
@modes
@torch_paddings
@corners
@dimensions
def test_agrees_with_grid_sample_on_kinks(backend, mode, padding_mode, align_corners, ndim):
    source = exact_size(ndim, align_corners)
    grid = normalise(on_kinks(2, source, (5, 4, 6)[:ndim]), source, align_corners)
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    for dtype in (torch.float64, torch.float32):
        _agree(_image(2, source, dtype), grid.to(dtype), backend, **options)


@torch_paddings
@corners
@pytest.mark.parametrize("size", [(11, 7), (2, 3), (29, 50), (3, 7, 5)])
def test_aten_rounds_to_the_side_of_a_kink_that_torch_does(padding_mode, align_corners, size):
    """The float32 identity: `grid_sample` contracts on some CPUs, so no other backend can."""
    theta = torch.eye(len(size), len(size) + 1)[None]
    grid = F.affine_grid(theta, [1, 1, *size], align_corners=align_corners)
    options = {"padding_mode": padding_mode, "align_corners": align_corners}
    _agree(_image(1, size, torch.float32), grid, "aten", **options)


@pytest.mark.parametrize("ndim", [1, 4])
@modes
@paddings
@corners
def test_any_number_of_dimensions(ndim, mode, padding_mode, align_corners):
    source, target = (3, 2, 4, 2)[-ndim:], (1, 2, 2, 3)[-ndim:]
    image, pixels = _image(2, source), off_kinks(2, source, target)
    grid = normalise(pixels, source, align_corners)
    fill = _fill(padding_mode)
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    found = sample(image, grid, fill_value=fill, **options)
    assert_close(found, equation_3(image, pixels, mode, padding_mode, align_corners, fill or 0.0))


@backends
@modes
@corners
@dimensions
@pytest.mark.parametrize("fill", [-1.5, (0.5, 2.0), torch.tensor([3.0, -2.0])])
def test_constant_fill(backend, mode, align_corners, ndim, fill):
    source, target = SOURCES[ndim], TARGETS[ndim]
    image = _image(2, source)
    grid = normalise(off_kinks(2, source, target), source, align_corners)
    options = {"mode": mode, "padding_mode": "constant", "align_corners": align_corners}
    per_channel = torch.as_tensor(fill, dtype=image.dtype).expand(2)

    def found(u, g):
        return sample(u, g, fill_value=fill, backend=backend, **options)

    due = gradients(lambda u, g: grid_sample(u, g, fill=per_channel, **options), image, grid)
    assert_close(gradients(found, image, grid), due)
    assert_close(found(image, grid + 9), per_channel.reshape(-1, *[1] * ndim).expand_as(due[0]))
