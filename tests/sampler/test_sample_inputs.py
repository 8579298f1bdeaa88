"""`sample` takes any dtype, batch, stride and number; oracles: `F.grid_sample`, the fill."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spatial_transformers import Affine, InputError, sample, warp

from .oracles import (
    NAMES,
    PADDINGS,
    SOURCES,
    TARGETS,
    gradients,
    grid_sample,
    normalise,
    off_kinks,
)

backends = pytest.mark.parametrize("backend", NAMES)
modes = pytest.mark.parametrize("mode", ["nearest", "bilinear"])
corners = pytest.mark.parametrize("align_corners", [False, True])
dimensions = pytest.mark.parametrize("ndim", [2, 3])
paddings = pytest.mark.parametrize("padding_mode", PADDINGS)


def _image(n, size, dtype=torch.float64):
    return torch.randn(n, 2, *size, dtype=dtype)


def _fill(padding_mode, value=0.7):
    return value if padding_mode == "constant" else None


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.bool])
@paddings
@corners
@dimensions
def test_integers_are_copied_not_computed_with(dtype, padding_mode, align_corners, ndim):
    source, fill = SOURCES[ndim], _fill(padding_mode, 1)
    small = torch.randint(2 if dtype == torch.bool else 100, (2, 2, *source))
    low = 2**53 if dtype == torch.int64 else 0  # float64 has no odd numbers above
    grid = normalise(off_kinks(2, source, TARGETS[ndim]), source, align_corners)
    options = {"mode": "nearest", "align_corners": align_corners}
    found = sample(
        (small + low).to(dtype), grid, padding_mode=padding_mode, fill_value=fill, **options
    )

    torch_padding = "zeros" if padding_mode == "constant" else padding_mode
    due = grid_sample(small.double(), grid, padding_mode=torch_padding, **options).long() + low
    if torch_padding == "zeros":
        covered = grid_sample(torch.ones(small.shape).double(), grid, **options) == 1
        due = due.where(covered, fill or 0)
    assert found.dtype == dtype
    assert torch.equal(found, due.to(dtype))


def test_an_integer_fill_is_exact():
    image, outside = torch.zeros(1, 1, 2, 2, dtype=torch.int64), torch.full((1, 1, 1, 2), 9.0)
    options = {"mode": "nearest", "padding_mode": "constant"}
    for fill in (2**53 + 1, [2**53 + 1], torch.tensor(2**53 + 1)):
        assert sample(image, outside, fill_value=fill, **options).item() == 2**53 + 1


@backends
@modes
@paddings
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_images_with_float32_grids(backend, mode, padding_mode, dtype):
    image, fill = _image(2, (9, 200), dtype), _fill(padding_mode)
    grid = normalise(off_kinks(2, (9, 200), (5, 6)), (9, 200), False).float()
    options = {"mode": mode, "padding_mode": padding_mode}
    values, to_image, to_grid = gradients(
        lambda u, g: sample(u, g, fill_value=fill, backend=backend, **options), image, grid
    )
    assert (values.dtype, to_image.dtype, to_grid.dtype) == (dtype, dtype, torch.float32)
    due = gradients(
        lambda u, g: grid_sample(u.float(), g, fill=fill, **options).to(dtype), image, grid
    )
    assert_close([values, to_image], due[:2])
    scale = due[2].abs().max().item()
    assert_close(to_grid, due[2], rtol=0, atol=scale * torch.finfo(dtype).eps)


@backends
def test_half_precision_grids_are_widened(backend):
    image, grid = _image(1, (5, 4), torch.float32), torch.rand(1, 3, 3, 2).bfloat16()
    found = sample(image, grid, backend=backend)
    assert torch.equal(found, sample(image, grid.float(), backend=backend))


@backends
@dimensions
@pytest.mark.parametrize(("images", "grids"), [(1, 3), (3, 1), (0, 1), (1, 0), (0, 0)])
def test_a_batch_of_one_serves_all(backend, ndim, images, grids):
    source, target, n = SOURCES[ndim], TARGETS[ndim], min(images, grids) and max(images, grids)
    image, grid = _image(images, source), torch.rand(grids, *target, ndim).double() * 3 - 1.5

    def expanded(u, g):
        u, g = (t.expand(n, *t.shape[1:]) for t in (u, g))
        return sample(u, g, backend=backend)

    found = gradients(lambda u, g: sample(u, g, backend=backend), image, grid)
    assert found[0].shape == (n, 2, *target)
    assert_close(found, gradients(expanded, image, grid))


@backends
@paddings
@dimensions
def test_strides_do_not_matter(backend, padding_mode, ndim):
    source, target = SOURCES[ndim], TARGETS[ndim]
    image, grid = _image(3, source), torch.rand(3, *target, ndim).double() * 3 - 1.5

    def call(u, g):
        fill = _fill(padding_mode)
        return sample(u, g, padding_mode=padding_mode, fill_value=fill, backend=backend)

    def strided(u, g):
        wide = (t.transpose(1, -1).repeat_interleave(2, -1) for t in (u, g))
        return call(*(t[..., ::2].transpose(1, -1) for t in wide))

    assert_close(gradients(strided, image, grid), gradients(call, image, grid))


@backends
@modes
@paddings
@corners
@pytest.mark.parametrize("size", [(5, 4), (1, 4), (3, 1, 5)])
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_coordinates_that_are_not_finite(backend, mode, padding_mode, align_corners, size, number):
    fill = _fill(padding_mode)
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}

    def call(u, g):
        return sample(u, g, fill_value=fill, backend=backend, **options)

    ndim = len(size)
    image = _image(1, size)
    good = torch.rand(1, *[1] * (ndim - 1), 7, ndim).double() * 2 - 1
    bad = good.expand(ndim, *good.shape[1:]).clone()  # at element k, along axis k alone
    bad.diagonal(dim1=0, dim2=-1).fill_(number)
    values, to_image, to_grid = gradients(call, image, bad)
    assert torch.equal(values, torch.full_like(values, fill or 0))
    assert torch.equal(to_image, torch.zeros_like(image))
    assert torch.equal(to_grid, torch.zeros_like(bad))
    mixed = gradients(call, image, torch.cat((good, bad[:1]), -2))
    assert_close(mixed[0][..., :7], call(image, good))
    assert all(t.isfinite().all() for t in mixed)


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int16, torch.int64, torch.bool],
)
def test_labels_keep_their_values(dtype):
    """Oracle: indexing by numpy, whose pixels are looked up by hand."""
    most = 1 if dtype == torch.bool else torch.iinfo(dtype).max
    labels = np.array([[0, 1, most], [most - 1, most // 2, 1]], dtype=str(dtype)[6:])
    rows, columns = np.array([[0, 1, 1, 5], [1, 0, -3, 1]]), np.array([[2, 0, 1, 0], [2, 9, 1, 0]])
    pixels = torch.from_numpy(np.stack((columns, rows), -1))[None].float()
    image = torch.from_numpy(labels)[None, None]
    grid = normalise(pixels, (2, 3), False)
    inside = (rows >= 0) & (rows < 2) & (columns >= 0) & (columns < 3)
    due = np.where(
        inside, labels[rows.clip(0, 1), columns.clip(0, 2)], np.array(most, labels.dtype)
    )
    for fill in (most, [most], torch.tensor([most], dtype=dtype)):
        found = sample(image, grid, mode="nearest", padding_mode="constant", fill_value=fill)
        assert found.dtype == dtype
        assert (found[0, 0].numpy() == due).all()
    found = sample(image, grid, mode="nearest", padding_mode="border")
    assert (found[0, 0].numpy() == labels[rows.clip(0, 1), columns.clip(0, 2)]).all()
    affine = Affine()
    assert torch.equal(warp(image, affine.identity()[None], affine, mode="nearest"), image)


@backends
@modes
@paddings
@dimensions
def test_a_finite_coordinate_is_not_infinite(backend, mode, padding_mode, ndim):
    """Up to the largest number, whose pixel overflows; oracle: a coordinate less far outside."""
    image, fill = _image(1, (5,) * ndim, torch.float32), _fill(padding_mode)
    grid = torch.zeros(1, *[1] * (ndim - 1), 16, ndim)

    def call(u, g):
        options = {"mode": mode, "padding_mode": padding_mode, "fill_value": fill}
        return sample(u, g, backend=backend, **options)

    for sign, number in product((1, -1), (2.5e38, torch.finfo(torch.float32).max)):
        grid[..., ::2, 0] = sign * number
        values = call(image, grid)
        if padding_mode in ("reflection", "wrap"):  # no digits are left, to tell which pixel
            values, low, high = values[0], *image[0].flatten(1).aminmax(dim=1)
            bent = high - low if mode == "bicubic" else 0  # its weights are negative in part
            axes = (-1, *[1] * ndim)
            assert (values >= (low - bent).reshape(axes)).all()
            assert (values <= (high + bent).reshape(axes)).all()
        else:
            near = grid.clone()
            near[..., ::2, 0] = sign * 9
            assert torch.equal(values, call(image, near))
        _, to_image, to_grid = gradients(call, image, grid)
        assert to_image.isfinite().all()
        assert (to_grid[..., ::2, 0] == 0).all()
        assert to_grid.isfinite().all()


@pytest.mark.traced
def test_coordinates_on_another_device_are_refused():
    image, theta = torch.rand(1, 1, 4, 4), torch.zeros(1, 6, device="meta")
    with pytest.raises(InputError, match=r"image on cpu was given with theta on meta"):
        warp(image, theta, Affine())
    with pytest.raises(InputError, match=r"image on cpu was given with a grid on meta"):
        sample(image, torch.zeros(1, 2, 2, 2, device="meta"))
