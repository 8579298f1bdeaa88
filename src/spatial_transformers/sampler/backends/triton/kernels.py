# type: ignore  (Triton is optional, and its language untyped)
"""The sampler's kernels for Triton: values, and all gradients in one pass (eqs. 3 to 7).

A program computes the coordinates of a tile of the target once and keeps them for its channels. It
takes fill values in place of pixels outside, by mask, so that no number of a pixel leaks. Gradients
to M_θ and to the fill are summed within programs, then over programs in a fixed order; those to the
image are added where taps are: as floats, or as whole numbers, whose sum knows no order.

`TAPS` are per axis, `LAST` is channels-last format, `ONE_IMAGE` and `ONE_MAP` serve all of the
batch.
"""

import triton
import triton.language as tl

from .fixed import add, scale_of
from .points import (
    elements,
    flatten,
    locate,
    part,
    per_entry,
    pull_back,
    tile,
    unit_of,
    volume,
)
from .taps import cover_all, divided, settle_all, tap

#: Arguments that kernels are compiled once for, whatever their value.
SIZES = (
    "count",
    "sx",
    "sy",
    "sz",
    "tx",
    "ty",
    "tz",
    "parts",
    "batch",
    "length",
    "headroom",
    "columns",
)


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    image, coordinates, functions, fill, out, channels, count, sx, sy, sz, tx, ty, tz, parts,
    NDIM: tl.constexpr, TAPS: tl.constexpr, PADDING: tl.constexpr, CORNERS: tl.constexpr,
    FORM: tl.constexpr, FUNCTIONS: tl.constexpr, LAST: tl.constexpr, ONE_IMAGE: tl.constexpr,
    ONE_MAP: tl.constexpr, LARGE: tl.constexpr, WIDE: tl.constexpr, HIGH: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write V for a tile of points and a part of the channels."""
    dtype: tl.constexpr = coordinates.dtype.element_ty
    first: tl.constexpr = -1 if TAPS == 4 else 0
    deep: tl.constexpr = TAPS if NDIM == 3 else 1
    nearest: tl.constexpr = first if NDIM == 3 else 0
    source, target = (sx, sy, sz), (tx, ty, tz)
    n, lattice, here = tile(tl.program_id(0) // parts, target, WIDE, HIGH)
    pixels, sources = volume(target), volume(source)
    at = flatten(lattice[0], lattice[1], lattice[2], target, LARGE)
    if not ONE_MAP:
        coordinates += n * per_entry(count, pixels, NDIM, FORM)
    if not ONE_IMAGE:
        image += n * channels * sources
    out += n * channels * pixels
    point, _, alive = locate(
        coordinates, functions, count, at, here, lattice, source, target,
        NDIM, FORM, CORNERS, FUNCTIONS,
    )  # fmt: skip
    axes = settle_all(point, source, NDIM, TAPS, PADDING, CORNERS)
    x, y, z = axes
    share = tl.zeros_like(point[0]) + 1
    if PADDING == "renormalise":
        cover_x, cover_y, cover_z = cover_all(axes, NDIM, TAPS, PADDING, CORNERS)
        share = cover_x[0] * cover_y[0] * cover_z[0]
    start, stop = part(tl.program_id(0) % parts, parts, channels, BLOCK)
    for block in range(start, stop, BLOCK):
        channel = block + tl.arange(0, BLOCK)
        there = here[:, None] & (channel < channels)[None, :]
        total = tl.zeros([WIDE * HIGH, BLOCK], dtype)
        outside = tl.zeros([1, BLOCK], dtype)
        if PADDING == "constant":
            outside = tl.load(fill + channel, mask=channel < channels, other=0).to(dtype)[None, :]
        for kz in range(deep):
            iz, inz, wz, _ = tap(z, kz + nearest, deep, PADDING, CORNERS)
            for ky in tl.static_range(TAPS):
                iy, iny, wy, _ = tap(y, ky + first, TAPS, PADDING, CORNERS)
                row = tl.zeros([WIDE * HIGH, BLOCK], dtype)
                for kx in tl.static_range(TAPS):
                    ix, inx, wx, _ = tap(x, kx + first, TAPS, PADDING, CORNERS)
                    inside = (alive & inx & iny & inz)[:, None]
                    place = elements(
                        flatten(ix, iy, iz, source, LARGE), channel, channels, sources, LAST
                    )
                    value = tl.load(image + place, mask=inside & there, other=0).to(dtype)
                    if PADDING == "constant":
                        value = tl.where(inside, value, outside)
                    row += value * wx[:, None]
                total += row * (wy * wz)[:, None]
        if PADDING == "renormalise":
            total = divided(total, share[:, None])
        total = tl.where(alive[:, None], total, outside)
        place = elements(at, channel, channels, pixels, LAST)
        tl.store(out + place, total.to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=SIZES)
def backward_kernel(
    image, coordinates, functions, fill, grad, to_image, to_image_rest, to_points, to_rows, sums,
    fill_sums, largest, headroom, channels, count, sx, sy, sz, tx, ty, tz, parts,
    NDIM: tl.constexpr, TAPS: tl.constexpr, PADDING: tl.constexpr, CORNERS: tl.constexpr,
    FORM: tl.constexpr, FUNCTIONS: tl.constexpr, LAST: tl.constexpr, ONE_IMAGE: tl.constexpr,
    ONE_MAP: tl.constexpr, LARGE: tl.constexpr, WIDE: tl.constexpr, HIGH: tl.constexpr,
    BLOCK: tl.constexpr, IMAGE: tl.constexpr, COORDINATES: tl.constexpr, ROWS: tl.constexpr,
    FILL: tl.constexpr,
):  # fmt: skip
    """Write or add the gradients of a tile of points and a part of the channels.

    `IMAGE` is "none", or how its gradient is added: "float", or "fixed" in whole numbers.
    """
    dtype: tl.constexpr = coordinates.dtype.element_ty
    first: tl.constexpr = -1 if TAPS == 4 else 0
    deep: tl.constexpr = TAPS if NDIM == 3 else 1
    nearest: tl.constexpr = first if NDIM == 3 else 0
    source, target = (sx, sy, sz), (tx, ty, tz)
    n, lattice, here = tile(tl.program_id(0) // parts, target, WIDE, HIGH)
    pixels, sources = volume(target), volume(source)
    at = flatten(lattice[0], lattice[1], lattice[2], target, LARGE)
    if not ONE_MAP:
        coordinates += n * per_entry(count, pixels, NDIM, FORM)
    scale = scale_of(largest, n, headroom, dtype, IMAGE, ONE_IMAGE)
    own = n * 0 if ONE_IMAGE else n * channels * sources
    point, w, alive = locate(
        coordinates, functions, count, at, here, lattice, source, target,
        NDIM, FORM, CORNERS, FUNCTIONS,
    )  # fmt: skip
    axes = settle_all(point, source, NDIM, TAPS, PADDING, CORNERS)
    x, y, z = axes
    one = tl.zeros_like(point[0]) + 1
    covers, share = ((one, one, one), (one, one, one), (one, one, one)), one
    if FILL or PADDING == "renormalise":
        covers = cover_all(axes, NDIM, TAPS, PADDING, CORNERS)
        share = covers[0][0] * covers[1][0] * covers[2][0]
    gx = tl.zeros([WIDE * HIGH, BLOCK], dtype)
    gy, gz, gv = gx, gx, gx
    living = alive.to(tl.int32)[:, None] > 0
    start, stop = part(tl.program_id(0) % parts, parts, channels, BLOCK)
    for block in range(start, stop, BLOCK):
        channel = block + tl.arange(0, BLOCK)
        there = here[:, None] & (channel < channels)[None, :]
        place = elements(at, channel, channels, pixels, LAST)
        g = tl.load(grad + n * channels * pixels + place, mask=there, other=0).to(dtype)
        if FILL:
            lost = tl.where(alive, covers[0][2] * covers[1][2] * covers[2][2] - share, 1)
            column = channel * (tl.num_programs(0).to(tl.int64) // parts)
            column += tl.program_id(0) // parts
            tl.store(fill_sums + column, tl.sum(g * lost[:, None], 0), mask=channel < channels)
        g = tl.where(living, g, 0)
        if PADDING == "renormalise":
            g = divided(g, share[:, None])
        outside = tl.zeros([1, BLOCK], dtype)
        if PADDING == "constant":
            outside = tl.load(fill + channel, mask=channel < channels, other=0).to(dtype)[None, :]
        for kz in range(deep):
            iz, inz, wz, dz = tap(z, kz + nearest, deep, PADDING, CORNERS)
            for ky in tl.static_range(TAPS):
                iy, iny, wy, dy = tap(y, ky + first, TAPS, PADDING, CORNERS)
                row = tl.zeros([WIDE * HIGH, BLOCK], dtype)
                slope = row
                for kx in tl.static_range(TAPS):
                    ix, inx, wx, dx = tap(x, kx + first, TAPS, PADDING, CORNERS)
                    inside = living & (inx & iny & inz)[:, None]
                    place = elements(
                        flatten(ix, iy, iz, source, LARGE), channel, channels, sources, LAST
                    )
                    if COORDINATES:
                        value = tl.load(image + own + place, mask=inside & there, other=0).to(dtype)
                        if PADDING == "constant":
                            value = tl.where(inside, value, outside)
                        row += value * wx[:, None]
                        slope += value * dx[:, None]
                    if IMAGE != "none":
                        value, mask = g * (wx * wy * wz)[:, None], inside & there
                        add(to_image, to_image_rest, own, place, value, scale, mask, IMAGE)
                if COORDINATES:
                    gx += g * slope * (wy * wz)[:, None]
                    gy += g * row * (dy * wz)[:, None]
                    if NDIM == 3:
                        gz += g * row * (wy * dz)[:, None]
                    if PADDING == "renormalise":
                        gv += g * row * (wy * wz)[:, None]
    if COORDINATES:
        slopes = _slopes(gx, gy, gz, gv, covers, share, NDIM, PADDING)
        slopes = slopes[0] * x[3], slopes[1] * y[3], slopes[2] * z[3]
        pull_back(
            slopes, point, w, n, functions, count, at, here, lattice, source, target,
            to_points, to_rows, sums, NDIM, FORM, CORNERS, FUNCTIONS, ROWS,
        )  # fmt: skip


@triton.jit
def _slopes(gx, gy, gz, gv, covers, share, NDIM: tl.constexpr, PADDING: tl.constexpr):
    """Sum slopes over channels; with `renormalise`, the share of weights inside has its own."""
    a, b, c = tl.sum(gx, 1), tl.sum(gy, 1), tl.zeros_like(share)
    if NDIM == 3:
        c = tl.sum(gz, 1)
    if PADDING == "renormalise":
        v, cx, cy, cz = divided(tl.sum(gv, 1), share), covers[0], covers[1], covers[2]
        a -= v * cx[1] * cy[0] * cz[0]
        b -= v * cx[0] * cy[1] * cz[0]
        c -= v * cx[0] * cy[0] * cz[1]
    return a, b, c


@triton.jit(do_not_specialize=SIZES)
def sum_kernel(
    sums, out, length, sx, sy, sz, tx, ty, tz, columns, NDIM: tl.constexpr,
    CORNERS: tl.constexpr, MATRIX: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write out[b, e], the sum of sums[e, b length : (b + 1) length], times the unit of entry e."""
    dtype: tl.constexpr = sums.dtype.element_ty
    entries = tl.num_programs(0)
    e, b = tl.program_id(0), tl.program_id(1)
    sums += e.to(tl.int64) * length * tl.num_programs(1) + b.to(tl.int64) * length
    found = tl.zeros([BLOCK], tl.float64)
    for start in range(0, length, BLOCK):
        number = start + tl.arange(0, BLOCK)
        found += tl.load(sums + number, mask=number < length, other=0).to(tl.float64)
    result = tl.sum(found, 0)
    if MATRIX:
        result *= unit_of(
            e // columns, e % columns, (sx, sy, sz), (tx, ty, tz), dtype, NDIM, CORNERS
        )
    tl.store(out + b * entries + e, result.to(dtype).to(out.dtype.element_ty))


@triton.jit(do_not_specialize=SIZES)
def functions_kernel(
    matrix, rows, out, batch, count, sx, sy, sz, tx, ty, tz, NDIM: tl.constexpr,
    FORM: tl.constexpr, CORNERS: tl.constexpr, ONE_MAP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient to the functions: the rows' gradients, weighted by M_θ, summed over n."""
    dtype: tl.constexpr = matrix.dtype.element_ty
    per: tl.constexpr = NDIM + 1 if FORM == "perspective" else NDIM
    source, target = (sx, sy, sz), (tx, ty, tz)
    pixels, columns, k = volume(target), NDIM + 1 + count, tl.program_id(1)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], dtype)
    for n in range(batch):
        for r in tl.static_range(per):
            entry = r * columns + NDIM + 1 + k
            if not ONE_MAP:
                entry += n * per * columns
            weight = tl.load(matrix + entry) * unit_of(
                r, NDIM, source, target, dtype, NDIM, CORNERS
            )
            row = rows + (n * per + r) * pixels
            total += weight * tl.load(row + at, mask=at < pixels, other=0)
    tl.store(out + k * pixels + at, total, mask=at < pixels)
