"""The polynomials that compiled code weighs by are the kernels; oracle: the kernels' formulas."""

import numpy as np
import pytest
import torch
from numpy.polynomial.polynomial import polyval
from torch.testing import assert_close

from spatial_transformers import KERNELS
from spatial_transformers.sampler.backends.polynomials import MOST_TAPS, tap_polynomials

WIDE = [name for name, kernel in KERNELS.items() if kernel.count > 2]


def split(rows):
    """Return the terms of weights and slopes (taps, terms), and the weights at both ends."""
    terms = rows.shape[1] // 2 - 1
    return rows[:, :terms], rows[:, terms : 2 * terms], rows[:, 2 * terms :]


def formula(kernel, s):
    """Return weights and slopes (taps, places) of places from -1 to 1."""
    apart = (s / 2 if kernel.count % 2 else (s + 1) / 2).requires_grad_()
    offsets = torch.tensor(kernel.offsets, dtype=torch.float64)[:, None]
    weights = kernel(apart - offsets, kernel.phi)
    weights = weights / weights.sum(0) if kernel.normalise else weights
    slopes = [torch.autograd.grad(w.sum(), apart, retain_graph=True)[0] for w in weights]
    return weights.detach(), torch.stack(slopes)


@pytest.mark.parametrize("mode", WIDE)
@pytest.mark.parametrize(("precise", "tolerance"), [(False, 4e-8), (True, 4e-15)])
def test_weights_and_slopes(mode, precise, tolerance):
    kernel = KERNELS[mode]
    assert kernel.count <= MOST_TAPS
    weights, slopes, ends = split(tap_polynomials(mode, kernel.phi, precise))
    s = torch.linspace(-1, 1, 1001, dtype=torch.float64)[:-1]  # the last place begins the next
    due = formula(kernel, s)
    found = [torch.from_numpy(polyval(s.numpy(), terms.T)) for terms in (weights, slopes)]
    assert_close(found[0], due[0], rtol=0, atol=tolerance)
    assert_close(found[1], due[1], rtol=0, atol=1000 * tolerance)
    assert_close(torch.from_numpy(ends[:, 0].copy()), due[0][:, 0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("mode", ["bicubic", "lanczos2", "lanczos3", "lanczos5"])
def test_weights_on_pixels_are_exact(mode):
    """What is not finite stays where it is, if the other weights are 0 and not nearly."""
    ends = split(tap_polynomials(mode, KERNELS[mode].phi, False))[2][:, 0]
    assert np.array_equal(ends, np.array(KERNELS[mode].offsets) == 0)


def test_a_kernel_that_is_too_sharp_has_none():
    assert tap_polynomials("gaussian", (0.1,), False) is None
    assert tap_polynomials("gaussian", (0.35,), False) is not None
    assert tap_polynomials("gaussian", (0.5,), True) is not None
