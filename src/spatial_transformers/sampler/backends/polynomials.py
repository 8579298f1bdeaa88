"""A kernel's weights as compiled code evaluates them: one polynomial per tap.

Between two pixels a kernel's values at its taps, divided by their sum where it says so, are smooth
functions of the place there. Each is interpolated at Chebyshev's points, by the lowest degree that
is exact to rounding: cubics and B-splines need their own degree, windowed sincs more. Slopes are
the polynomials' derivatives, and so the right-hand ones at a kink.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import Polynomial, chebyshev

from ..kernels import KERNELS, Kernel

MOST_TAPS = 12
_MOST_TERMS = 30
#: How far a weight may be off, where images are float32 or narrower, and where they are float64.
_ROUNDING = {False: 2.0**-26, True: 2.0**-49}


@lru_cache(maxsize=256)
def tap_polynomials(mode: str, phi: tuple[float, ...], precise: bool) -> np.ndarray | None:
    """Return polynomials of s in [-1, 1], from one end of the place between pixels to the other.

    Per tap, in a row: the terms of the weight, of its slope, and the weights at both ends. None if
    no polynomial of a moderate degree is exact.
    """
    kernel = KERNELS[mode]
    if kernel.count > MOST_TAPS:
        return None
    between = np.cos(np.linspace(0, np.pi, 4 * _MOST_TERMS))
    due = _weights(kernel, phi, between)
    for terms in range(1, _MOST_TERMS + 1):
        nodes = chebyshev.chebpts1(terms)
        found = chebyshev.chebfit(nodes, _weights(kernel, phi, nodes), terms - 1)
        error = np.abs(chebyshev.chebval(between, found).T - due).max()
        if error <= _ROUNDING[precise] * max(1, np.abs(due).max()):
            return _rows(kernel, phi, found)
    return None


def _weights(kernel: Kernel, phi: tuple[float, ...], s: np.ndarray) -> np.ndarray:
    """Return the weights (places, taps) at places from -1 to 1."""
    apart = torch.from_numpy(s / 2 if kernel.count % 2 else (s + 1) / 2)
    offsets = torch.tensor(kernel.offsets, dtype=torch.float64)
    weights = kernel(apart[:, None] - offsets, phi)
    weights = weights / weights.sum(1, keepdim=True) if kernel.normalise else weights
    return weights.numpy()


def _rows(kernel: Kernel, phi: tuple[float, ...], found: np.ndarray) -> np.ndarray:
    ends, rows = _weights(kernel, phi, np.array([-1.0, 1.0])), []
    for tap, terms in enumerate(found.T):
        weight = Polynomial(chebyshev.cheb2poly(terms))
        slope = weight.deriv() * 2  # s runs through 2 where a point moves by a pixel
        row = np.zeros((2, len(terms)))
        row[0, : len(weight.coef)] = weight.coef
        row[1, : len(slope.coef)] = slope.coef
        rows.append(np.concatenate((row.ravel(), ends[:, tap])))
    return np.stack(rows)
