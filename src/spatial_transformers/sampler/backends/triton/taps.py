# type: ignore  (Triton is optional, and its language untyped)
"""What a kernel reads along one axis, for Triton: bases, taps, weights and slopes (eqs. 3 to 7).

The operations are those of `kernels.py` and `padding.py`, in their order. Pixels are numbers in the
dtype of the coordinates until they are read, so that nothing overflows far outside; lengths, too,
come in that dtype.
"""

import triton
import triton.language as tl

from .records import Axis, Cover


@triton.jit
def quotient(a, b):
    """Return a / b, rounded once: float32's own division is an approximation on CUDA."""
    if a.dtype == tl.float64:
        result = a / b
    else:
        result = tl.div_rn(a, b)
    return result


@triton.jit
def isfinite(x):
    """Say where x is neither infinite nor NaN."""
    return tl.abs(x) < float("inf")


@triton.jit
def saturated(x):
    """Return the largest number in place of an infinite one; NaN stays."""
    largest = _largest(x.dtype)
    return tl.where(x > largest, largest, tl.where(x < -largest, -largest, x))


@triton.jit
def overflows(x):
    """Say where `saturated` gave x."""
    return tl.abs(x) == _largest(x.dtype)


@triton.jit
def _largest(dtype: tl.constexpr):
    if dtype == tl.float64:
        largest = tl.full((), 1.7976931348623157e308, dtype)
    else:
        largest = tl.full((), 3.4028234663852886e38, dtype)
    return largest


@triton.jit
def _is_odd(x):
    return x - 2 * tl.floor(x * 0.5) == 1


@triton.jit
def _nearest(x):
    """Round, halves to even."""
    below = tl.floor(x)
    rest = x - below
    return below + ((rest > 0.5) | ((rest == 0.5) & _is_odd(below))).to(x.dtype)


@triton.jit
def _far_remainder(x, n):
    """Return x mod n, exactly, for whole numbers |x| = m 2^e with e at least 0."""
    if x.dtype == tl.float64:
        bits = tl.abs(x).to(tl.int64, bitcast=True)
        exponent = ((bits >> 52) & 2047) - 1075
        mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    else:
        bits = tl.abs(x).to(tl.int32, bitcast=True).to(tl.int64)
        exponent = ((bits >> 23) & 255) - 150
        mantissa = (bits & ((1 << 23) - 1)) | (1 << 23)
    exponent, n = tl.maximum(exponent, 0), n.to(tl.int64)
    rest, power = mantissa % n, tl.zeros_like(bits) + 2 % n
    for _ in range(10):  # 2^e mod n by squares
        rest = tl.where((exponent & 1) == 1, rest * power % n, rest)
        power, exponent = power * power % n, exponent >> 1
    return tl.where((x < 0) & (rest > 0), n - rest, rest).to(x.dtype)


@triton.jit
def remainder(x, n):
    """Return x mod n in [0, n], as torch does."""
    limit = 4503599627370496.0 if x.dtype == tl.float64 else 8388608.0  # whole from there on
    near = tl.abs(x) < limit
    some = tl.where(near, x, 0)
    rest = some - tl.floor(quotient(some, n)) * n
    rest = tl.where(rest < 0, rest + n, rest)  # the quotient may be rounded up to a whole number
    rest = tl.where(rest >= n, tl.where(some < 0, rest, rest - n), rest)
    if tl.min(near.to(tl.int32)) == 0:
        rest = tl.where(near, rest, _far_remainder(x, n))
    return rest


@triton.jit
def _reflect(x, n, facts: tl.constexpr):
    """Fold the axis at its ends; return the number of folds with it."""
    low, span = (n * 0, n - 1) if facts.corners else (n * 0 - 0.5, n)
    distance = tl.abs(x - low)
    folds = tl.floor(quotient(distance, tl.where(span == 0, 1, span)))
    rest = distance - folds * span
    odd = _is_odd(folds)
    return tl.where(span == 0, x * 0, tl.where(odd, span - rest, rest) + low), odd


@triton.jit
def settle(x, n, TAPS: tl.constexpr, facts: tl.constexpr):
    """Return an axis: coordinate, base and where that is read, slope of moving inside, length.

    With one or two taps the point itself moves inside, with slope 0 from the border's centres on.
    """
    slope = tl.zeros_like(x) + 1
    if TAPS < 4:
        if facts.padding == "wrap":
            x = remainder(x, n)
        if facts.padding == "reflection":
            low = 0.0 if facts.corners else -0.5
            slope = tl.where(x > low, slope, -slope)
            x, odd = _reflect(x, n, facts)
            slope = tl.where(odd, -slope, slope)
        if facts.padding == "reflection" or facts.padding == "border":
            slope = tl.where((x > 0) & (x < n - 1), slope, 0)
            x = tl.minimum(tl.maximum(x, 0), n - 1)
    base = _nearest(x) if TAPS == 1 else tl.floor(x)
    read = base
    if TAPS == 4 and facts.padding == "wrap":
        read = remainder(base, n)
    return Axis(x, base, read, slope, n)


@triton.jit
def settle_all(point, size, facts: tl.constexpr):
    """Return the three axes, of which z has one tap in 2-D."""
    dtype: tl.constexpr = point[0].dtype
    x = settle(point[0], size[0].to(dtype), facts.taps, facts)
    y = settle(point[1], size[1].to(dtype), facts.taps, facts)
    deep: tl.constexpr = facts.taps if facts.ndim == 3 else 1
    return x, y, settle(point[2], size[2].to(dtype), deep, facts)


@triton.jit
def weigh(d, o, TAPS: tl.constexpr):
    """Return k(d) and its right-hand slope for the tap at offset o."""
    x = tl.abs(d)
    near, far, a = 1 - x, 2 - x, 0.75  # Keys's a, negated
    if TAPS == 1:
        weight, slope = tl.zeros_like(d) + 1, tl.zeros_like(d)
    elif TAPS == 2:  # by the tap: a distance just below 1 may be rounded to it
        weight, slope = near, tl.zeros_like(d) + (2 * o - 1)
    else:
        is_inner = (d >= -1) & (d < 1)
        inner, outer = near * near * (1 + 2 * x) + a * (x * x * near), far * far * (a * near)
        weight = tl.where(is_inner, inner, outer)
        inner, outer = x * (a * (2 * near - x) - 6 * near), -a * far * (2 * near + far)
        slope = tl.where(is_inner, inner, outer)
        slope = tl.where(d >= 0, slope, -slope)
    return weight, slope


@triton.jit
def tap(axis, o, TAPS: tl.constexpr, facts: tl.constexpr):
    """Return the pixel at offset o, whether it is one, its weight and its slope."""
    n, number = axis.length, axis.base + o
    inside = number == number
    weight, slope = weigh(axis.x - axis.base - o, o, TAPS)
    if facts.padding == "zeros" or facts.padding == "constant" or facts.padding == "renormalise":
        inside = (number >= 0) & (number <= n - 1)
    elif facts.padding == "wrap" and TAPS < 4:
        number = tl.where(number >= n, number - n, number)
    elif facts.padding == "wrap":
        number = axis.read + (number - axis.base)
        number = number - tl.floor(quotient(number, n)) * n
    elif facts.padding == "reflection":
        number = _reflect(number, n, facts)[0]
    return tl.minimum(tl.maximum(number, 0), n - 1).to(tl.int32), inside, weight, slope


@triton.jit
def cover(axis, TAPS: tl.constexpr, facts: tl.constexpr):
    """Return the sums over an axis's taps."""
    first: tl.constexpr = -1 if TAPS == 4 else 0
    inner, slopes = tl.zeros_like(axis.x), tl.zeros_like(axis.x)
    total = tl.zeros_like(axis.x)
    for k in tl.static_range(TAPS):
        _, inside, weight, slope = tap(axis, k + first, TAPS, facts)
        inner += tl.where(inside, weight, 0)
        slopes += tl.where(inside, slope, 0)
        total += weight
    return Cover(inner, slopes, total)


@triton.jit
def cover_all(axes, facts: tl.constexpr):
    """Return `cover` of the three axes."""
    deep: tl.constexpr = facts.taps if facts.ndim == 3 else 1
    x, y = cover(axes[0], facts.taps, facts), cover(axes[1], facts.taps, facts)
    return x, y, cover(axes[2], deep, facts)


@triton.jit
def divided(value, share):
    """Divide by the share of the weights that is inside: 0 where it is below a thousandth."""
    some = share > 1e-3
    return tl.where(some, quotient(value, tl.where(some, share, 1)), 0)
