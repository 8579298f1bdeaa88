"""What pixels and fills reach that are not finite, and batches of none; oracle: the weights."""

import pytest
import torch
from torch.func import vmap
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import KERNELS, Affine, normalise, sample, warp
from spatial_transformers.sampler.padding import PADDING_MODES

SIZES = {2: (4, 8), 3: (4, 4, 8)}  # of which no coordinate rounds
PIXELS = {2: (2, 3), 3: (1, 2, 3)}  # at no border

numbers = pytest.mark.parametrize("number", [torch.nan, torch.inf])
paddings = pytest.mark.parametrize("padding_mode", PADDING_MODES)
FUSED = ("nearest", "bilinear", "bicubic")
CALLS = [("reference", mode) for mode in KERNELS] + [("cpu", mode) for mode in FUSED]
calls = pytest.mark.parametrize(("backend", "mode"), [*CALLS, ("aten", "bilinear")])
#: `grid_sample` itself, which `aten` runs, multiplies by weights of 0.
weighing = pytest.mark.parametrize(
    ("backend", "mode"), [pair for pair in CALLS if KERNELS[pair[1]].inverse_filter is None]
)


def _grid(ndim, *, whole, step=1):
    """Return a grid on whole pixels, in and around the image, or between them."""
    axes = [torch.arange(-2.0, n + 2, step, dtype=torch.float64) for n in SIZES[ndim]]
    pixels = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None]
    return normalise(pixels if whole else pixels + 0.3, SIZES[ndim])


def _weights(call, ndim):
    """Return the weight of a pixel at every point: what an image gives that is 1 there alone."""
    image = torch.zeros(1, 1, *SIZES[ndim], dtype=torch.float64)
    image[0, 0][PIXELS[ndim]] = 1
    return call(image)


def _spoiled(ndim, number):
    image = torch.randn(1, 1, *SIZES[ndim], dtype=torch.float64)
    spoiled = image.clone()
    spoiled[0, 0][PIXELS[ndim]] = number
    return image, spoiled


@weighing
@paddings
@numbers
@pytest.mark.parametrize("antialias", [False, 2])
@pytest.mark.parametrize("whole", [True, False])
def test_a_pixel_reaches_where_it_weighs(backend, mode, padding_mode, number, antialias, whole):
    backend = None if antialias else backend
    for ndim in (2, 3) if KERNELS[mode].count < 5 else (2,):
        grid = _grid(ndim, whole=whole, step=2 if antialias else 1)
        fill = {"fill_value": 0.0} if padding_mode == "constant" else {}

        def call(image, grid=grid, fill=fill):
            options = {"mode": mode, "padding_mode": padding_mode, "antialias": antialias}
            return sample(image, grid, backend=backend, **options, **fill)

        image, spoiled = _spoiled(ndim, number)
        weighs, found = _weights(call, ndim) != 0, call(spoiled)
        assert weighs.any()
        assert_identical(~found.isfinite(), weighs)
        assert_identical(found[~weighs], call(image)[~weighs])


@numbers
@pytest.mark.parametrize("options", [{}, {"antialias": 2}, {"mode": "lanczos2"}], ids=str)
def test_a_pixel_reaches_where_it_weighs_under_transforms(number, options):
    image, spoiled = _spoiled(2, number)
    images, grids = torch.stack((image, spoiled)), _grid(2, whole=True, step=2).repeat(2, 1, 1, 1)

    def call(image, grid):
        return sample(image, grid[None], **options)

    due = torch.stack([call(u, g) for u, g in zip(images, grids, strict=True)])
    assert_close(vmap(call)(images, grids), due, equal_nan=True)
    values, tangent = torch.func.jvp(lambda u: call(u, grids[0]), (spoiled,), (image,))
    assert_close(values, due[1], equal_nan=True)
    assert tangent.isfinite().all()


@pytest.mark.traced
@pytest.mark.parametrize("options", [{}, {"antialias": 2}, {"mode": "lanczos2"}], ids=str)
def test_a_pixel_reaches_where_it_weighs_when_compiled(options):
    grid = _grid(2, whole=True, step=2)

    def call(image):
        return sample(image, grid, **options).nan_to_num(9.0)

    _, spoiled = _spoiled(2, torch.nan)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    assert_close(compiled(spoiled), call(spoiled))


def test_at_the_identity_what_is_not_finite_stays_where_it_is():
    for shape in ((1, 1, 5, 6), (2, 20, 40, 30), (2, 3, 5, 6, 7)):
        image = torch.randn(shape)
        image.view(-1)[::7], image.view(-1)[1::11] = torch.nan, -torch.inf
        affine = Affine(image.ndim - 2)
        theta = affine.identity()[None].expand(len(image), -1)
        for layout in (torch.contiguous_format, torch.channels_last)[: 6 - image.ndim]:
            given = image.contiguous(memory_format=layout)
            found = warp(given, theta, affine, size=image.shape[2:])
            assert_close(found, given, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("mode", ["bspline2", "bspline3", "bspline7"])
@paddings
@numbers
def test_a_prefilter_fades(mode, padding_mode, number):
    """The coefficients around a pixel are NaN as far as the inverse filter is above rounding."""
    reach = sum(abs(h) > torch.finfo(torch.float32).eps / 4 for h in KERNELS[mode].inverse_filter)
    reach += KERNELS[mode].count // 2
    image = torch.randn(1, 1, 4, 400)
    image[0, 0, 1, 200] = number
    fill = {"fill_value": 0.0} if padding_mode == "constant" else {}
    theta = Affine().identity()[None]
    found = warp(image, theta, Affine(), mode=mode, padding_mode=padding_mode, **fill)
    nan = found[0, 0].isnan().any(0).nonzero().flatten()
    assert nan.min() > 200 - reach
    assert nan.max() < 200 + reach
    assert {199, 200, 201} <= set(nan.tolist())
    assert found.isinf().sum() == 0


@calls
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("antialias", [False, 2])
def test_a_fill_of_nan_marks_what_is_not_all_image(backend, mode, whole, antialias):
    backend = None if antialias else backend
    image = torch.randn(2, 3, *SIZES[2], dtype=torch.float64)
    grid = _grid(2, whole=whole, step=2 if antialias else 1)
    options = {"mode": mode, "antialias": antialias, "backend": backend}
    covered = sample(torch.ones_like(image), grid, **options)  # zeros outside
    for fill in (torch.nan, [torch.nan] * 3, torch.full((3,), torch.nan).double()):
        found, due = (
            sample(image, grid, padding_mode="constant", fill_value=value, **options)
            for value in (fill, 0.5)
        )
        share = (1 - covered).abs()
        clear = (share < 5e-15) | (share > 1e-13)  # not within rounding
        assert_identical(found.isnan()[clear], (share > 1e-13)[clear])
        assert_identical(found[~found.isnan()], due[~found.isnan()])
        assert found.isnan().any()


@pytest.mark.parametrize("gradient", ["straight-through", "linearized", "multi-scale"])
def test_other_slopes_of_a_fill_of_nan_leave_the_values(gradient):
    image, theta = torch.rand(1, 2, 12, 12), 1.5 * Affine().identity()[None]
    options = {"padding_mode": "constant", "fill_value": [torch.nan] * 2, "gradient": gradient}
    found = warp(image, theta, Affine(), **options)
    inside = found[..., 3:9, 3:9]  # pixels 2 to 9 of the target lie in the image, 3 to 8 all
    assert inside.isfinite().all()
    assert found.isnan().any()


@calls
@pytest.mark.parametrize("antialias", [False, True])
@paddings
def test_a_batch_of_none(backend, mode, antialias, padding_mode):
    if antialias or padding_mode in ("wrap", "renormalise"):
        backend = None
    fill = {"fill_value": 0.5} if padding_mode == "constant" else {}
    options = {"mode": mode, "padding_mode": padding_mode, "antialias": antialias, **fill}
    for ndim in (2, 3) if KERNELS[mode].count < 5 else (2,):
        affine, size = Affine(ndim), SIZES[ndim]
        for images, maps in ((0, 0), (0, 1), (1, 0)):
            image = torch.rand(images, 3, *size, requires_grad=True)
            theta = torch.rand(maps, affine.num_parameters, requires_grad=True)
            found = warp(image, theta, affine, size=4, backend=backend, **options)
            assert found.shape == (0, 3, *[4] * ndim)
            found.sum().backward()
            assert image.grad is not None
            grid = torch.rand(maps, *size, ndim)
            assert sample(image, grid, backend=backend, **options).shape == (0, 3, *size)
