# type: ignore  (Triton is optional, and its language untyped)
"""The gradient to the image as a gather through the inverse map, for Triton (eq. 6).

Where T_θ is affine and pixels outside are not read, the points that read a pixel lie in the inverse
image of the kernel's support around it. A program visits the window of lattice points that bounds
it, and weighs them as the forward pass did. Each pixel has one program, and its sum one order.
"""

import triton
import triton.language as tl

from .points import (
    centre,
    elements,
    flatten,
    locate,
    part,
    per_entry,
    tile,
    unit_of,
    volume,
)
from .taps import cover_all, divided, settle_all, weigh

_WIDEST = tl.constexpr(1024.0)  # points of a window: the rest is for sums in whole numbers


@triton.jit
def _entries(matrix, r, source, target, NDIM: tl.constexpr, CORNERS: tl.constexpr):
    """Return row r of the map from pixels to pixels, in float64, and how far it may be rounded."""
    dtype: tl.constexpr = matrix.dtype.element_ty
    eps: tl.constexpr = 2.0**-49 if dtype == tl.float64 else 2.0**-20
    row = matrix + r * (NDIM + 1)
    a = (tl.load(row) * unit_of(r, 0, source, target, dtype, NDIM, CORNERS)).to(tl.float64)
    b = (tl.load(row + 1) * unit_of(r, 1, source, target, dtype, NDIM, CORNERS)).to(tl.float64)
    c = tl.zeros_like(a)
    if NDIM == 3:
        c = (tl.load(row + 2) * unit_of(r, 2, source, target, dtype, NDIM, CORNERS)).to(tl.float64)
    t = tl.load(row + NDIM) * unit_of(r, NDIM, source, target, dtype, NDIM, CORNERS)
    middle = centre(source[r], tl.float64)
    t = t.to(tl.float64)
    off = tl.abs(a) * target[0] + tl.abs(b) * target[1] + tl.abs(c) * target[2] + tl.abs(t) + middle
    return a, b, c, t + middle, off * eps


@triton.jit
def _bound(a, b, c, fx, fy, fz):
    """Return half a window's side: the support, and what is rounded, by a row of the inverse."""
    return tl.abs(a) * fx + tl.abs(b) * fy + tl.abs(c) * fz + 2.0**-10


@triton.jit
def inverse(matrix, source, target, NDIM: tl.constexpr, TAPS: tl.constexpr, CORNERS: tl.constexpr):
    """Return the inverse's rows, the origin's image, half a window's sides, and tameness."""
    reach: tl.constexpr = 0.5 if TAPS == 1 else TAPS // 2
    a, b, c, s, fx = _entries(matrix, 0, source, target, NDIM, CORNERS)
    d, e, f, t, fy = _entries(matrix, 1, source, target, NDIM, CORNERS)
    g, h, zero = tl.zeros_like(a), tl.zeros_like(a), tl.zeros_like(a)
    i, u, fz = zero + 1, zero, zero
    if NDIM == 3:
        g, h, i, u, fz = _entries(matrix, 2, source, target, NDIM, CORNERS)
        fz += reach
    fx, fy = fx + reach, fy + reach
    det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    k = 1 / tl.where(det == 0, 1, det)
    x = ((e * i - f * h) * k, (c * h - b * i) * k, (b * f - c * e) * k)
    y = ((f * g - d * i) * k, (a * i - c * g) * k, (c * d - a * f) * k)
    z = ((d * h - e * g) * k, (b * g - a * h) * k, (a * e - b * d) * k)
    bx, by = _bound(x[0], x[1], x[2], fx, fy, fz), _bound(y[0], y[1], y[2], fx, fy, fz)
    bz = _bound(z[0], z[1], z[2], fx, fy, fz)
    if NDIM == 2:
        bz = zero
    points = tl.floor(2 * bx + 1) * tl.floor(2 * by + 1) * tl.floor(2 * bz + 1)
    return x, y, z, (s, t, u), (bx, by, bz), (det != 0) & (points <= _WIDEST)


@triton.jit
def is_tame(matrix, source, target, NDIM: tl.constexpr, TAPS: tl.constexpr, CORNERS: tl.constexpr):
    """Say whether few points lie in any window: the map is affine and well-conditioned."""
    return inverse(matrix, source, target, NDIM, TAPS, CORNERS)[5]


@triton.jit
def _lowest(row, x, y, z, bound, n):
    """Return the first lattice point of each pixel's window along an axis."""
    low = row[0] * x + row[1] * y + row[2] * z + centre(n, tl.float64) - bound
    low = tl.where(tl.abs(low) < 2.0**30, low, 2.0**30)  # beyond every lattice
    return tl.ceil(low).to(tl.int32)


@triton.jit
def _weight(pixel, axis, TAPS: tl.constexpr):
    """Return the weight that a point gives a pixel along an axis."""
    first: tl.constexpr = -1 if TAPS == 4 else 0
    x, base, _, _, _ = axis
    o = pixel - base
    return tl.where((o >= first) & (o < first + TAPS), weigh(x - base - o, o, TAPS)[0], 0)


@triton.jit(do_not_specialize=["sx", "sy", "sz", "tx", "ty", "tz", "parts", "batch"])
def inverse_kernel(
    coordinates, grad, out, channels, sx, sy, sz, tx, ty, tz, parts, batch,
    NDIM: tl.constexpr, TAPS: tl.constexpr, PADDING: tl.constexpr, CORNERS: tl.constexpr,
    LAST: tl.constexpr, ONE_IMAGE: tl.constexpr, ONE_MAP: tl.constexpr, LARGE: tl.constexpr,
    WIDE: tl.constexpr, HIGH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient to a tile of the source: 0 where the map is not tame."""
    dtype: tl.constexpr = coordinates.dtype.element_ty
    deep: tl.constexpr = TAPS if NDIM == 3 else 1
    source, target = (sx, sy, sz), (tx, ty, tz)
    n, lattice, here = tile(tl.program_id(0) // parts, source, WIDE, HIGH)
    jx, jy, jz = lattice
    mx, my, mz = jx.to(dtype), jy.to(dtype), jz.to(dtype)
    pixels, sources = volume(target), volume(source)
    begin, end = (n * 0, n * 0 + batch) if ONE_IMAGE else (n, n + 1)
    start, stop = part(tl.program_id(0) % parts, parts, channels, BLOCK)
    for block in range(start, stop, BLOCK):
        channel = block + tl.arange(0, BLOCK)
        total = tl.zeros([WIDE * HIGH, BLOCK], dtype)
        for i in range(begin, end):
            matrix = coordinates
            if not ONE_MAP:
                matrix += i * per_entry(0, pixels, NDIM, "matrix")
            x, y, z, origin, bound, tame = inverse(matrix, source, target, NDIM, TAPS, CORNERS)
            cx, cy, cz = jx - origin[0], jy - origin[1], jz - origin[2]
            lx, ly = _lowest(x, cx, cy, cz, bound[0], tx), _lowest(y, cx, cy, cz, bound[1], ty)
            lz = _lowest(z, cx, cy, cz, bound[2], tz)
            wide = tl.where(tame, tl.floor(2 * bound[0] + 1), 0).to(tl.int32)
            high = tl.where(tame, tl.floor(2 * bound[1] + 1), 0).to(tl.int32)
            far = tl.where(tame, tl.floor(2 * bound[2] + 1), 0).to(tl.int32)
            for number in range(wide * high * far):
                px, py = lx + number % wide, ly + number // wide % high
                pz = lz + number // (wide * high)
                there = here & (px >= 0) & (px < tx) & (py >= 0) & (py < ty) & (pz >= 0) & (pz < tz)
                at = flatten(px, py, pz, target, LARGE)
                point, _, alive = locate(
                    matrix, matrix, 0, at, there, (px, py, pz), source, target,
                    NDIM, "matrix", CORNERS, False,
                )  # fmt: skip
                axes = settle_all(point, source, NDIM, TAPS, PADDING, CORNERS)
                weight = _weight(mx, axes[0], TAPS) * _weight(my, axes[1], TAPS)
                weight *= _weight(mz, axes[2], deep)
                if PADDING == "renormalise":
                    covers = cover_all(axes, NDIM, TAPS, PADDING, CORNERS)
                    weight = divided(weight, covers[0][0] * covers[1][0] * covers[2][0])
                reads = (alive & (weight != 0))[:, None] & (channel < channels)[None, :]
                place = elements(at, channel, channels, pixels, LAST)
                own = grad + i * channels * pixels
                total += weight[:, None] * tl.load(own + place, mask=reads, other=0).to(dtype)
        place = elements(flatten(jx, jy, jz, source, LARGE), channel, channels, sources, LAST)
        mask = here[:, None] & (channel < channels)[None, :]
        tl.store(out + n * channels * sources + place, total.to(out.dtype.element_ty), mask=mask)
