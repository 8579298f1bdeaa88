# type: ignore  (Triton is optional, and its language untyped)
"""Where the points of the target lie in the source, for Triton: T_θ = M_θ B (section 3.2).

The operations are those of `grid/linear.py` and `grid/regular.py`, in their order and without
contraction, so that the identity lands on whole pixels. Sizes are (x, y, z), of depth 1 in 2-D.
"""

import triton
import triton.language as tl

from .taps import isfinite, quotient


@triton.jit
def volume(size):
    """Return the number of pixels, in 64 bits."""
    return size[0].to(tl.int64) * size[1] * size[2]


@triton.jit
def per_entry(count, pixels, NDIM: tl.constexpr, FORM: tl.constexpr):
    """Return the numbers per batch element of matrices or points."""
    if FORM == "matrix":
        number = NDIM * (NDIM + 1 + count)
    elif FORM == "perspective":
        number = (NDIM + 1) * (NDIM + 1 + count)
    else:
        number = NDIM * pixels
    return number


@triton.jit
def tile(program, size, WIDE: tl.constexpr, HIGH: tl.constexpr):
    """Return a program's batch element, the pixels (x, y, z) of its tile, and which exist."""
    columns, rows = tl.cdiv(size[0], WIDE), tl.cdiv(size[1], HIGH)
    tiles = columns * rows * size[2]
    number = program % tiles
    z, rest = number // (columns * rows), number % (columns * rows)
    pixel = tl.arange(0, WIDE * HIGH)
    x = rest % columns * WIDE + pixel % WIDE
    y = rest // columns * HIGH + pixel // WIDE
    here = (x < size[0]) & (y < size[1])
    return (program // tiles).to(tl.int64), (x, y, z + pixel * 0), here


@triton.jit
def part(number, parts, channels, BLOCK: tl.constexpr):
    """Return the range of channels that is a program's own."""
    blocks = tl.cdiv(tl.cdiv(channels, BLOCK), parts)
    start = number * blocks * BLOCK
    return start, tl.minimum(start + blocks * BLOCK, channels)


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
def target_extents(size, dtype: tl.constexpr, CORNERS: tl.constexpr):
    """Return the divisors of positions: a lone pixel between corners gets 1."""
    x, y = half_extent(size[0], dtype, CORNERS), half_extent(size[1], dtype, CORNERS)
    z = half_extent(size[2], dtype, CORNERS)
    return tl.where(x == 0, 1, x), tl.where(y == 0, 1, y), tl.where(z == 0, 1, z)


@triton.jit
def unit_of(r, c, source, target, dtype: tl.constexpr, NDIM: tl.constexpr, CORNERS: tl.constexpr):
    """Return what the entry of M_θ in row r and column c is multiplied by, to map to pixels."""
    x, y, z = target_extents(target, dtype, CORNERS)
    ux, uy = half_extent(source[0], dtype, CORNERS), half_extent(source[1], dtype, CORNERS)
    uz = half_extent(source[2], dtype, CORNERS)
    unit = tl.where(r == 0, ux, tl.where(r == 1, uy, uz))
    unit = tl.where(r == NDIM, 1, unit)
    one = tl.full((), 1, dtype)
    divisor = tl.where(c == 0, x, tl.where(c == 1, y, one))
    if NDIM == 3:
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
def _project(
    matrix, functions, count, at, here, lattice, source, target, NDIM: tl.constexpr,
    FORM: tl.constexpr, CORNERS: tl.constexpr, FUNCTIONS: tl.constexpr,
):  # fmt: skip
    """Return M_θ B in pixels around the source's centre: a row per axis, and w."""
    dtype: tl.constexpr = matrix.dtype.element_ty
    columns = NDIM + 1 + count
    position = positions(lattice, target, dtype)
    extents = target_extents(target, dtype, CORNERS)
    ux, uy = half_extent(source[0], dtype, CORNERS), half_extent(source[1], dtype, CORNERS)
    uz = half_extent(source[2], dtype, CORNERS)
    a = _row(matrix, ux, position, extents, NDIM)
    b = _row(matrix + columns, uy, position, extents, NDIM)
    c, w = tl.zeros_like(a), tl.zeros_like(a) + 1
    if NDIM == 3:
        c = _row(matrix + 2 * columns, uz, position, extents, NDIM)
    if FORM == "perspective":
        w = _row(matrix + NDIM * columns, tl.full((), 1, dtype), position, extents, NDIM)
    if FUNCTIONS:
        entry, pixels = matrix + NDIM + 1, volume(target)
        for k in range(count):
            value = tl.load(functions + k * pixels + at, mask=here, other=0)
            a += tl.load(entry + k) * ux * value
            b += tl.load(entry + k + columns) * uy * value
            if NDIM == 3:
                c += tl.load(entry + k + 2 * columns) * uz * value
            if FORM == "perspective":
                w += tl.load(entry + k + NDIM * columns) * value
    return a, b, c, w


@triton.jit
def _given(points, at, here, source, NDIM: tl.constexpr, FORM: tl.constexpr, CORNERS: tl.constexpr):
    """Return points that are given, in pixels."""
    dtype: tl.constexpr = points.dtype.element_ty
    offset = 0.0 if CORNERS else 0.5
    x = tl.load(points + at * NDIM, mask=here, other=0)
    y = tl.load(points + at * NDIM + 1, mask=here, other=0)
    z = tl.zeros_like(x)
    if NDIM == 3:
        z = tl.load(points + at * NDIM + 2, mask=here, other=0)
    if FORM == "normalised":
        x = (x + 1) * half_extent(source[0], dtype, CORNERS) - offset
        y = (y + 1) * half_extent(source[1], dtype, CORNERS) - offset
        if NDIM == 3:
            z = (z + 1) * half_extent(source[2], dtype, CORNERS) - offset
    return x, y, z


@triton.jit
def locate(
    coordinates, functions, count, at, here, lattice, source, target, NDIM: tl.constexpr,
    FORM: tl.constexpr, CORNERS: tl.constexpr, FUNCTIONS: tl.constexpr,
):  # fmt: skip
    """Return pixel coordinates of lattice points, 0 where not finite, w, and which are finite.

    `coordinates` are those of the batch element.
    """
    dtype: tl.constexpr = coordinates.dtype.element_ty
    alive = here
    if FORM == "matrix" or FORM == "perspective":
        a, b, c, w = _project(
            coordinates, functions, count, at, here, lattice, source, target,
            NDIM, FORM, CORNERS, FUNCTIONS,
        )  # fmt: skip
        if FORM == "perspective":
            alive = here & (w > 1e-6) & isfinite(w) & isfinite(a) & isfinite(b) & isfinite(c)
            w = tl.where(alive, w, 1)
            a = quotient(tl.where(alive, a, 0), w)
            b = quotient(tl.where(alive, b, 0), w)
            c = quotient(tl.where(alive, c, 0), w)
        a += centre(source[0], dtype)
        b += centre(source[1], dtype)
        c += centre(source[2], dtype)
    else:
        a, b, c = _given(coordinates, at, here, source, NDIM, FORM, CORNERS)
        w = tl.zeros_like(a) + 1
    alive = alive & isfinite(a) & isfinite(b)
    if NDIM == 3:
        alive = alive & isfinite(c)
        c = tl.where(alive, c, 0)
    return (tl.where(alive, a, 0), tl.where(alive, b, 0), c), w, alive


@triton.jit
def pull_back(
    slopes, point, w, n, functions, count, at, here, lattice, source, target,
    to_points, to_rows, sums, NDIM: tl.constexpr, FORM: tl.constexpr, CORNERS: tl.constexpr,
    FUNCTIONS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Write what gradients to pixel coordinates mean for points, or for M_θ, summed in the tile."""
    dtype: tl.constexpr = w.dtype
    a, b, c = slopes
    if FORM == "matrix" or FORM == "perspective":
        position, columns, d = positions(lattice, target, dtype), NDIM + 1 + count, w
        if FORM == "perspective":
            a, b, c = quotient(a, w), quotient(b, w), quotient(c, w)
            d = a * (point[0] - centre(source[0], dtype)) + b * (
                point[1] - centre(source[1], dtype)
            )
            d = -(d + c * (point[2] - centre(source[2], dtype)))
        row = sums + tl.program_id(0).to(tl.int64)
        step = columns * tl.num_programs(0).to(tl.int64)
        _add_up(row, a, position, functions, count, at, here, target, NDIM, FUNCTIONS)
        _add_up(row + step, b, position, functions, count, at, here, target, NDIM, FUNCTIONS)
        if NDIM == 3:
            row += step
            _add_up(row + step, c, position, functions, count, at, here, target, NDIM, FUNCTIONS)
        if FORM == "perspective":
            row += 2 * step
            _add_up(row, d, position, functions, count, at, here, target, NDIM, FUNCTIONS)
        if ROWS:
            pixels = volume(target)
            per: tl.constexpr = NDIM + 1 if FORM == "perspective" else NDIM
            into = to_rows + n * per * pixels + at
            tl.store(into, a, mask=here)
            tl.store(into + pixels, b, mask=here)
            if NDIM == 3:
                tl.store(into + 2 * pixels, c, mask=here)
            if FORM == "perspective":
                tl.store(into + NDIM * pixels, d, mask=here)
    else:
        if FORM == "normalised":
            a, b = (
                a * half_extent(source[0], dtype, CORNERS),
                b * half_extent(source[1], dtype, CORNERS),
            )
            c = c * half_extent(source[2], dtype, CORNERS)
        into = to_points + n * volume(target) * NDIM + at * NDIM
        tl.store(into, a, mask=here)
        tl.store(into + 1, b, mask=here)
        if NDIM == 3:
            tl.store(into + 2, c, mask=here)


@triton.jit
def _add_up(
    sums, g, position, functions, count, at, here, target, NDIM: tl.constexpr,
    FUNCTIONS: tl.constexpr,
):  # fmt: skip
    """Write a tile's gradient to one row of M_θ, but for the units: a number per column."""
    step = tl.num_programs(0).to(tl.int64)
    tl.store(sums, tl.sum(g * position[0], 0))
    tl.store(sums + step, tl.sum(g * position[1], 0))
    if NDIM == 3:
        tl.store(sums + 2 * step, tl.sum(g * position[2], 0))
    tl.store(sums + NDIM * step, tl.sum(g, 0))
    if FUNCTIONS:
        pixels = volume(target)
        for k in range(count):
            value = tl.load(functions + k * pixels + at, mask=here, other=0)
            tl.store(sums + (NDIM + 1 + k) * step, tl.sum(g * value, 0))
