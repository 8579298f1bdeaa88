"""Kernels are partitions of unity with right-hand slopes; oracles: eqs. 4 and 5, differences."""

import pytest
import torch
from torch.testing import assert_close

from spatial_transformers.sampler.kernels import KERNELS

every = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
EQUATIONS = {
    "nearest": lambda d: (torch.floor(d + 0.5) == 0).to(d),  # eq. 4
    "bilinear": lambda d: (1 - d.abs()).clamp(min=0),  # eq. 5
}


def _weights(kernel, x):
    """Return pixels and weights, (offsets, *x.shape) each, as the sampler forms them."""
    base = kernel.base(x)
    pixels = torch.stack([base.detach() + offset for offset in kernel.offsets])
    return pixels, torch.stack(kernel.weights(x - base))


def _coordinates():
    """Return coordinates on and off whole and half pixels."""
    return torch.cat((torch.arange(-8, 9).double() / 2, torch.rand(200).double() * 20 - 10))


@every
def test_weights_sum_to_one(kernel):
    x = _coordinates().requires_grad_()
    _, weights = _weights(kernel, x)
    assert len(weights) == len(kernel.offsets)
    assert_close(weights.sum(0), torch.ones_like(x))
    (slope,) = torch.autograd.grad(weights.sum(), x)
    assert_close(slope, torch.zeros_like(x))


@every
def test_weights_are_those_of_the_paper(kernel):
    x = _coordinates()[17:]  # off halves, where "nearest" may choose
    pixels, weights = _weights(kernel, x)
    equation = EQUATIONS[kernel.name]
    assert_close(weights, equation(x - pixels))
    nearby = torch.arange(-15, 16).double()[:, None]  # and nothing is left out
    assert_close(equation(x - nearby).sum(0), weights.sum(0))


@every
def test_slopes_are_right_hand(kernel):
    x, step = _coordinates(), 1e-6
    nearby = torch.arange(-15, 16).double()

    def at_every_pixel(x):
        pixels, weights = _weights(kernel, x)
        return (weights[..., None] * (pixels[..., None] == nearby)).sum(0)  # (x, pixels)

    slopes = torch.autograd.functional.jacobian(lambda x: at_every_pixel(x).sum(0), x)
    differences = (at_every_pixel(x + step) - at_every_pixel(x)) / step
    if kernel.name == "nearest":  # flat where it jumps, too
        differences = torch.zeros_like(differences)
    assert_close(slopes.T, differences, rtol=0, atol=1e-6)


def test_nearest_takes_halves_to_the_even_pixel():
    pixels, _ = _weights(KERNELS["nearest"], torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5]))
    assert pixels.tolist() == [[-2, 0, 0, 2, 2]]


@every
def test_name_is_the_mode(kernel):
    assert KERNELS[kernel.name] is kernel
