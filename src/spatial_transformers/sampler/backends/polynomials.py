"""A kernel's weights as compiled code evaluates them: one polynomial per tap, or per piece.

Between two pixels a kernel's values at its taps, divided by their sum where it says so, are smooth
functions of the place there. Each is interpolated at Chebyshev's points, by the lowest degree that
is exact to rounding: cubics and B-splines need their own degree, windowed sincs more. Slopes are
the polynomials' derivatives, and so the right-hand ones at a kink.

A kernel that widens has taps at any distance. Its own values, not divided by any sum, are smooth in
|d| between whole distances, or for an odd number of taps between halves: one polynomial each.
"""

from collections.abc import Callable
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
    found = _fitted(lambda s: _weights(kernel, phi, s), precise)
    return None if found is None else _rows(kernel, phi, found)


@lru_cache(maxsize=256)
def piece_polynomials(mode: str, phi: tuple[float, ...], precise: bool) -> np.ndarray | None:
    """Return polynomials of |d| - middle, of pieces whose middles are 1 apart, from 0 or 1/2 on.

    Per piece: the terms of the weight and of its slope. At the end the weight at the support's end.
    None if no polynomial of a moderate degree is exact.
    """
    kernel = KERNELS[mode]
    middles = np.arange((kernel.count + 1) // 2) + (0 if kernel.count % 2 else 0.5)

    def weights(s: np.ndarray) -> np.ndarray:
        distances = middles + s[:, None] / 2  # the first piece of an odd count is even in d
        return kernel.weight(torch.from_numpy(distances).clamp(max=kernel.count / 2), *phi).numpy()

    found = _fitted(weights, precise)
    if found is None:
        return None
    rows = []
    for terms in found.T:
        weight = Polynomial(chebyshev.cheb2poly(terms))(Polynomial([0, 2]))
        row = np.zeros((2, len(terms)))
        row[0, : len(weight.coef)] = weight.coef
        row[1, : len(weight.deriv().coef)] = weight.deriv().coef
        rows.append(row.ravel())
    end = kernel.weight(torch.tensor([kernel.count / 2], dtype=torch.float64), *phi)
    return np.concatenate((*rows, end.numpy()))


def _fitted(weights: Callable[[np.ndarray], np.ndarray], precise: bool) -> np.ndarray | None:
    """Return Chebyshev's terms (terms, rows) for weights (places, rows) at places in [-1, 1]."""
    between = np.cos(np.linspace(0, np.pi, 4 * _MOST_TERMS))
    due = weights(between)
    for terms in range(1, _MOST_TERMS + 1):
        nodes = chebyshev.chebpts1(terms)
        found = chebyshev.chebfit(nodes, weights(nodes), terms - 1)
        error = np.abs(chebyshev.chebval(between, found).T - due).max()
        if error <= _ROUNDING[precise] * max(1, np.abs(due).max()):
            return found
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
