"""Every kernel is the one that its source prints; oracles: `equation_3`, `F.grid_sample`, algebra.

Weights are read off the sampler itself: an axis of L pixels in L channels, each 1 at one of them.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from spatial_transformers import KERNELS, Affine, Kernel, Sampler, SpatialTransformer, sample
from spatial_transformers.sampler.backends.reference import sample_pixels
from spatial_transformers.sampler.dispatch import Spec
from spatial_transformers.sampler.options import Options
from spatial_transformers.sampler.padding import PADDING_MODES

from .oracles import (
    NAMES,
    PHI,
    SOURCES,
    TARGETS,
    TORCH_PADDINGS,
    assert_near,
    equation_3,
    gradients,
    normalise,
    off_kinks,
    textbook,
    unnormalise,
)

modes = pytest.mark.parametrize("mode", KERNELS)
corners = pytest.mark.parametrize("align_corners", [False, True])
paddings = pytest.mark.parametrize("padding_mode", PADDING_MODES)
dimensions = pytest.mark.parametrize("ndim", [1, 2, 3])

INTERPOLATING = set(KERNELS) - {"mitchell", "gaussian"}
LENGTH = 32  # a power of two: whole and half pixels normalise without rounding
DTYPES = (torch.float64, torch.float32)


def _image(n, size):
    return torch.randn(n, 2, *size, dtype=torch.float64)


def _weights(mode, x):
    """Return the weight (pixels, points) of every pixel of a ring at coordinates x."""
    image, grid = torch.eye(LENGTH, dtype=x.dtype)[None], x[None, :, None]
    return sample(image, normalise(grid, (LENGTH,), False), mode=mode, padding_mode="wrap")[0]


def _coordinates():
    """Return coordinates on and off whole and half pixels, well inside."""
    return torch.cat((torch.arange(22, 40).double() / 2, torch.rand(99).double() * 9 + 11))


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("padding_mode", TORCH_PADDINGS)
@corners
def test_bicubic_is_that_of_grid_sample(backend, padding_mode, align_corners):
    options = {"mode": "bicubic", "padding_mode": padding_mode, "align_corners": align_corners}
    pixels = torch.cat((off_kinks(2, (5, 7), (6, 4)), off_kinks(2, (5, 7), (6, 4)) * 3), 1)
    image, grid = _image(2, (5, 7)), normalise(pixels, (5, 7), align_corners)
    for dtype, tolerance in zip(DTYPES, (1e-12, 1e-5), strict=True):
        given = image.to(dtype), grid.to(dtype)
        found = gradients(lambda u, g: sample(u, g, backend=backend, **options), *given)
        assert_near(
            found, gradients(lambda u, g: F.grid_sample(u, g, **options), *given), tolerance
        )


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("bicubic", (-0.5, -1.0, 0.3)),
        ("mitchell", ((0.0, 0.5), (1.0, 0.0), (0.2, -0.4))),
        ("gaussian", (0.3, 0.9, 0.03)),
    ],
)
@paddings
def test_another_phi(mode, values, padding_mode):
    image, pixels = _image(1, (5, 7)), off_kinks(1, (5, 7), (6, 4))
    options = {
        "padding_mode": padding_mode,
        "fill_value": 0.7 if padding_mode == "constant" else None,
    }
    for phi in values:
        # as documented, a narrower Gaussian than this has one weight left in any precision
        entries = (
            torch.tensor(phi).double().reshape(-1).clamp(min=0.04 if mode == "gaussian" else -9)
        )
        due = equation_3(image, pixels, mode, padding_mode, False, 0.7, entries)
        grid = normalise(pixels, (5, 7), False)
        given = (
            phi,
            torch.tensor(phi).double().reshape(-1),
            [phi] if isinstance(phi, float) else phi,
        )
        for form in given:
            assert_close(sample(image, grid, mode=KERNELS[mode].with_phi(form), **options), due)


@modes
def test_weights_sum_to_one(mode):
    x = _coordinates().requires_grad_()
    weights = _weights(mode, x)
    assert_close(weights.sum(0), torch.ones_like(x))
    (slope,) = torch.autograd.grad(weights.sum(), x)
    assert_close(slope, torch.zeros_like(x))


@modes
def test_slopes_are_right_hand(mode):
    x, step = _coordinates(), 1e-6
    leaf = x.clone().requires_grad_()
    rows = [torch.autograd.grad(w.sum(), leaf, retain_graph=True)[0] for w in _weights(mode, leaf)]
    differences = (_weights(mode, x + step) - _weights(mode, x)) / step
    if mode in ("nearest", "bspline0"):  # flat where they jump, too
        differences = torch.zeros_like(differences)
    assert_close(torch.stack(rows), differences, rtol=0, atol=5e-5)


@modes
def test_second_derivatives_of_weights(mode):
    """At distance 0 too, where all but the first two kernels are smooth."""
    kernel, step = KERNELS[mode], 1e-4
    smooth = mode not in ("nearest", "bilinear", "bspline0", "bspline1")
    near = torch.tensor([0.0, 1e-9, -1e-6, 1e-3, 0.25, -0.25]).double()
    d = torch.cat((near * smooth, off_kinks(1, (8,), (99,)).flatten()))
    d = d[(d.abs() > 2 * step) | smooth].requires_grad_()

    def weight(d):
        return kernel(d, kernel.phi)

    (first,) = torch.autograd.grad(weight(d).sum(), d, create_graph=True)
    (second,) = torch.autograd.grad((first + 0 * d).sum(), d)  # of a constant slope 0, too
    with torch.no_grad():
        slopes = (weight(d + step) - weight(d - step)) / (2 * step)
        curves = (weight(d + step) - 2 * weight(d) + weight(d - step)) / step**2
    assert_close(first.detach(), slopes, rtol=0, atol=1e-6)
    exact = mode.startswith(("lanczos", "gaussian"))  # elsewhere third derivatives jump
    assert_close(second, curves, rtol=0, atol=2e-6 if exact else 1e-3)


@pytest.mark.parametrize("lobes", [2, 3, 5])
def test_lanczos_bends_at_the_pixel_as_its_series_does(lobes):
    d = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    value = KERNELS[f"lanczos{lobes}"](d)
    (slope,) = torch.autograd.grad(value, d, create_graph=True)
    (curve,) = torch.autograd.grad(slope, d)
    assert value.item() == 1
    assert slope.item() == 0
    assert_close(curve.item(), -(torch.pi**2) / 3 * (1 + 1 / lobes**2), rtol=1e-14, atol=0)


@modes
@pytest.mark.parametrize("dtype", DTYPES)
def test_interpolating_kernels_are_exact_at_pixels(mode, dtype):
    kernel = KERNELS[mode]
    if mode not in INTERPOLATING or kernel.inverse_filter is not None:
        return  # these are looked at in test_prefilter.py
    distances = torch.arange(-6, 7).to(dtype)
    assert torch.equal(kernel(distances, kernel.phi), (distances == 0).to(dtype))
    weights = _weights(mode, torch.arange(LENGTH).to(dtype))
    assert torch.equal(weights, torch.eye(LENGTH, dtype=dtype))


@modes
def test_kernels_are_as_their_textbook_beyond_and_inside_the_support(mode):
    kernel = KERNELS[mode]
    d = off_kinks(1, (24,), (999,)).flatten() - 12
    due = textbook(mode)(d, *torch.tensor(kernel.phi, dtype=d.dtype))
    assert (due != 0).any()
    assert_close(kernel(d, kernel.phi), due, rtol=0, atol=2e-13)
    assert kernel.name == mode


def test_nearest_takes_halves_to_the_even_pixel():
    halves = torch.arange(8).double() + 0.5
    pixels = _weights("nearest", halves).argmax(0)
    assert pixels.tolist() == [0, 2, 2, 4, 4, 6, 6, 8]


# A kernel of one's own.


def _decay(d, rate):
    return torch.exp(-rate * d.abs())


class Learned(nn.Module):
    """A small network as the weight of a distance."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1), nn.Softplus())

    def forward(self, d):
        return self.layers(d.square()[..., None])[..., 0]


class Localisation(nn.Module):
    """A fixed pose."""

    def forward(self, image):
        return image.new_tensor([[0.9, 0.1, 0.03, -0.2, 1.1, -0.02]]).expand(len(image), -1)


def _grid(n, source, target):
    return normalise(off_kinks(n, source, target), source, False)


@paddings
@pytest.mark.parametrize("support", [0.5, 1, 1.5, 4, 7.5])
def test_a_function_is_a_kernel(padding_mode, support):
    """Of odd and even counts; and its gradients, to Φ too."""

    def due(d, rate):
        return _decay(d, rate).where(d.abs() < support, 0)

    image, pixels = _image(2, (5, 7)), off_kinks(2, (5, 7), (6, 4))
    rate = torch.tensor([1.3], dtype=torch.float64)
    fill = 0.7 if padding_mode == "constant" else None
    kernel = Kernel(_decay, support, phi=2.0)

    def found(u, g, phi):
        return sample(u, g, mode=kernel.with_phi(phi), padding_mode=padding_mode, fill_value=fill)

    def expected(u, g, phi):
        return equation_3(u, unnormalise(g, (5, 7), False), due, padding_mode, False, 0.7, phi)

    inputs = image, normalise(pixels, (5, 7), False), rate
    assert_near(gradients(found, *inputs), gradients(expected, *inputs), 1e-12)


def test_without_normalising_weights_stay_what_they_are():
    kernel = Kernel(_decay, 1, phi=1.0, normalise=False)
    image, pixels = torch.ones(1, 1, 8).double(), torch.tensor([[[2.25]]]).double()
    found = sample(image, normalise(pixels, (8,), False), mode=kernel)
    assert_close(found.item(), torch.tensor([-0.25, -0.75]).double().exp().sum().item())


@pytest.mark.parametrize("mode", sorted(PHI))
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_phi_of_every_image_is_one_call_each(mode, ndim):
    image, grid = _image(3, SOURCES[ndim]), _grid(3, SOURCES[ndim], TARGETS[ndim])
    phi = torch.tensor(PHI[mode]).double() * torch.tensor([[0.7], [1.0], [1.4]]).double()
    rows = zip(image[:, None], grid[:, None], phi, strict=True)
    each = torch.cat([sample(u, g, mode=KERNELS[mode].with_phi(p)) for u, g, p in rows])
    for form in (phi, phi[:, None].expand(-1, ndim, -1)):
        assert_close(sample(image, grid, mode=KERNELS[mode].with_phi(form)), each)
    alone = sample(image, grid, mode=KERNELS[mode].with_phi(phi[:1]))
    assert_close(alone, sample(image, grid, mode=KERNELS[mode].with_phi(phi[0])))


@pytest.mark.parametrize("mode", sorted(PHI))
@paddings
def test_phi_of_every_axis(mode, padding_mode):
    """x first: as one call along each axis; and by eq. 3."""
    image, pixels = _image(2, (5, 7)), off_kinks(2, (5, 7), (6, 4))
    phi = torch.tensor(PHI[mode]).double() * (0.6 + torch.rand(2, 2, 1).double())
    fill = 0.7 if padding_mode == "constant" else None
    options = {"padding_mode": padding_mode, "fill_value": fill}
    kernel, along_x, along_y = (KERNELS[mode].with_phi(p) for p in (phi, phi[:, 0], phi[:, 1]))
    found = sample(image, normalise(pixels, (5, 7), False), mode=kernel, **options)
    assert_close(found, equation_3(image, pixels, mode, padding_mode, False, 0.7, phi))
    if padding_mode == "border":  # whose result is continued by its ends, like the image
        x = off_kinks(2, (7,), (4,))
        mid = torch.full_like(x, 2.0)
        along = sample(
            image.flatten(1, 2), normalise(x, (7,), False), mode=along_x, **options
        ).unflatten(1, (2, 5))
        both = torch.stack((x[..., 0], mid[..., 0]), -1)[:, None]
        down = sample(
            along.transpose(2, 3).flatten(1, 2),
            normalise(mid[:, :1], (5,), False),
            mode=along_y,
            **options,
        ).reshape(2, 2, 1, 4)
        assert_close(sample(image, normalise(both, (5, 7), False), mode=kernel, **options), down)


def test_learnable_is_a_copy_that_starts_the_same():
    kernel = KERNELS["mitchell"]
    copy = kernel.learnable()
    assert isinstance(copy.phi, nn.Parameter)
    assert not isinstance(kernel.phi, torch.Tensor)
    image, grid = _image(1, (5, 7)), _grid(1, (5, 7), (6, 4))
    assert_close(
        sample(image, grid, mode=copy), sample(image, grid, mode="mitchell"), rtol=1e-6, atol=1e-6
    )
    sample(image, grid, mode=copy).square().sum().backward()
    assert (copy.phi.grad != 0).all()
    twice = copy.learnable()
    assert twice.phi is not copy.phi
    assert torch.equal(twice.phi, copy.phi)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Kernel(_decay, 2, phi=nn.Parameter(torch.tensor([2.0]))),
        lambda: Kernel(Learned(), 1.5),
        lambda: KERNELS["bicubic"].learnable(),
    ],
    ids=["function", "module", "named"],
)
def test_a_kernel_learns(make):
    """Towards what another kernel gives, by Adam on all of a transformer's parameters."""
    stn = SpatialTransformer(Localisation(), Affine(), Sampler(make(), padding_mode="border"))
    image = torch.randn(2, 1, 9, 8)
    due = SpatialTransformer(Localisation(), Affine(), Sampler("gaussian", padding_mode="border"))(
        image
    )
    parameters = list(stn.parameters())
    assert parameters
    optimiser = torch.optim.Adam(parameters, 0.02)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        losses.append(F.mse_loss(stn(image), due))
        losses[-1].backward()
        assert all(p.grad is not None and p.grad.any() for p in parameters)
        optimiser.step()
    assert losses[-1] < 0.9 * losses[0]


def test_a_transformer_keeps_its_kernel_in_its_state():
    kernel = Kernel(_decay, 2, phi=nn.Parameter(torch.tensor([2.0])))
    stn = SpatialTransformer(Localisation(), Affine(), Sampler(kernel))
    assert [name for name, _ in stn.named_parameters()] == ["sampler.mode.phi"]
    other = SpatialTransformer(
        Localisation(), Affine(), Sampler(Kernel(_decay, 2, phi=nn.Parameter(torch.tensor([0.5]))))
    )
    image = torch.randn(1, 2, 7, 6)
    assert not torch.equal(other(image), stn(image))
    other.load_state_dict(stn.state_dict())
    assert torch.equal(other(image), stn(image))
    buffer = Kernel(_decay, 2, phi=torch.tensor([2.0]))
    assert [*buffer.state_dict()] == ["phi"]
    assert not list(buffer.parameters())
    fixed = SpatialTransformer(Localisation(), Affine(), Sampler("gaussian"))
    assert [*fixed.state_dict()] == ["_extra_state"]
    given = KERNELS["gaussian"].with_phi(nn.Parameter(torch.tensor([0.5])))
    learned = SpatialTransformer(Localisation(), Affine(), Sampler(given))
    assert [name for name, _ in learned.named_parameters()] == ["sampler.mode.phi"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slope_just_below_a_pixel(dtype):
    """Where x − ⌊x⌋ rounds to 1, x still lies below the pixel: the slope is U_0 − U_-1."""
    spec = Spec("sample", 2, dtype, "cpu", "eager", False, Options())
    pixels = torch.tensor([[[-1e-9, 0.0]], [[-1e-20, 0.0]]], dtype=dtype, requires_grad=True)
    image = torch.tensor([[[[5.0, 9.0]]]], dtype=dtype)
    sampled = sample_pixels(spec, image, pixels, None)
    assert_close(sampled.flatten(), torch.full((2,), 5.0, dtype=dtype))
    (slope,) = torch.autograd.grad(sampled.sum(), pixels)
    assert_close(slope[..., 0], torch.full((2, 1), 5.0, dtype=dtype))
