"""Derivatives of every order are right on every backend; oracles: differences, the reference."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.gradcheck import GradcheckError
from torch.testing import assert_close

from spatial_transformers import Affine, sample, warp
from spatial_transformers.sampler.autograd import Operator, run

from .oracles import NAMES, PADDINGS, normalise, off_kinks

backends = pytest.mark.parametrize("backend", NAMES)
paddings = pytest.mark.parametrize("padding_mode", PADDINGS)
corners = pytest.mark.parametrize("align_corners", [False, True])
dimensions = pytest.mark.parametrize("ndim", [2, 3])

SOURCES = {2: (3, 4), 3: (2, 3, 2)}
TARGETS = {2: (2, 2), 3: (1, 2, 1)}


def _options(padding_mode, **options):
    fill = 0.7 if padding_mode == "constant" else None
    return {"padding_mode": padding_mode, "fill_value": fill, **options}


def _sampling(ndim, align_corners=False, **options):
    """Return `sample` as a function of image and grid, and inputs for it off kinks."""
    source = SOURCES[ndim]
    image = torch.randn(1, 1, *source).double().requires_grad_()
    grid = normalise(off_kinks(2, source, TARGETS[ndim]), source, align_corners).requires_grad_()
    return lambda u, g: sample(u, g, align_corners=align_corners, **options), (image, grid)


def _off_kinks_theta(affine, source, target, align_corners):
    while True:
        theta = affine.identity().double()[None] + torch.randn(1, affine.num_parameters) / 3
        pixels = affine.pixels(theta, target, source, align_corners=align_corners) * 2
        if ((pixels - pixels.round()).abs() > 0.02).all():
            return theta


def _warping(ndim, align_corners=False, **options):
    """Return `warp` as a function of image and θ, and inputs for it off kinks."""
    affine, source, target = Affine(ndim), SOURCES[ndim], TARGETS[ndim]
    image = torch.randn(1, 1, *source).double().requires_grad_()
    theta = _off_kinks_theta(affine, source, target, align_corners).requires_grad_()
    options |= {"size": target, "align_corners": align_corners}
    return lambda u, t: warp(u, t, affine, **options), (image, theta)


def _along_a_line(function, inputs, step=1e-5):
    """Return the derivative of a vector–Jacobian product along a line, and its difference.

    The difference is of the fast backward, the derivative is that of the reference, which stands
    in for it. `gradgradcheck` sees the reference alone.
    """
    lines = [torch.randn_like(x) for x in inputs]
    weights = [torch.randn_like(x) for x in inputs]

    def product(inputs, **options):
        found = torch.autograd.grad(function(*inputs).sin().sum(), inputs, **options)
        return sum((g * w).sum() for g, w in zip(found, weights, strict=True))

    second = torch.autograd.grad(product(inputs, create_graph=True), inputs)
    derivative = sum((g * v).sum() for g, v in zip(second, lines, strict=True))
    ends = [
        product([(x + h * v).detach().requires_grad_() for x, v in zip(inputs, lines, strict=True)])
        for h in (step, -step)
    ]
    return derivative, (ends[0] - ends[1]) / (2 * step)


@backends
@paddings
@corners
@dimensions
@pytest.mark.parametrize("operation", [_sampling, _warping])
def test_first_and_second_derivatives(
    operation, backend, padding_mode, align_corners, ndim, check_derivatives
):
    options = _options(padding_mode, backend=backend, align_corners=align_corners)
    function, inputs = operation(ndim, **options)
    check_derivatives(function, inputs)
    assert_close(*_along_a_line(function, inputs), rtol=1e-6, atol=1e-7)


@pytest.mark.costly
@paddings
@dimensions
@pytest.mark.traced
@pytest.mark.parametrize("operation", [_sampling, _warping])
def test_forward_mode_derivatives(operation, padding_mode, ndim):
    function, inputs = operation(ndim, **_options(padding_mode))
    checks = {"check_forward_ad": True, "check_batched_forward_grad": True}
    assert gradcheck(function, inputs, **checks, check_batched_grad=True)


@backends
@pytest.mark.parametrize("operation", [_sampling, _warping])
def test_nearest_has_no_slope_and_a_linear_image(operation, backend):
    function, (image, where) = operation(2, mode="nearest", backend=backend)
    assert gradcheck(lambda u: function(u, where), image)
    assert gradgradcheck(lambda u: function(u, where), image)
    (to_where,) = torch.autograd.grad(function(image, where).sum(), where)
    assert not to_where.any()


def _second_order(function, inputs):
    output = function(*inputs)
    first = torch.autograd.grad(output.sin().sum(), inputs, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in first), inputs)


@paddings
@corners
@dimensions
@pytest.mark.parametrize("kinks", [False, True])
def test_second_derivatives_are_those_of_the_reference(padding_mode, align_corners, ndim, kinks):
    affine, image = Affine(ndim), torch.randn(2, 1, *SOURCES[ndim])
    theta = affine.identity()[None].repeat(2, 1) + (0 if kinks else 0.1)
    inputs = [image.double().requires_grad_(), theta.double().requires_grad_()]
    options = _options(padding_mode, align_corners=align_corners)
    found = [
        _second_order(lambda u, t, b=b: warp(u, t, affine, backend=b, **options), inputs)
        for b in NAMES
    ]
    for other in found:
        assert_close(other, found[-1])
    assert all(g.any() for g in found[-1])


class _Counting:
    """x² y as an operator, whose parts count their calls; `wrong` spoils the named part."""

    def __init__(self, wrong=None):
        self.calls = {"forward": 0, "backward": 0, "reference": 0}
        self.wrong = wrong

    def _part(self, name, value):
        self.calls[name] += 1
        return value * 1.5 if self.wrong == name else value

    def __call__(self, x, y):
        operator = Operator(
            forward=lambda x, y: self._part("forward", x**2 * y),
            backward=lambda g, needed, x, y: (
                self._part("backward", 2 * x * y * g),
                x**2 * g if needed[1] else None,
            ),
            reference=lambda x, y: self._part("reference", x**2 * y),
        )
        return run(operator, x, y)


def _numbers():
    return [torch.rand(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]


def test_each_part_runs_when_it_should():
    counting, (x, y) = _Counting(), _numbers()
    output = counting(x, y).sum()
    assert counting.calls == {"forward": 1, "backward": 0, "reference": 0}
    torch.autograd.grad(output, (x, y), retain_graph=True)
    assert counting.calls == {"forward": 1, "backward": 1, "reference": 0}
    torch.autograd.grad(output, (x, y), create_graph=True)
    assert counting.calls == {"forward": 1, "backward": 1, "reference": 1}


def test_only_what_is_needed_is_asked_for():
    x, y = _numbers()
    (found,) = torch.autograd.grad(_Counting()(x, y.detach()).sum(), x)
    assert_close(found, 2 * x * y)
    (found,) = torch.autograd.grad(_Counting()(x.detach(), y).sum(), y, create_graph=True)
    assert_close(found, x**2)


def test_the_checks_find_a_wrong_part():
    inputs = _numbers()
    assert gradcheck(_Counting(), inputs)
    assert gradgradcheck(_Counting(), inputs)
    with pytest.raises(GradcheckError):
        gradcheck(_Counting("backward"), inputs)
    assert_close(*_along_a_line(_Counting(), inputs))
    with pytest.raises(AssertionError):
        assert_close(*_along_a_line(_Counting("reference"), inputs))
