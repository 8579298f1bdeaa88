"""Laws of the sampler at any shape, size and number; oracles: torch in float64, and algebra."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from sampler.oracles import (
    NAMES,
    PADDINGS,
    TORCH_PADDINGS,
    cotangent,
    gradients,
    grid_sample,
    normalise,
    off_kinks,
    on_kinks,
    slope_at_identity,
)
from spatial_transformers import Affine, sample, warp

pytestmark = pytest.mark.traced  # the import hook makes so many small calls several times slower

backends = st.sampled_from(NAMES)
corners = st.booleans()
paddings = st.sampled_from(PADDINGS)
torch_paddings = st.sampled_from(TORCH_PADDINGS)
seeds = st.integers(0, 2**32 - 1)
numbers = st.floats(width=32)  # NaN, infinities and subnormals too

few = settings(deadline=None, derandomize=True, max_examples=50)


def sizes(ndim, low=1, high=7):
    return st.tuples(*[st.integers(low, high)] * ndim)


@st.composite
def problems(draw, low=1, padding_modes=paddings):
    """Draw seeded sizes and options: source, target, batch and what `sample` is called with."""
    torch.manual_seed(draw(seeds))
    ndim = draw(st.sampled_from((2, 3)))
    options = {
        "padding_mode": draw(padding_modes),
        "align_corners": draw(corners),
        "mode": draw(st.sampled_from(("nearest", "bilinear"))),
    }
    return draw(sizes(ndim)), draw(sizes(ndim, low, 5)), draw(st.integers(1, 3)), options


def _image(n, size):
    return torch.randn(n, 2, *size, dtype=torch.float64)


def _fill(options):
    return 0.7 if options["padding_mode"] == "constant" else None


def _mixed_grid(n, source, target, align_corners):
    """Draw a grid off kinks, and half of it on kinks along axes where no operation rounds."""
    pixels, kinks = off_kinks(n, source, target), on_kinks(n, source, target)
    spans = torch.tensor(source[::-1]) - int(align_corners)
    exact = (spans & (spans - 1)) == 0  # 0 or a power of two
    pixels = torch.where(exact & (torch.rand(pixels.shape) < 0.5), kinks, pixels)
    return normalise(pixels, source, align_corners)


@few
@given(problems(padding_modes=torch_paddings), backends)
def test_sample_is_grid_sample(problem, backend):
    source, target, n, options = problem
    grid = _mixed_grid(n, source, target, options["align_corners"])
    image = _image(n, source)
    found = gradients(lambda u, g: sample(u, g, backend=backend, **options), image, grid)
    assert_close(found, gradients(lambda u, g: grid_sample(u, g, **options), image, grid))


def _by_torch(image, theta, size, **options):
    ndim = image.ndim - 2
    corners, shape = options["align_corners"], [len(theta), 1, *size]
    grid = F.affine_grid(theta.unflatten(1, (ndim, ndim + 1)), shape, align_corners=corners)
    return grid_sample(image, grid, **options)


def _theta(n, ndim):
    return Affine(ndim).identity().double() + torch.randn(n, ndim * (ndim + 1)).double() / 3


@few
@given(problems(low=2), backends)
def test_warp_is_affine_grid_and_grid_sample(problem, backend):
    source, target, n, options = problem
    image, theta, affine = _image(n, source), _theta(n, len(source)), Affine(len(source))
    options["fill"] = fill = _fill(options)

    def found(u, t):
        chosen = {k: v for k, v in options.items() if k != "fill"}
        return warp(u, t, affine, size=target, fill_value=fill, backend=backend, **chosen)

    due = gradients(lambda u, t: _by_torch(u, t, target, **options), image, theta)
    assert_close(gradients(found, image, theta), due)


@few
@given(problems(low=2, padding_modes=torch_paddings), backends)
def test_float32_warp_is_the_same_away_from_kinks(problem, backend):
    source, target, n, options = problem
    image, theta, affine = _image(n, source), _theta(n, len(source)), Affine(len(source))
    image, theta = image.float().double(), theta.float().double()
    pixels = affine.pixels(theta, target, source, align_corners=options["align_corners"])
    varied = torch.tensor([k > 1 or not options["align_corners"] for k in source[::-1]])
    near = ((pixels * 2 - (pixels * 2).round()).abs() < 2e-3) & varied
    away = ~near.any(-1)[:, None]

    def found(u, t):
        u, t = u.float(), t.float()
        return away * warp(u, t, affine, size=target, backend=backend, **options).double()

    due = gradients(lambda u, t: away * _by_torch(u, t, target, **options), image, theta)
    size = due[0].numel() * max(source)  # how many terms a gradient sums, and how large
    for ours, theirs in zip(gradients(found, image, theta), due, strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * size)


@few
@given(problems(), backends)
def test_identity_is_exact_with_the_right_hand_slope(problem, backend):
    source, _, n, options = problem
    options["mode"] = "bilinear"
    affine, image, fill = Affine(len(source)), _image(n, source).float(), _fill(options)
    values, to_image, to_theta = gradients(
        lambda u, t: warp(u, t, affine, fill_value=fill, backend=backend, **options),
        image,
        affine.identity()[None],
    )
    assert torch.equal(values, image)
    assert torch.equal(to_image, cotangent(values))
    del options["mode"]
    due, scale = slope_at_identity(image, fill=fill, **options)
    assert ((to_theta[0] - due).abs() <= 2e-6 * scale).all()


@few
@given(problems(), backends, st.floats(-1e3, 1e3))
def test_constants_are_preserved_inside(problem, backend, constant):
    source, target, n, options = problem
    last = torch.tensor(source[::-1]) - 1
    pixels = torch.rand(n, *target, len(source), dtype=torch.float64) * last
    grid = normalise(pixels, source, options["align_corners"]).clamp(-1, 1)
    image = torch.full((n, 1, *source), constant, dtype=torch.float64)
    found = sample(image, grid, fill_value=_fill(options), backend=backend, **options)
    assert_close(found, torch.full_like(found, constant), rtol=1e-12, atol=1e-12)


@few
@given(problems(padding_modes=torch_paddings), backends)
def test_linear_in_the_image(problem, backend):
    source, target, n, options = problem
    u, v = _image(n, source), _image(n, source)
    grid = torch.randn(n, *target, len(source), dtype=torch.float64)
    of_u, of_v, of_both = (
        sample(image, grid, backend=backend, **options) for image in (u, v, 2 * u - 3 * v)
    )
    assert_close(of_both, 2 * of_u - 3 * of_v)


@few
@given(problems(padding_modes=torch_paddings), backends)
def test_the_image_gradient_is_the_adjoint(problem, backend):
    source, target, n, options = problem
    image = _image(n, source).requires_grad_()
    grid = torch.randn(n, *target, len(source), dtype=torch.float64)
    sampled = sample(image, grid, backend=backend, **options)
    v = torch.randn_like(sampled)
    (back,) = torch.autograd.grad(sampled, image, v)
    assert_close((sampled * v).sum(), (image * back).sum())


@few
@given(problems(), backends, st.lists(numbers, min_size=12, max_size=12))
def test_no_theta_makes_nan_of_a_finite_image(problem, backend, entries):
    source, target, n, options = problem
    ndim = len(source)
    theta = torch.tensor(entries[: ndim * (ndim + 1)])[None].requires_grad_()
    image = _image(n, source).float().requires_grad_()
    values = warp(
        image,
        theta,
        Affine(ndim),
        size=target,
        fill_value=_fill(options),
        backend=backend,
        **options,
    )
    assert values.isfinite().all()
    assert values.abs().max() <= max(image.abs().max().item(), 0.7) * 1.001
    for gradient in torch.autograd.grad(values, (image, theta), torch.ones_like(values)):
        assert gradient.isfinite().all()


@few
@given(problems(), backends, st.lists(numbers, min_size=6, max_size=6))
def test_no_grid_makes_nan_of_a_finite_image(problem, backend, entries):
    source, _, n, options = problem
    ndim = len(source)
    count = 6 // ndim
    grid = torch.tensor(entries).reshape(1, *[1] * (ndim - 1), count, ndim).requires_grad_()
    image = _image(n, source).float().requires_grad_()
    values = sample(image, grid, fill_value=_fill(options), backend=backend, **options)
    assert values.abs().max() <= max(image.abs().max().item(), 0.7) * 1.001
    for gradient in torch.autograd.grad(values, (image, grid), torch.ones_like(values)):
        assert gradient.isfinite().all()
