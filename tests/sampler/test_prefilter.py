"""B-splines interpolate; oracles: `scipy.ndimage`, torch-interpol, and the pixels themselves."""

import interpol
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from spatial_transformers import KERNELS, InputError, Kernel, sample
from spatial_transformers.sampler.padding import PADDING_MODES
from spatial_transformers.sampler.prefilter import coefficients

from .oracles import SOURCES, TARGETS, assert_near, gradients, normalise, off_kinks, unnormalise

orders = pytest.mark.parametrize("order", range(2, 8))
corners = pytest.mark.parametrize("align_corners", [False, True])
paddings = pytest.mark.parametrize("padding_mode", PADDING_MODES)
dimensions = pytest.mark.parametrize("ndim", [1, 2, 3])

DTYPES = (torch.float64, torch.float32)
#: Ours, and the name of the same in scipy and in torch-interpol, which has no coefficients for two.
MEANINGS = (
    ("zeros", False, "grid-constant", "zero"),
    ("constant", True, "grid-constant", None),
    ("border", False, "nearest", "replicate"),
    ("reflection", False, "reflect", "dct2"),
    ("reflection", True, "mirror", "dct1"),
    ("wrap", False, "grid-wrap", "dft"),
)
same = pytest.mark.parametrize(
    ("padding_mode", "align_corners", "scipy_mode", "bound"), MEANINGS, ids=lambda m: str(m)
)
FILL = 0.7
MARGIN = 30  # pixels: 0.43^30, of order 5, is 1e-11


def _image(n, size, channels=2):
    return torch.randn(n, channels, *size, dtype=torch.float64)


def _sample(order, padding_mode, align_corners):
    fill = FILL if padding_mode == "constant" else None
    options = {"padding_mode": padding_mode, "align_corners": align_corners, "fill_value": fill}
    return lambda u, g: sample(u, g, mode=f"bspline{order}", **options)


def _continued(image, mode, fill=0.0):
    """Return an image that is padded as `mode` says, by how many pixels per axis, x first."""
    pad = {"nearest": "edge", "grid-constant": "constant", "reflect": "symmetric"}.get(mode)
    if pad is None:
        return image, 0
    # a multiple of the length is where reflecting again means the same
    margins = [MARGIN if pad != "symmetric" else n * -(-MARGIN // n) for n in image.shape[2:]]
    edges = [(0, 0), (0, 0), *((m, m) for m in margins)]
    options = {"constant_values": fill} if pad == "constant" else {}
    return np.pad(image, edges, pad, **options), np.array(margins[::-1])


def _by_scipy(image, pixels, order, mode, fill):
    """Return scipy's values at pixel coordinates (x first) of every image and channel.

    It continues an image by 12 pixels only, and its filter for `reflect` reads a number that it has
    overwritten: both fade with distance, so it is given an image that is continued already.
    """
    image, margins = _continued(image, mode, fill) if order > 1 else (image, 0)
    where = [np.moveaxis(p + margins, -1, 0)[::-1] for p in pixels.numpy()]
    options = {"order": order, "mode": mode, "cval": fill}
    each = [
        [ndimage.map_coordinates(u, x, **options) for u in channels]
        for channels, x in zip(image, where, strict=True)
    ]
    return torch.from_numpy(np.array(each))


@pytest.mark.parametrize("order", range(6))
@dimensions
@same
def test_is_map_coordinates(order, ndim, padding_mode, align_corners, scipy_mode, bound):
    source = SOURCES[ndim]
    pixels = torch.cat(
        (off_kinks(2, source, TARGETS[ndim]), 3 * off_kinks(2, source, TARGETS[ndim]))
    )
    image, grid = _image(4, source), normalise(pixels, source, align_corners)
    fill = FILL if padding_mode == "constant" else 0.0
    for dtype, tolerance in zip(DTYPES, (1e-10, 2e-5), strict=True):
        u, g = image.to(dtype), grid.to(dtype)
        found = _sample(order, padding_mode, align_corners)(u, g)
        where = unnormalise(g.double(), source, align_corners)
        due = _by_scipy(u.double().numpy(), where, order, scipy_mode, fill)
        assert_near([found], [due], tolerance)


def _by_interpol(order, bound, align_corners):
    def call(u, g):
        pixels = unnormalise(g, u.shape[2:], align_corners).flip(-1)
        options = {"interpolation": order, "bound": bound, "extrapolate": True}
        return interpol.grid_pull(u, pixels, prefilter=True, **options)

    return call


@pytest.mark.parametrize("order", range(8))
@dimensions
@same
def test_is_grid_pull(order, ndim, padding_mode, align_corners, scipy_mode, bound):
    """Values, and gradients to image and coordinates."""
    if bound is None or (order > 1 and bound in ("zero", "replicate")):
        return  # their coefficients are those of another bound there
    source = SOURCES[ndim]
    grid = normalise(off_kinks(2, source, TARGETS[ndim]), source, align_corners)
    # a prefilter enlarges rounding, of order 5 by 7.5 along each axis: 422 in 3-D
    single = 1e-4 if ndim == 3 and order > 4 else 1e-5
    for dtype, tolerance in zip(DTYPES, (1e-12, single), strict=True):
        image = _image(2, source).to(dtype)
        found = gradients(_sample(order, padding_mode, align_corners), image, grid.to(dtype))
        theirs = _by_interpol(order, bound, align_corners)
        due = gradients(theirs, image.double(), grid.to(dtype).double())
        if bound == "dct1":  # whose prefilter is not its own transpose, as its backward has it
            due[1] = _transposed(theirs, image, grid.to(dtype).double(), due[0])
        assert_near(found, due, tolerance)


def _transposed(function, image, grid, values):
    """Return the gradient to an image of a linear function of it, from its values alone."""
    n, channels, *source = image.shape
    units = torch.eye(image[0, 0].numel()).double().reshape(1, -1, *source)
    taken = function(units.expand(n, -1, *source), grid).flatten(2)  # (N, pixels, points)
    cotangent = torch.linspace(-1, 2, values.numel()).double().reshape(n, channels, -1)
    return torch.einsum("npm,ncm->ncp", taken, cotangent).reshape(image.shape)


@paddings
@corners
@orders
def test_interpolates_at_pixels(order, align_corners, padding_mode):
    for size in ((1,), (2,), (3,), (40,), (3, 40), (2, 1, 5)):
        axes = [torch.arange(n).double() for n in size]
        pixels = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None]
        image, grid = _image(1, size), normalise(pixels, size, align_corners)
        for dtype, tolerance in zip(DTYPES, (1e-12, 1e-5), strict=True):
            found = _sample(order, padding_mode, align_corners)(image.to(dtype), grid.to(dtype))
            assert_near([found], [image], tolerance * (4 if len(size) > 1 else 1))


@orders
def test_border_goes_on_for_ever(order):
    """Near and far from the image, beyond the reach of the inverse filter too."""
    image, call = _image(1, (8,)), _sample(order, "border", False)
    x = torch.tensor([-30.4, -15.2, -9.7, -7.3, 14.6, 17.1, 24.9, 2000.3], dtype=torch.float64)
    ends = image[..., [0] * 4 + [7] * 4]
    fading = 0.54 ** torch.tensor([29, 14, 9, 6, 6, 9, 17, 999]).double()  # of a bspline7, at most
    for dtype, tolerance in zip(DTYPES, (1e-11, 2e-5), strict=True):
        grid = normalise(x[None, :, None], (8,), False).to(dtype)
        off = (call(image.to(dtype), grid) - ends).abs()
        assert (off <= tolerance + 9 * fading).all(), off
    alike = torch.full_like(image, 0.3)
    assert_close(call(alike, normalise(x[None, :, None], (8,), False)), torch.full_like(ends, 0.3))


@orders
@pytest.mark.parametrize(
    ("padding_mode", "align_corners", "mode"),
    [
        ("reflection", False, "reflect"),
        ("reflection", True, "mirror"),
        ("wrap", False, "grid-wrap"),
    ],
)
@pytest.mark.parametrize("size", [(2,), (40,), (9, 5), (4, 3, 6)])
def test_coefficients_are_those_of_spline_filter(order, padding_mode, align_corners, mode, size):
    if order > 5:
        return  # scipy knows no more
    image = _image(1, size, 1)
    kernel = KERNELS[f"bspline{order}"]
    found = coefficients(image, kernel, [padding_mode] * len(size), align_corners, finite=True)
    continued, margins = _continued(image.numpy(), mode)  # as `_by_scipy` says
    due = ndimage.spline_filter(continued[0, 0], order=order, mode=mode, output=np.float64)
    starts = np.broadcast_to(margins, len(size))[::-1]
    due = torch.from_numpy(due[tuple(slice(m, m + n) for m, n in zip(starts, size, strict=True))])
    assert not any(found.margins)
    assert_close(found.values[0, 0], due, rtol=1e-12, atol=1e-12)


@paddings
@orders
def test_its_gradient_is_its_adjoint(order, padding_mode):
    """⟨A u, y⟩ = ⟨u, Aᵀ y⟩."""
    image = _image(2, (9, 4)).requires_grad_()
    kernel = KERNELS[f"bspline{order}"]
    filtered = coefficients(image, kernel, [padding_mode] * 2, True, finite=True).values
    y = torch.randn_like(filtered)
    (back,) = torch.autograd.grad(filtered, image, y)
    other = torch.randn_like(image)
    image_side = (other * back).sum()
    there = coefficients(other, kernel, [padding_mode] * 2, True, finite=True).values
    assert_close((there * y).sum(), image_side)


def _cubic_bspline(d):
    x = d.abs()
    return (2 / 3 - x**2 + x**3 / 2).where(x < 1, (2 - x).clamp(min=0) ** 3 / 6)


def _mitchell(d, b, c):
    x = d.abs()
    inner = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + (6 - 2 * b)
    outer = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 - (12 * b + 48 * c) * x + 8 * b + 24 * c
    return inner.where(x < 1, outer) / 6


def _bell(d):
    """A function that is no partition of unity."""
    return (1 - d.square() / 9).clamp(min=0) ** 8


@paddings
def test_a_prefilter_of_ones_own(padding_mode):
    fill = FILL if padding_mode == "constant" else None
    options = {"padding_mode": padding_mode, "fill_value": fill}
    own = Kernel(_cubic_bspline, 2, prefilter=True)
    image, grid = _image(2, (9, 8)), normalise(off_kinks(2, (9, 8), (6, 4)), (9, 8), False)
    due = gradients(lambda u, g: sample(u, g, mode="bspline3", **options), image, grid)
    found = gradients(lambda u, g: sample(u, g, mode=own, **options), image, grid)
    assert_near(found, due, 1e-12)


@paddings
@pytest.mark.parametrize("normalise_weights", [False, True])
@pytest.mark.parametrize("phi", [(1 / 3, 1 / 3), (1.0, 0.0), None])
def test_a_kernel_of_ones_own_interpolates(padding_mode, normalise_weights, phi):
    if phi is None and padding_mode == "constant":
        normalise_weights = True  # of weights that sum to nothing in particular a fill has no share
    fill = FILL if padding_mode == "constant" else None
    weight, support = (_bell, 3) if phi is None else (_mitchell, 2)
    kernel = Kernel(weight, support, phi=phi or (), prefilter=True, normalise=normalise_weights)
    image, pixels = _image(1, (16,)), torch.arange(16).double()[None, :, None]
    grid = normalise(pixels, (16,), False)
    found = sample(image, grid, mode=kernel, padding_mode=padding_mode, fill_value=fill)
    assert_near([found], [image], 1e-12)


def _with_phi(phi):
    kernel = Kernel(_mitchell, 2, phi=(1.0, 0.0), prefilter=True)
    return sample(torch.zeros(1, 1, 4), torch.zeros(1, 2, 1), mode=kernel.with_phi(phi))


@pytest.mark.traced
@pytest.mark.parametrize(
    ("make", "fragments"),
    [
        (lambda: Kernel(lambda d: d * 0 + 1, 2, prefilter=True, name="flat"), ["'flat'", "cannot"]),
        (lambda: Kernel(lambda d: d * 0, 2, prefilter=True, name="none"), ["'none'", "cannot"]),
        (
            lambda: Kernel(_mitchell, 2, phi=torch.tensor([1.0, 0.0]), prefilter=True),
            ["'_mitchell'", "give Φ as numbers"],
        ),
        (lambda: KERNELS["bspline3"].learnable(), ["'bspline3'", "no Φ to learn"]),
        (lambda: _with_phi(torch.tensor([1.0, 0.0])), ["'_mitchell'", "whose prefilter fixes it"]),
        (lambda: _with_phi((0.2, 0.4)), ["'_mitchell'", "prefilter"]),
    ],
    ids=["flat", "none", "tensor", "learnable", "given", "other"],
)
def test_what_has_no_prefilter_is_refused(make, fragments):
    with pytest.raises(InputError) as error:
        make()
    for fragment in fragments:
        assert fragment in str(error.value)
