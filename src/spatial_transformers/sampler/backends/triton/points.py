# type: ignore  (Triton is optional, and its language untyped)
"""Where the points of the target lie in the source, for Triton: T_θ = M_θ B (section 3.2).

The operations are those of `grid/linear.py` and `grid/regular.py`, in their order and without
contraction, so that the identity lands on whole pixels. Sizes are (x, y, z), of depth 1 in 2-D.
"""

import triton
import triton.language as tl

from .records import Tile
from .taps import isfinite, overflows, quotient, saturated


@triton.jit
def volume(size):
    """Return the number of pixels, in 64 bits."""
    return size[0].to(tl.int64) * size[1] * size[2]


@triton.jit
def per_entry(count, pixels, facts: tl.constexpr):
    """Return the numbers per batch element of matrices or points."""
    if facts.form == "matrix":
        number = facts.ndim * (facts.ndim + 1 + count)
    elif facts.form == "perspective":
        number = (facts.ndim + 1) * (facts.ndim + 1 + count)
    else:
        number = facts.ndim * pixels
    return number


@triton.jit
def tile(program, size, facts: tl.constexpr):
    """Return the points of a program."""
    columns, rows = tl.cdiv(size[0], facts.wide), tl.cdiv(size[1], facts.high)
    tiles = columns * rows * size[2]
    number = program % tiles
    z, rest = number // (columns * rows), number % (columns * rows)
    pixel = tl.arange(0, facts.wide * facts.high)
    x = rest % columns * facts.wide + pixel % facts.wide
    y = rest // columns * facts.high + pixel // facts.wide
    here = (x < size[0]) & (y < size[1])
    n, z = (program // tiles).to(tl.int64), z + pixel * 0
    return Tile(n, (x, y, z), flatten(x, y, z, size, facts.large), here)


@triton.jit
def part(number, parts, channels, facts: tl.constexpr):
    """Return the range of channels that is a program's own."""
    blocks = tl.cdiv(tl.cdiv(channels, facts.block), parts)
    start = number * blocks * facts.block
    return start, tl.minimum(start + blocks * facts.block, channels)


@triton.jit
def flatten(x, y, z, size, LARGE: tl.constexpr):
    """Number pixels with x running fastest, in 64 bits where an image needs them."""
    return (z.to(tl.int64 if LARGE else tl.int32) * size[1] + y) * size[0] + x


@triton.jit
def elements(pixel, channel, channels, pixels, LAST: tl.constexpr):
    """Return pixels × channels as offsets into one image, with channels last or first."""
    if LAST:
        place = pixel[:, None] * channels + channel[None, :]
    else:
        place = pixel[:, None] + channel[None, :] * pixels.to(pixel.dtype)
    return place


@triton.jit
def half_extent(n, dtype: tl.constexpr, CORNERS: tl.constexpr):
    """Return the unit of normalised coordinates in pixels."""
    return (n - 1 if CORNERS else n).to(dtype) * 0.5


@triton.jit
def half_extents(size, dtype: tl.constexpr, CORNERS: tl.constexpr):
    """Return `half_extent` of the three axes."""
    x, y = half_extent(size[0], dtype, CORNERS), half_extent(size[1], dtype, CORNERS)
    return x, y, half_extent(size[2], dtype, CORNERS)


@triton.jit
def target_extents(size, dtype: tl.constexpr, CORNERS: tl.constexpr):
    """Return the divisors of positions: a lone pixel between corners gets 1."""
    x, y, z = half_extents(size, dtype, CORNERS)
    return tl.where(x == 0, 1, x), tl.where(y == 0, 1, y), tl.where(z == 0, 1, z)


@triton.jit
def unit_of(r, c, sizes, dtype: tl.constexpr, facts: tl.constexpr):
    """Return what the entry of M_θ in row r and column c is multiplied by, to map to pixels."""
    x, y, z = target_extents(sizes.target, dtype, facts.corners)
    ux, uy, uz = half_extents(sizes.source, dtype, facts.corners)
    unit = tl.where(r == 0, ux, tl.where(r == 1, uy, uz))
    unit = tl.where(r == facts.ndim, 1, unit)
    one = tl.full((), 1, dtype)
    divisor = tl.where(c == 0, x, tl.where(c == 1, y, one))
    if facts.ndim == 3:
        divisor = tl.where(c == 2, z, divisor)
    return quotient(unit, divisor)


@triton.jit
def centre(n, dtype: tl.constexpr):
    """Return the index of an axis's centre."""
    return (n - 1).to(dtype) * 0.5


@triton.jit
def positions(lattice, size, dtype: tl.constexpr):
    """Return lattice points as positions around the target's centre."""
    x = lattice[0].to(dtype) - centre(size[0], dtype)
    y = lattice[1].to(dtype) - centre(size[1], dtype)
    return x, y, lattice[2].to(dtype) - centre(size[2], dtype)


@triton.jit
def _row(matrix, unit, position, extents, NDIM: tl.constexpr):
    """Return `m_x x + (m_y y + (m_z z + t))`."""
    total = tl.load(matrix + NDIM) * unit
    if NDIM == 3:
        total = tl.load(matrix + 2) * quotient(unit, extents[2]) * position[2] + total
    total = tl.load(matrix + 1) * quotient(unit, extents[1]) * position[1] + total
    return tl.load(matrix) * quotient(unit, extents[0]) * position[0] + total


@triton.jit
def _project(map, tile, sizes, facts: tl.constexpr):
    """Return M_θ B in pixels around the source's centre: a row per axis, and w."""
    matrix = map.coordinates
    dtype: tl.constexpr = matrix.dtype.element_ty
    columns = facts.ndim + 1 + map.count
    position = positions(tile.lattice, sizes.target, dtype)
    extents = target_extents(sizes.target, dtype, facts.corners)
    ux, uy, uz = half_extents(sizes.source, dtype, facts.corners)
    odd = tl.full((), 0, dtype)  # NaN if a number of the matrix is not finite: then no point is
    for k in range(per_entry(map.count, 0, facts)):
        odd += tl.load(matrix + k) - tl.load(matrix + k)
    a = _row(matrix, ux, position, extents, facts.ndim) + odd
    b = _row(matrix + columns, uy, position, extents, facts.ndim)
    c, w = tl.zeros_like(a), tl.zeros_like(a) + 1
    if facts.ndim == 3:
        c = _row(matrix + 2 * columns, uz, position, extents, facts.ndim)
    if facts.form == "perspective":
        w = _row(
            matrix + facts.ndim * columns, tl.full((), 1, dtype), position, extents, facts.ndim
        )
    if facts.functions:
        entry, pixels = matrix + facts.ndim + 1, volume(sizes.target)
        for k in range(map.count):
            value = tl.load(map.functions + k * pixels + tile.at, mask=tile.here, other=0)
            a += tl.load(entry + k) * ux * value
            b += tl.load(entry + k + columns) * uy * value
            if facts.ndim == 3:
                c += tl.load(entry + k + 2 * columns) * uz * value
            if facts.form == "perspective":
                w += tl.load(entry + k + facts.ndim * columns) * value
    return a, b, c, w


@triton.jit
def _given(points, tile, size, facts: tl.constexpr):
    """Return points that are given, in pixels; NaN for those that are not finite."""
    offset = 0.0 if facts.corners else 0.5
    x = tl.load(points + tile.at * facts.ndim, mask=tile.here, other=0)
    y = tl.load(points + tile.at * facts.ndim + 1, mask=tile.here, other=0)
    z = tl.zeros_like(x)
    if facts.ndim == 3:
        z = tl.load(points + tile.at * facts.ndim + 2, mask=tile.here, other=0)
    if facts.form == "normalised":
        x = _in_pixels(x, size[0], offset, facts)
        y = _in_pixels(y, size[1], offset, facts)
        if facts.ndim == 3:
            z = _in_pixels(z, size[2], offset, facts)
    return x, y, z


@triton.jit
def _in_pixels(x, n, offset, facts: tl.constexpr):
    pixel = saturated((x + 1) * half_extent(n, x.dtype, facts.corners) - offset)
    return tl.where(isfinite(x), pixel, float("nan"))


@triton.jit
def locate(map, tile, sizes, facts: tl.constexpr):
    """Return pixel coordinates of a tile's points, 0 where not finite, w, and which are finite.

    The map is that of the tile's batch element.
    """
    dtype: tl.constexpr = map.coordinates.dtype.element_ty
    alive, size = tile.here, sizes.source
    if facts.form == "matrix" or facts.form == "perspective":
        a, b, c, w = _project(map, tile, sizes, facts)
        if facts.form == "perspective":
            alive = alive & (w > 1e-6) & isfinite(w) & isfinite(a) & isfinite(b) & isfinite(c)
            w = tl.where(alive, w, 1)
            a = quotient(tl.where(alive, a, 0), w)
            b = quotient(tl.where(alive, b, 0), w)
            c = quotient(tl.where(alive, c, 0), w)
        a = saturated(a + centre(size[0], dtype))
        b = saturated(b + centre(size[1], dtype))
        c = saturated(c + centre(size[2], dtype))
    else:
        a, b, c = _given(map.coordinates, tile, size, facts)
        w = tl.zeros_like(a) + 1
    alive = alive & isfinite(a) & isfinite(b)
    if facts.ndim == 3:
        alive = alive & isfinite(c)
        c = tl.where(alive, c, 0)
    return (tl.where(alive, a, 0), tl.where(alive, b, 0), c), w, alive


@triton.jit
def pull_back(slopes, point, w, map, tile, sizes, into, facts: tl.constexpr):
    """Write the gradients to points, or to M_θ summed in the tile, of those to pixel coordinates.

    `slopes` are the gradients to the pixel coordinates `point`, as `locate` returned them with w.
    """
    dtype: tl.constexpr = w.dtype
    a = tl.where(overflows(point[0]), 0, slopes[0])
    b = tl.where(overflows(point[1]), 0, slopes[1])
    c = tl.where(overflows(point[2]), 0, slopes[2])
    size, pixels = sizes.source, volume(sizes.target)
    if facts.form == "matrix" or facts.form == "perspective":
        position, columns, d = (
            positions(tile.lattice, sizes.target, dtype),
            facts.ndim + 1 + map.count,
            w,
        )
        if facts.form == "perspective":
            a, b, c = quotient(a, w), quotient(b, w), quotient(c, w)
            d = a * (point[0] - centre(size[0], dtype)) + b * (point[1] - centre(size[1], dtype))
            d = -(d + c * (point[2] - centre(size[2], dtype)))
        row = into.sums + tl.program_id(0).to(tl.int64)
        step = columns * tl.num_programs(0).to(tl.int64)
        _add_up(row, a, position, map, tile, pixels, facts)
        _add_up(row + step, b, position, map, tile, pixels, facts)
        if facts.ndim == 3:
            row += step
            _add_up(row + step, c, position, map, tile, pixels, facts)
        if facts.form == "perspective":
            row += 2 * step
            _add_up(row, d, position, map, tile, pixels, facts)
        if facts.rows:
            per: tl.constexpr = facts.ndim + 1 if facts.form == "perspective" else facts.ndim
            place = into.rows + tile.n * per * pixels + tile.at
            tl.store(place, a, mask=tile.here)
            tl.store(place + pixels, b, mask=tile.here)
            if facts.ndim == 3:
                tl.store(place + 2 * pixels, c, mask=tile.here)
            if facts.form == "perspective":
                tl.store(place + facts.ndim * pixels, d, mask=tile.here)
    else:
        if facts.form == "normalised":
            ux, uy, uz = half_extents(size, dtype, facts.corners)
            a, b, c = a * ux, b * uy, c * uz
        place = into.points + tile.n * pixels * facts.ndim + tile.at * facts.ndim
        tl.store(place, a, mask=tile.here)
        tl.store(place + 1, b, mask=tile.here)
        if facts.ndim == 3:
            tl.store(place + 2, c, mask=tile.here)


@triton.jit
def _add_up(sums, g, position, map, tile, pixels, facts: tl.constexpr):
    """Write a tile's gradient to one row of M_θ, but for the units: a number per column."""
    step = tl.num_programs(0).to(tl.int64)
    tl.store(sums, tl.sum(g * position[0], 0))
    tl.store(sums + step, tl.sum(g * position[1], 0))
    if facts.ndim == 3:
        tl.store(sums + 2 * step, tl.sum(g * position[2], 0))
    tl.store(sums + facts.ndim * step, tl.sum(g, 0))
    if facts.functions:
        for k in range(map.count):
            value = tl.load(map.functions + k * pixels + tile.at, mask=tile.here, other=0)
            tl.store(sums + (facts.ndim + 1 + k) * step, tl.sum(g * value, 0))
