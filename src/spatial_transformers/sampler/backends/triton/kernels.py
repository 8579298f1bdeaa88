# type: ignore  (Triton is optional, and its language untyped)
"""The sampler's kernels for Triton: values, and all gradients in one pass (eqs. 3 to 7).

A program computes the coordinates of a tile of the target once and keeps them for its channels. It
takes fill values in place of pixels outside, by mask, so that no number of a pixel leaks. Gradients
to M_θ and to the fill are summed within programs, then over programs in a fixed order; those to the
image are added where taps are: as floats, or as whole numbers, whose sum knows no order.

What a kernel is compiled for comes as `Facts`; `records.py` describes them, and the other records.
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
from .records import Cover, Into, Map, Sizes, Sums
from .taps import cover_all, divided, settle_all, tap

#: Arguments that kernels are compiled once for, whatever their value.
SIZES = (
    "served",
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
    image, coordinates, functions, fill, out, served, channels, count, sx, sy, sz, tx, ty, tz,
    parts, facts: tl.constexpr,
):  # fmt: skip
    """Write V for a tile of points and a part of the channels."""
    dtype: tl.constexpr = coordinates.dtype.element_ty
    taps: tl.constexpr = facts.taps
    first: tl.constexpr = -1 if taps == 4 else 0
    deep: tl.constexpr = taps if facts.ndim == 3 else 1
    nearest: tl.constexpr = first if facts.ndim == 3 else 0
    points: tl.constexpr = facts.wide * facts.high
    step: tl.constexpr = facts.block
    source, target = (sx, sy, sz), (tx, ty, tz)
    sizes = Sizes(source, target)
    own = tile(tl.program_id(0) // parts, target, facts)
    pixels, sources = volume(target), volume(source)
    if not facts.one_map:
        coordinates += own.n * per_entry(count, pixels, facts)
    map = Map(coordinates, functions, count)
    image += own.n // served * channels * sources
    out += own.n * channels * pixels
    point, _, alive = locate(map, own, sizes, facts)
    axes = settle_all(point, source, facts)
    x, y, z = axes
    share = tl.zeros_like(point[0]) + 1
    if facts.padding == "renormalise":
        cover_x, cover_y, cover_z = cover_all(axes, facts)
        share = cover_x.inside * cover_y.inside * cover_z.inside
    start, stop = part(tl.program_id(0) % parts, parts, channels, facts)
    for block in range(start, stop, step):
        channel = block + tl.arange(0, step)
        there = own.here[:, None] & (channel < channels)[None, :]
        total = tl.zeros([points, step], dtype)
        outside = tl.zeros([1, step], dtype)
        if facts.padding == "constant":
            outside = tl.load(fill + channel, mask=channel < channels, other=0).to(dtype)[None, :]
        for kz in range(deep):
            iz, inz, wz, _ = tap(z, kz + nearest, deep, facts)
            for ky in tl.static_range(taps):
                iy, iny, wy, _ = tap(y, ky + first, taps, facts)
                row = tl.zeros([points, step], dtype)
                for kx in tl.static_range(taps):
                    ix, inx, wx, _ = tap(x, kx + first, taps, facts)
                    inside = (alive & inx & iny & inz)[:, None]
                    weighs = (wx * (wy * wz) != 0)[:, None]  # without weight nothing is read
                    pixel = flatten(ix, iy, iz, source, facts.large)
                    place = elements(pixel, channel, channels, sources, facts.last)
                    read = inside & weighs & there
                    value = tl.load(image + place, mask=read, other=0).to(dtype)
                    if facts.padding == "constant":
                        value = tl.where(inside | (weighs == 0), value, outside)
                    row += value * wx[:, None]
                total += row * (wy * wz)[:, None]
        if facts.padding == "renormalise":
            total = divided(total, share[:, None])
        total = tl.where(alive[:, None], total, outside)
        place = elements(own.at, channel, channels, pixels, facts.last)
        tl.store(out + place, total.to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=SIZES)
def backward_kernel(
    image, coordinates, functions, fill, grad, to_image, to_image_rest, to_points, to_rows, sums,
    fill_sums, largest, headroom, served, channels, count, sx, sy, sz, tx, ty, tz, parts,
    facts: tl.constexpr,
):  # fmt: skip
    """Write or add the gradients of a tile of points and a part of the channels."""
    dtype: tl.constexpr = coordinates.dtype.element_ty
    taps: tl.constexpr = facts.taps
    first: tl.constexpr = -1 if taps == 4 else 0
    deep: tl.constexpr = taps if facts.ndim == 3 else 1
    nearest: tl.constexpr = first if facts.ndim == 3 else 0
    points: tl.constexpr = facts.wide * facts.high
    step: tl.constexpr = facts.block
    adding: tl.constexpr = facts.image
    source, target = (sx, sy, sz), (tx, ty, tz)
    sizes = Sizes(source, target)
    own = tile(tl.program_id(0) // parts, target, facts)
    pixels, sources = volume(target), volume(source)
    if not facts.one_map:
        coordinates += own.n * per_entry(count, pixels, facts)
    map = Map(coordinates, functions, count)
    scale = scale_of(largest, own.n // served, headroom, dtype, adding)
    begin = own.n // served * channels * sources
    image_sums = Sums(to_image, to_image_rest, begin, scale)
    point, w, alive = locate(map, own, sizes, facts)
    axes = settle_all(point, source, facts)
    x, y, z = axes
    one = tl.zeros_like(point[0]) + 1
    cover = Cover(one, one, one)
    covers, share = (cover, cover, cover), one
    if facts.fill or facts.padding == "renormalise":
        covers = cover_all(axes, facts)
        share = covers[0].inside * covers[1].inside * covers[2].inside
    gx = tl.zeros([points, step], dtype)
    gy, gz, gv = gx, gx, gx
    living = alive.to(tl.int32)[:, None] > 0
    start, stop = part(tl.program_id(0) % parts, parts, channels, facts)
    for block in range(start, stop, step):
        channel = block + tl.arange(0, step)
        there = own.here[:, None] & (channel < channels)[None, :]
        place = elements(own.at, channel, channels, pixels, facts.last)
        g = tl.load(grad + own.n * channels * pixels + place, mask=there, other=0).to(dtype)
        if facts.fill:
            whole = covers[0].whole * covers[1].whole * covers[2].whole
            lost = tl.where(alive, whole - share, 1)
            column = channel * (tl.num_programs(0).to(tl.int64) // parts)
            column += tl.program_id(0) // parts
            tl.store(fill_sums + column, tl.sum(g * lost[:, None], 0), mask=channel < channels)
        g = tl.where(living, g, 0)
        if facts.padding == "renormalise":
            g = divided(g, share[:, None])
        outside = tl.zeros([1, step], dtype)
        if facts.padding == "constant":
            outside = tl.load(fill + channel, mask=channel < channels, other=0).to(dtype)[None, :]
        for kz in range(deep):
            iz, inz, wz, dz = tap(z, kz + nearest, deep, facts)
            for ky in tl.static_range(taps):
                iy, iny, wy, dy = tap(y, ky + first, taps, facts)
                row = tl.zeros([points, step], dtype)
                slope = row
                for kx in tl.static_range(taps):
                    ix, inx, wx, dx = tap(x, kx + first, taps, facts)
                    inside = living & (inx & iny & inz)[:, None]
                    pixel = flatten(ix, iy, iz, source, facts.large)
                    place = elements(pixel, channel, channels, sources, facts.last)
                    if facts.coordinates:
                        value = tl.load(image + begin + place, mask=inside & there, other=0)
                        value = value.to(dtype)
                        if facts.padding == "constant":
                            value = tl.where(inside, value, outside)
                        row += value * wx[:, None]
                        slope += value * dx[:, None]
                    if adding != "none":
                        value, mask = g * (wx * wy * wz)[:, None], inside & there
                        add(image_sums, place, value, mask, adding)
                if facts.coordinates:
                    gx += g * slope * (wy * wz)[:, None]
                    gy += g * row * (dy * wz)[:, None]
                    if facts.ndim == 3:
                        gz += g * row * (wy * dz)[:, None]
                    if facts.padding == "renormalise":
                        gv += g * row * (wy * wz)[:, None]
    if facts.coordinates:
        slopes = _slopes((gx, gy, gz, gv), covers, share, facts)
        slopes = slopes[0] * x.slope, slopes[1] * y.slope, slopes[2] * z.slope
        into = Into(to_points, to_rows, sums)
        pull_back(slopes, point, w, map, own, sizes, into, facts)


@triton.jit
def _slopes(sums, covers, share, facts: tl.constexpr):
    """Sum slopes over channels; with `renormalise`, the share of weights inside has its own."""
    gx, gy, gz, gv = sums
    a, b, c = tl.sum(gx, 1), tl.sum(gy, 1), tl.zeros_like(share)
    if facts.ndim == 3:
        c = tl.sum(gz, 1)
    if facts.padding == "renormalise":
        v, cx, cy, cz = divided(tl.sum(gv, 1), share), covers[0], covers[1], covers[2]
        a -= v * cx.slopes * cy.inside * cz.inside
        b -= v * cx.inside * cy.slopes * cz.inside
        c -= v * cx.inside * cy.inside * cz.slopes
    return a, b, c


@triton.jit(do_not_specialize=SIZES)
def sum_kernel(
    sums, out, length, sx, sy, sz, tx, ty, tz, columns, MATRIX: tl.constexpr,
    facts: tl.constexpr,
):  # fmt: skip
    """Write out[b, e], the sum of sums[e, b length : (b + 1) length], times the unit of entry e."""
    dtype: tl.constexpr = sums.dtype.element_ty
    step: tl.constexpr = facts.block
    entries = tl.num_programs(0)
    e, b = tl.program_id(0), tl.program_id(1)
    sums += e.to(tl.int64) * length * tl.num_programs(1) + b.to(tl.int64) * length
    found = tl.zeros([step], tl.float64)
    for start in range(0, length, step):
        number = start + tl.arange(0, step)
        found += tl.load(sums + number, mask=number < length, other=0).to(tl.float64)
    result = tl.sum(found, 0)
    if MATRIX:
        sizes = Sizes((sx, sy, sz), (tx, ty, tz))
        result *= unit_of(e // columns, e % columns, sizes, dtype, facts)
    tl.store(out + b * entries + e, result.to(dtype).to(out.dtype.element_ty))


@triton.jit(do_not_specialize=SIZES)
def functions_kernel(
    matrix, rows, out, batch, count, sx, sy, sz, tx, ty, tz, facts: tl.constexpr,
):  # fmt: skip
    """Write the gradient to the functions: the rows' gradients, weighted by M_θ, summed over n."""
    dtype: tl.constexpr = matrix.dtype.element_ty
    step: tl.constexpr = facts.block
    per: tl.constexpr = facts.ndim + 1 if facts.form == "perspective" else facts.ndim
    sizes = Sizes((sx, sy, sz), (tx, ty, tz))
    pixels, columns, k = volume(sizes.target), facts.ndim + 1 + count, tl.program_id(1)
    at = tl.program_id(0).to(tl.int64) * step + tl.arange(0, step)
    total = tl.zeros([step], dtype)
    for n in range(batch):
        for r in tl.static_range(per):
            entry = r * columns + facts.ndim + 1 + k
            if not facts.one_map:
                entry += n * per * columns
            weight = tl.load(matrix + entry) * unit_of(r, facts.ndim, sizes, dtype, facts)
            row = rows + (n * per + r) * pixels
            total += weight * tl.load(row + at, mask=at < pixels, other=0)
    tl.store(out + k * pixels + at, total, mask=at < pixels)
