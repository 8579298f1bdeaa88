"""Laws of every kernel and padding, any shape and number; oracles: the image, differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from sampler.oracles import normalise
from spatial_transformers import KERNELS, Affine, sample, warp
from spatial_transformers.sampler.padding import PADDING_MODES

pytestmark = pytest.mark.traced  # the import hook makes so many small calls several times slower

INTERPOLATING = [name for name in KERNELS if name not in ("mitchell", "gaussian")]
EXACT = [name for name in INTERPOLATING if name[-1] in "01" or not name.startswith("bspline")]
#: B-splines pass through pixels within the rounding of their coefficients, which grow with the
#: order, by a factor per axis: order 7 alone is more than 1e-5 off, and in 3-D only.
ROUNDING = {name: 1e-5 for name in INTERPOLATING if name not in EXACT} | {"bspline7": 3e-5}

few = settings(deadline=None, derandomize=True, max_examples=50)


@st.composite
def problems(draw, modes=tuple(KERNELS), paddings=PADDING_MODES, dimensions=(1, 2, 2, 3)):
    """Draw a seeded image, a target size and the options of `sample`."""
    torch.manual_seed(draw(st.integers(0, 2**32 - 1)))
    ndim = draw(st.sampled_from(dimensions))
    source = draw(st.tuples(*[st.integers(1, 9)] * ndim))
    target = draw(st.tuples(*[st.integers(1, 4)] * ndim))
    options = {
        "mode": draw(st.sampled_from(modes)),
        "padding_mode": draw(st.sampled_from(paddings)),
        "align_corners": draw(st.booleans()),
    }
    if options["padding_mode"] == "constant":
        options["fill_value"] = 0.7
    return torch.randn(2, 2, *source, dtype=torch.float64), target, options


def _grid(image, target):
    return torch.randn(len(image), *target, image.ndim - 2, dtype=torch.float64)


def _pixels(image, shift):
    """Return the coordinates of all pixels, each shifted, and which of them lie in the image."""
    axes = [torch.arange(n).double() + s for n, s in zip(image.shape[2:], shift, strict=True)]
    pixels = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None]
    last = torch.tensor(image.shape[:1:-1]) - 1
    return pixels.expand(len(image), *pixels.shape[1:]), ((pixels >= 0) & (pixels <= last)).all(-1)


def _shifted(image, shift):
    """Return the image, shifted around its borders."""
    axes = range(2, image.ndim)
    return image.roll([-s for s in shift], [*axes])


@few
@given(problems(INTERPOLATING), st.lists(st.integers(-3, 3), min_size=3, max_size=3))
def test_whole_pixels_are_the_image(problem, shifts):
    """To a few roundings of the coordinates, in float32."""
    image, _, options = problem
    image = image.float()
    shift = shifts[: image.ndim - 2]
    pixels, inside = _pixels(image, shift)
    corners = options["align_corners"]
    if corners:  # a lone pixel between corners is everywhere
        inside = inside & torch.tensor([n > 1 for n in image.shape[2:]]).all()
    found = sample(image, normalise(pixels, image.shape[2:], corners).float(), **options)
    spread = (image.max() - image.min()).item()
    rounding = ROUNDING.get(options["mode"], 16 * max(image.shape[2:]) * 2**-23)
    off = (found - _shifted(image, shift)).abs()
    assert off.where(inside[:, None], 0).max() <= rounding * max(spread, 1)


@few
@given(problems(INTERPOLATING), st.lists(st.integers(-3, 3), min_size=3, max_size=3), st.booleans())
def test_warp_to_whole_pixels_is_the_image_bit_for_bit(problem, shifts, powers):
    """The identity at any size; shifts at sizes whose extents are powers of two."""
    image, _, options = problem
    image = image.float()
    if image.ndim == 3:
        image = image[:, :, None]
    size, affine = image.shape[2:], Affine(image.ndim - 2)
    shift = [0] * len(size)
    if powers:
        options["align_corners"], shift = False, shifts[: len(size)]
        size = [1 << n % 4 for n in size]
        image = torch.randn(2, 2, *size)
    theta = affine.identity()[None].repeat(2, 1)
    moves = [2 * s / n for s, n in zip(shift, size, strict=True)]
    theta[:, affine.ndim :: affine.ndim + 1] = torch.tensor(moves[::-1])
    found = warp(image, theta, affine, **options)
    _, inside = _pixels(image, shift)
    off = (found - _shifted(image, shift)).abs().where(inside[:, None], 0)
    assert off.max() <= ROUNDING.get(options["mode"], 0) * image.abs().max().clamp(min=1)


@few
@given(problems(), st.floats(-1e3, 1e3))
def test_constants_are_preserved(problem, constant):
    """Everywhere, where padding continues them; by `renormalise` where it divides at all."""
    image, target, options = problem
    image = torch.full_like(image, constant)
    grid = _grid(image, target)
    if options["padding_mode"] in ("zeros", "renormalise"):
        options["padding_mode"] = "renormalise"
        grid = grid.clamp(-1, 1)
    if "fill_value" in options:
        options["fill_value"] = constant
    found = sample(image, grid, **options)
    assert_close(found, torch.full_like(found, constant), rtol=1e-9, atol=1e-9)


@few
@given(problems(paddings=[p for p in PADDING_MODES if p != "constant"]))
def test_linear_in_the_image(problem):
    image, target, options = problem
    other, grid = torch.randn_like(image), _grid(image, target)
    of_u, of_v, of_both = (
        sample(u, grid, **options) for u in (image, other, 2 * image - 3 * other)
    )
    assert_close(of_both, 2 * of_u - 3 * of_v, rtol=1e-8, atol=1e-8)


@few
@given(problems(paddings=[p for p in PADDING_MODES if p != "constant"]), st.booleans())
def test_the_image_gradient_is_the_adjoint(problem, antialias):
    image, target, options = problem
    image.requires_grad_()
    options |= {"antialias": 2 if antialias else False}
    sampled = sample(image, _grid(image, target), **options)
    v = torch.randn_like(sampled)
    (back,) = torch.autograd.grad(sampled, image, v)
    assert_close((sampled * v).sum(), (image * back).sum(), rtol=1e-8, atol=1e-8)


CONTINUOUS = [p for p in PADDING_MODES if p != "renormalise"]  # which jumps to 0 far outside
SMOOTH = ["bicubic", "mitchell", "lanczos2", "lanczos5", "bspline3", "bspline6"]


@few
@given(problems(SMOOTH, CONTINUOUS, dimensions=(2, 2, 3)), st.booleans())
def test_the_gradient_in_theta_is_the_slope(problem, antialias):
    """Of kernels without kinks in their slope, so that differences meet none."""
    image, target, options = problem
    ndim = image.ndim - 2
    options |= {"antialias": 2 if antialias else False, "size": target}
    affine = Affine(ndim)
    theta = affine.identity()[None].double() + torch.randn(2, affine.num_parameters).double() / 9
    direction = torch.randn_like(theta)
    theta.requires_grad_()
    values = warp(image, theta, affine, **options)
    v = torch.randn_like(values)
    (slope,) = torch.autograd.grad(values, theta, v)
    ahead, behind = (
        warp(image, theta.detach() + s * 1e-6 * direction, affine, **options) for s in (1, -1)
    )
    due = ((ahead - behind) / 2e-6 * v).sum()
    assert_close((slope * direction).sum(), due, rtol=1e-4, atol=1e-4)


@few
@given(problems(), st.lists(st.floats(width=32), min_size=6, max_size=6), st.booleans())
def test_no_grid_makes_nan_of_a_finite_image(problem, entries, antialias):
    image, _, options = problem
    image, ndim = image[:1].float().requires_grad_(), image.ndim - 2
    grid = torch.tensor(entries).reshape(1, *[1] * (ndim - 1), 6 // ndim, ndim).requires_grad_()
    values = sample(image, grid, antialias=2 if antialias else False, **options)
    assert values.isfinite().all()
    for gradient in torch.autograd.grad(
        values, (image, grid), torch.ones_like(values), materialize_grads=True
    ):
        assert gradient.isfinite().all()
