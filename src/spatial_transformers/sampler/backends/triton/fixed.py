# type: ignore  (Triton is optional, and its language untyped)
"""Sums whose order does not matter, for Triton: in whole numbers of 64 bits.

Every term is a multiple of 2^-s, s being such that no sum overflows: with M points that a pixel may
be read by, a term is off by at most about M 2^-60 of the largest gradient, which for images of a
million points is 2^-40, and far below float32's own rounding. float64 carries 30 bits more in
a second number. A gradient with a number that is not finite gives no finite one.
"""

import triton
import triton.language as tl

from .points import volume

_REST = tl.constexpr(float(1 << 30))


@triton.jit
def scale_of(largest, n, headroom, dtype: tl.constexpr, IMAGE: tl.constexpr):
    """Return 2^s: `headroom` less the exponent of the largest gradient, which comes as bits."""
    if IMAGE == "none" or IMAGE == "float":
        scale = tl.full((), 1, dtype)
    elif dtype == tl.float64:
        bits = tl.load(largest + n)
        s = tl.minimum(tl.maximum(headroom - (bits >> 52) + 1022, -1000), 1000)
        scale = ((s + 1023) << 52).to(tl.float64, bitcast=True)
    else:
        bits = tl.load(largest + n)
        s = tl.minimum(tl.maximum(headroom - (bits >> 23) + 126, -126), 126)
        scale = ((s + 127) << 23).to(tl.float32, bitcast=True)
    return scale


@triton.jit
def add(sums, place, value, mask, IMAGE: tl.constexpr):
    """Add values to places that many programs add to."""
    if IMAGE == "float":
        tl.atomic_add(sums.into + sums.own + place, value, mask=mask, sem="relaxed")
    else:
        value *= sums.scale
        value = tl.where(tl.abs(value) < float("inf"), value, 0)
        whole = tl.floor(value)
        if value.dtype == tl.float64:
            more = tl.floor((value - whole) * _REST + 0.5).to(tl.int64)
            tl.atomic_add(sums.rest + sums.own + place, more, mask=mask, sem="relaxed")
        else:
            whole = tl.floor(value + 0.5)
        tl.atomic_add(sums.into + sums.own + place, whole.to(tl.int64), mask=mask, sem="relaxed")


@triton.jit(do_not_specialize=["served", "sx", "sy", "sz", "tx", "ty", "tz", "chunks"])
def prepare_kernel(
    grad, largest, sums, rest, served, channels, sx, sy, sz, tx, ty, tz, chunks,
    DOUBLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Find the largest gradient per image, and set its sums to 0."""
    dtype: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    source, target = (sx, sy, sz), (tx, ty, tz)
    n, number = (tl.program_id(0) // chunks).to(tl.int64), tl.program_id(0) % chunks
    size, slot = channels * volume(target), n // served
    element = number.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    found = tl.abs(tl.load(grad + n * size + element, mask=element < size, other=0).to(dtype))
    bits: tl.constexpr = tl.int64 if dtype == tl.float64 else tl.int32
    tl.atomic_max(largest + slot, tl.max(found.to(bits, bitcast=True), 0), sem="relaxed")
    size = channels * volume(source)
    zero = tl.zeros([BLOCK], tl.int64)
    tl.store(sums + slot * size + element, zero, mask=element < size)
    if dtype == tl.float64:
        tl.store(rest + slot * size + element, zero, mask=element < size)


@triton.jit(do_not_specialize=["sx", "sy", "sz", "headroom", "chunks"])
def settle_kernel(
    largest, sums, rest, out, headroom, channels, sx, sy, sz, chunks,
    DOUBLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the sums as floats."""
    dtype: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    n, number = (tl.program_id(0) // chunks).to(tl.int64), tl.program_id(0) % chunks
    bits = tl.load(largest + n)
    infinite = 2047 << 52 if DOUBLE else 255 << 23
    size = channels * sx.to(tl.int64) * sy * sz
    element = number.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    place, mask = n * size + element, element < size
    value = tl.load(sums + place, mask=mask, other=0).to(tl.float64)
    if DOUBLE:
        value += tl.load(rest + place, mask=mask, other=0).to(tl.float64) / _REST
    scale = scale_of(largest, n, headroom, dtype, "fixed").to(tl.float64)
    value = tl.where(bits < infinite, value / scale, float("nan"))
    tl.store(out + place, value.to(dtype).to(out.dtype.element_ty), mask=mask)
