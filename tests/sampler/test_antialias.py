"""Kernels widen where points lie apart; oracles: torch, Pillow, numpy's SVD, Fourier, by hand."""

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.testing import assert_close

from equality import assert_identical
from spatial_transformers import (
    KERNELS,
    Affine,
    Displacement,
    InputError,
    Projective,
    sample,
    warp,
)
from spatial_transformers.sampler.antialias import spacing, stretch

INTERPOLATE = {"bilinear": None, "bicubic": -0.5}  # whose antialiased bicubic kernel is Keys' own
SIZES = [(16, 16), (20, 9), (63, 31), (1, 64), (100, 20), (64, 64)]
IDENTITY = Affine().identity()[None]
ATOL = {"rtol": 0, "atol": 1e-5}


def _image(*size, n=1, dtype=torch.float32):
    return torch.rand(n, 2, *size, dtype=dtype)


def _turned(degrees, x=1.0, y=1.0):
    """Return the affine θ that scales steps of the target, then turns them."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c * x, -s * y, 0.0, s * x, c * y, 0.0]])


def _kernel(mode, phi):
    return mode if phi is None else KERNELS[mode].with_phi(phi)


@pytest.mark.parametrize(("mode", "phi"), INTERPOLATE.items())
@pytest.mark.parametrize("size", SIZES)
def test_scales_are_those_of_interpolate(mode, phi, size):
    image = _image(64, 48)
    due = F.interpolate(image, size, mode=mode, antialias=True)
    options = {"mode": _kernel(mode, phi), "antialias": 64}
    found = warp(image, IDENTITY, Affine(), size=size, padding_mode="renormalise", **options)
    assert_close(found, due, rtol=0, atol=1e-5)
    grid = Affine().grid(IDENTITY, size)
    if 1 not in size:  # between lone points a grid has no spacing
        assert_close(sample(image, grid, padding_mode="renormalise", **options), due, **ATOL)
    support = {"bilinear": 1, "bicubic": 2}[mode]
    zeros = warp(image, IDENTITY, Affine(), size=size, **options)
    inside = _whole_support(support, (64, 48), size)
    assert_close(zeros.where(inside, 0), due.where(inside, 0), **ATOL)


def _whole_support(support, source, target):
    """Return whether the kernel's support around each output lies inside the image."""
    axes = []
    for n, m in zip(source, target, strict=True):
        centre, reach = (torch.arange(m) + 0.5) * n / m - 0.5, support * max(n / m, 1)
        axes.append((centre - reach > -1) & (centre + reach < n))
    return axes[0][:, None] & axes[1]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gradient_is_that_of_interpolate(mode):
    image = _image(24, 18, dtype=torch.float64).requires_grad_()
    due = F.interpolate(image, (7, 5), mode=mode, antialias=True)
    found = warp(
        image,
        IDENTITY.double(),
        Affine(),
        size=(7, 5),
        mode=_kernel(mode, INTERPOLATE[mode]),
        antialias=True,
        padding_mode="renormalise",
    )
    weights = torch.linspace(-1, 2, due.numel(), dtype=torch.float64).reshape(due.shape)
    slopes = [torch.autograd.grad(v, image, weights)[0] for v in (found, due)]
    assert_close(*slopes, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [(16, 16), (31, 9), (100, 48), (64, 11)])
@pytest.mark.parametrize(
    ("mode", "phi", "resample"),
    [
        ("lanczos3", None, Image.Resampling.LANCZOS),
        ("bicubic", -0.5, Image.Resampling.BICUBIC),
        ("bilinear", None, Image.Resampling.BILINEAR),
    ],
)
def test_scales_are_those_of_pillow(mode, phi, resample, size):
    image = _image(64, 48)[:, :1]
    due = Image.fromarray(image[0, 0].numpy()).resize(size[::-1], resample)
    options = {"mode": _kernel(mode, phi), "padding_mode": "renormalise", "antialias": 64}
    found = warp(image, IDENTITY, Affine(), size=size, **options)
    assert_close(found[0, 0], torch.from_numpy(np.array(due)), rtol=0, atol=1e-5)


def test_nearest_is_pillows_box():
    """Whole pixels of a box are averaged; a hair's breadth keeps others off its edge."""
    image, theta = _image(64, 48)[:, :1], IDENTITY + torch.tensor([0, 0, 1e-4, 0, 0, 1e-4])
    found = warp(image, theta, Affine(), size=16, mode="nearest", antialias=True)
    due = Image.fromarray(image[0, 0].numpy()).resize((16, 16), Image.Resampling.BOX)
    assert_close(found[0, 0], torch.from_numpy(np.array(due)), **ATOL)


@pytest.mark.parametrize("quarter", [90, 180, 270])
def test_quarter_turns_swap_the_widths(quarter):
    image, options = _image(40, 40, dtype=torch.float64), {"antialias": True, "mode": "lanczos3"}
    straight = warp(image, IDENTITY.double(), Affine(), size=(20, 8), **options)
    size = (20, 8) if quarter == 180 else (8, 20)
    turned = warp(image, _turned(quarter).double(), Affine(), size=size, **options)
    due = straight.rot90(quarter // 90, (2, 3))
    assert_close(turned, due, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", KERNELS)
@pytest.mark.parametrize("degrees", [0, 30])
def test_nothing_shrinks_nothing_changes(mode, degrees):
    image = _image(13, 13)
    for theta, size in ((_turned(degrees), None), (_turned(degrees, 0.4, 0.9), (30, 20))):
        plain = warp(image, theta, Affine(), size=size, mode=mode)
        assert_identical(warp(image, theta, Affine(), size=size, mode=mode, antialias=True), plain)


def test_only_what_shrinks_changes():
    """A perspective map, magnifying at one end and shrinking at the other."""
    image, projective = _image(60, 60), Projective()
    theta = projective.identity()[None].clone()
    theta[0, projective.entries.index("h31")] = 0.8
    plain = warp(image, theta, projective)
    found = warp(image, theta, projective, antialias=True)
    steps = projective.spacing(theta, (60, 60), (60, 60))
    shrinks = torch.linalg.matrix_norm(steps, 2) ** 2 > 1.001
    assert shrinks.any()
    assert not shrinks.all()
    changed = (found != plain).any(1)
    assert not changed[~shrinks].any()
    assert changed[shrinks & (found != 0).any(1)].all()


def _spatial_svd(jacobian, most):
    """Return P⁻¹ by numpy's SVD."""
    u, s, _ = np.linalg.svd(jacobian)
    return np.einsum("...ik,...k,...jk->...ij", u, 1 / s.clip(1, most), u)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("spread", [0.5, 2, 20])
def test_stretch_is_the_clamped_polar_factor(ndim, spread):
    jacobian = torch.randn(1, 200, ndim, ndim, dtype=torch.float64) * spread
    found = stretch(jacobian, 8)
    inverse = torch.stack([torch.stack(row, -1) for row in found.inverse], -2)
    due = _spatial_svd(jacobian.numpy(), 8)
    assert_close(inverse, torch.from_numpy(due), rtol=1e-8, atol=1e-9)
    wide = np.abs(np.linalg.inv(due)).sum(-1).max()
    assert_close(found.spans.amax().item(), wide, rtol=1e-8, atol=0)
    largest = np.linalg.svd(jacobian.numpy(), compute_uv=False)[..., 0]
    assert_identical(found.shrinks, torch.from_numpy(largest**2 > 1.001))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_a_spacing_beyond_numbers_widens_to_the_cap(bad):
    jacobian = torch.eye(2).repeat(1, 2, 1, 1)
    jacobian[0, 0] *= bad
    found = stretch(jacobian, 4)
    assert found.shrinks.tolist() == [[True, False]]
    entries = torch.stack([entry[0, 0] for row in found.inverse for entry in row])
    assert entries.isfinite().all()
    assert entries.abs().max() <= 1


@pytest.mark.parametrize("align_corners", [False, True])
def test_spacing_is_that_of_the_transformation(align_corners):
    """By differences of a grid or of pixel edges: equal for affine maps, and their matrix."""
    affine, source, size = Affine(3), (9, 12, 20), (4, 3, 5)
    theta = affine.identity()[None].double() + torch.randn(1, 12, dtype=torch.float64) / 3
    steps = affine.spacing(theta, size, source, align_corners=align_corners)
    grid = affine.grid(theta, size, align_corners=align_corners)
    assert_close(spacing(grid, source, align_corners), steps)
    extents = torch.tensor([(n - align_corners) / 2 for n in source[::-1]], dtype=torch.float64)
    extents_of_target = torch.tensor([(n - align_corners) / 2 for n in size[::-1]]).double()
    matrix = theta.reshape(3, 4)[:, :3] * extents[:, None] / extents_of_target
    assert_close(steps, matrix.expand(1, *size, 3, 3))


def test_spacing_of_a_grid_takes_the_side_that_is_finite():
    grid = torch.linspace(-1, 1, 6)[:, None].repeat(1, 1, 1, 1)  # (1, 1, 6, 1): a row
    grid = torch.stack((grid[..., 0], torch.zeros_like(grid[..., 0])), -1)
    grid[0, 0, 2] = torch.nan
    found = spacing(grid, (5, 26), False)[0, 0, :, 0, 0]
    assert_close(found[[0, 1, 3, 4, 5]], torch.full((5,), 26 / 5))
    assert found[2].isnan()


@pytest.mark.parametrize("along", ["straight", "oblique"])
def test_what_shrinks_in_one_direction_blurs_in_that_direction(along):
    """Stripes too fine along it vanish; the same stripes across it stay."""
    degrees = {"straight": 0, "oblique": 45}[along]
    theta = _turned(degrees, 0.9, 0.12)  # 128 pixels to (16, 128): shrinks along the target's y
    theta = theta * 0.5
    axis = torch.arange(128) - 63.5
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, down = axis * c + axis[:, None] * s, -axis * s + axis[:, None] * c
    size, plate = (2, 64), {"down": down, "across": across}
    kept = {}
    for name, position in plate.items():
        stripes = (position * 1.5).cos()[None, None]
        found = warp(stripes, theta, Affine(), size=size, mode="lanczos3", antialias=True)
        kept[name] = found.square().mean().item() * 2
    assert kept["across"] > 0.8
    assert kept["down"] < 0.02


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "lanczos3", "bspline3"])
def test_a_zone_plate_loses_its_alias(mode):
    """Shrunk by 8 at 30°: of frequencies above the output's limit, 20 dB less come through."""
    position = torch.arange(512) - 255.5
    plate = (math.pi / 512 * (position[:, None] ** 2 + position**2)).double().cos()
    frequency = torch.fft.fftfreq(512, dtype=torch.float64)
    above = frequency[:, None] ** 2 + frequency**2 > (0.5 / 8) ** 2
    alone = torch.fft.ifft2(torch.fft.fft2(plate) * above).real.float()[None, None]
    plain, found = (
        warp(alone, _turned(30), Affine(), size=64, mode=mode, antialias=antialias)
        for antialias in (False, True)
    )
    assert 10 * math.log10(plain.square().mean() / found.square().mean()) >= 20


WIDENED = {"size": 4, "mode": "bicubic", "antialias": True}
TURNED = _turned(25, 1.1, 1.3).double()


@pytest.mark.parametrize(
    ("padding_mode", "by_numpy"),
    [("zeros", "constant"), ("border", "edge"), ("reflection", "symmetric"), ("wrap", "wrap")],
)
def test_wide_taps_outside_read_the_padded_image(padding_mode, by_numpy):
    """Oracle: an image padded by numpy."""
    image = _image(12, 12, dtype=torch.float64)
    found = warp(image, TURNED, Affine(), padding_mode=padding_mode, **WIDENED)
    pad = ((0, 0), (0, 0), (36, 36), (36, 36))
    padded = torch.from_numpy(np.pad(image.numpy(), pad, mode=by_numpy))
    within = TURNED / 7  # the same pixels of an image seven times as large
    assert_close(warp(padded, within, Affine(), **WIDENED), found)


def test_constants_stay_where_weights_are_renormalised():
    image = torch.ones(1, 2, 12, 12, dtype=torch.float64)
    ones = warp(image, TURNED, Affine(), padding_mode="renormalise", **WIDENED)
    assert_close(ones, torch.ones_like(ones))


def test_a_fill_shows_by_its_share():
    image, theta = torch.zeros(1, 1, 12, 12, dtype=torch.float64), _turned(25, 1.4).double()
    options = {"size": 4, "mode": "lanczos2", "antialias": True}
    ones = warp(torch.ones_like(image), theta, Affine(), **options)
    found = warp(image, theta, Affine(), padding_mode="constant", fill_value=3.0, **options)
    assert_close(found, 3 * (1 - ones))


def _differences(function, x, step):
    steps = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape) * step
    return torch.stack([(function(x + s) - function(x - s)) / (2 * step) for s in steps])


@pytest.mark.parametrize("kind", ["general", "equal widths", "capped"])
@pytest.mark.parametrize("mode", ["bicubic", "bspline3"])
def test_derivatives_count_the_widening(mode, kind):
    """First and second ones, where axes are equally wide, too, and have no directions."""
    affine, image = Affine(), torch.randn(1, 1, 14, 14, dtype=torch.float64)
    theta = affine.identity()[None].double() * 0.93
    theta[:, 2] = 0.03
    if kind == "general":
        theta = theta + torch.randn(theta.shape, dtype=theta.dtype) / 6
    options = {"size": 4, "mode": mode, "antialias": 2 if kind == "capped" else True}
    direction = torch.linspace(1, 2, theta.numel(), dtype=torch.float64)

    def loss(theta):
        return warp(image, theta, affine, **options).square().sum()

    def along(theta):
        theta = theta.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
        return (slope.flatten() * direction).sum(), theta, slope

    total, leaf, slope = along(theta)
    assert_close(slope.detach()[0], _differences(loss, theta, 1e-6), rtol=1e-5, atol=1e-5)
    (second,) = torch.autograd.grad(total, leaf)
    due = _differences(lambda t: along(t)[0].detach(), theta, 1e-5)
    assert_close(second[0], due, rtol=1e-4, atol=1e-4 * due.abs().max().item())


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("widths", [(3.0, 1.7, 0.4), (2.0, 2.0, 2.0), (2.5, 0.5, 2.5), (9, 4, 0.3)])
def test_derivatives_of_the_stretch(ndim, widths):
    turn = torch.linalg.qr(torch.randn(1, 2, ndim, ndim, dtype=torch.float64))[0]
    jacobian = turn * torch.tensor(widths[:ndim], dtype=torch.float64)
    jacobian = (jacobian @ turn.roll(1, 1)).requires_grad_()

    def inverse(jacobian):
        return torch.stack([entry for row in stretch(jacobian, 8).inverse for entry in row])

    assert torch.autograd.gradcheck(inverse, jacobian)
    assert torch.autograd.gradgradcheck(inverse, jacobian, atol=1e-4)


def test_dense_fields_are_widened_where_they_shrink():
    field = Displacement((6, 6))
    theta = 0.5 * torch.randn(1, field.num_parameters, dtype=torch.float64)
    image = _image(40, 40, dtype=torch.float64)
    plain, found = (
        warp(image, theta, field, size=20, antialias=a, padding_mode="border")
        for a in (False, True)
    )
    steps = field.spacing(theta, 20, (40, 40))
    shrinks = torch.linalg.matrix_norm(steps, 2) ** 2 > 1.001
    assert_identical((found != plain).any(1) & ~shrinks, torch.zeros_like(shrinks))
    assert found.var() < plain.var()


def test_the_cap_holds():
    """Beyond the cap the kernel is as wide as there."""
    image = _image(64, 64)
    four = warp(image, IDENTITY, Affine(), size=4, antialias=4)
    weights = (1 - ((torch.arange(64) - 7.5).abs() / 4)).clamp(min=0)  # at the first output
    weights = weights / weights.sum()
    due = torch.einsum("nchw,h,w->nc", image, weights, weights)
    assert_close(four[..., 0, 0], due)


@pytest.mark.parametrize("situation", ["theta", "grid"])
def test_what_is_not_finite_stays_fill(situation):
    image = _image(16, 16, n=2).requires_grad_()
    theta = IDENTITY.repeat(2, 1)
    theta[1, 2] = torch.nan
    if situation == "theta":
        coordinates = theta.requires_grad_()
        found = warp(image, coordinates, Affine(), size=5, antialias=True)
    else:
        coordinates = Affine().grid(theta, 5).requires_grad_()
        found = sample(image, coordinates, antialias=True)
    assert not found[1].any()
    assert found[0].all()
    for slope in torch.autograd.grad(found.sum(), (image, coordinates)):
        assert slope.isfinite().all()
        assert not slope[1].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    image = _image(64, 64).to(dtype)
    found = warp(image, _turned(20), Affine(), size=9, antialias=True)
    due = warp(image.double(), _turned(20).double(), Affine(), size=9, antialias=True)
    assert found.dtype == dtype
    assert_close(found.double(), due, rtol=0, atol=torch.finfo(dtype).eps)


def test_one_dimension():
    signal = torch.rand(1, 1, 60)
    grid = Affine().grid(IDENTITY, (1, 12))[:, 0, :, :1]
    found = sample(signal, grid, antialias=True, padding_mode="renormalise")
    weights = (1 - (torch.arange(60) - (torch.arange(12)[:, None] * 5 + 2)).abs() / 5).clamp(min=0)
    assert_close(found[0, 0], weights / weights.sum(1, keepdim=True) @ signal[0, 0])


@pytest.mark.traced
def test_integers_are_not_averaged():
    with pytest.raises(InputError, match=r"integer images have no weighted sums.*not antialiased"):
        warp(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), IDENTITY, Affine(), antialias=True)


@pytest.mark.traced
@pytest.mark.parametrize("antialias", [0.5, 65, torch.nan, "8", None, 0])
def test_a_cap_that_is_none(antialias):
    expected = r"antialias .* was given; give True, False, or .* a number from 1 to 64"
    with pytest.raises(InputError, match=expected):
        warp(_image(4, 4), IDENTITY, Affine(), antialias=antialias)


def test_every_combination_is_finite():
    """Kernels × paddings, shrinking under a rotation, in and out of the image."""
    image, theta = _image(20, 20), _turned(30, 1.5, 1.2)
    for mode, padding_mode in product(KERNELS, ("zeros", "border", "wrap", "renormalise")):
        found = warp(
            image,
            theta,
            Affine(),
            size=5,
            mode=mode,
            padding_mode=padding_mode,
            antialias=True,
        )
        assert found.isfinite().all(), (mode, padding_mode)
        assert found.abs().max() < 2.5
