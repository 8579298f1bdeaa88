// Maps that keep the axes: every row and column of the target has its taps, and images are read in
// two passes, sixteen rows at a time: first rows are summed, then, side by side, columns.
#pragma once
#include "coordinates.h"
#include "footprint.h"
#include "transpose.h"
#include "widened.h"

namespace STN_ISA {
namespace {

// The taps of the lines of an axis.
template <class R>
struct Lines {
  int32_t *counts, *pixels, *bounds;
  R *weights, *shares;
  int64_t taps;

  Lines(const Antialias& job, int64_t n, int64_t axis) : taps(job.taps) {
    const int64_t map = job.call.coordinates_batch > 1 ? n : 0, slot = map * 2 + axis;
    counts = job.counts + slot * job.lines;
    pixels = job.pixels_read + slot * job.lines * taps;
    bounds = job.bounds + slot * 2;
    weights = static_cast<R*>(job.weights) + slot * job.lines * taps;
    shares = static_cast<R*>(job.shares) + slot * job.lines;
  }

  // The pixels that are read lie in [low, high).
  int64_t low() const { return bounds[0]; }
  int64_t high() const { return bounds[1]; }
  int64_t width() const { return bounds[1] - bounds[0]; }
};

// Fills the table of a line at x.
template <class R>
STN_SHARED void fill_line(const Call& call, const Pieces<R>& kernel, const Stretch& stretch,
                          int axis, R x, int64_t j, const Lines<R>& lines) {
  int32_t *pixels = lines.pixels + j * lines.taps, count = 0;
  R *weights = lines.weights + j * lines.taps, all = 0, inside = 0;
  const R inverse = R(stretch.inverse[axis][axis]), nearest = even(x), off = x - nearest;
  const R reach = kernel.support * R(stretch.span[axis]) * R(1.00001) + R(1e-5);
  const R low = -floor_of(reach - off), base = nearest + R(call.lead[axis]);
  const int64_t wide = int64_t(floor_of(off + reach) - low) + 1;
  for (int64_t k = 0; k < wide; k += kAcross) {
    Taps8<R> found;
    const Taps8<R> distance = steps_from((off - low - R(k)) * inverse, -inverse);
    with_form(kernel, [&](auto form) { found = weights_at<decltype(form)>(kernel, distance); });
    alignas(64) R eight[kAcross];
    store_row(found, eight);
    for (int64_t q = 0; q < kAcross && k + q < wide; ++q) {
      if (eight[q] == 0) continue;
      all += eight[q];
      const int64_t at = read_at(call, axis, base + (low + R(k + q)));
      if (at < 0) continue;
      inside += eight[q] * coverage_at<R>(call, axis, at);
      pixels[count] = int32_t(at);
      weights[count++] = eight[q];
    }
  }
  const R divisor = call.padding == kRenormalise ? inside : all;
  lines.shares[j] = all == 0 ? R(0) : inside / all;
  lines.counts[j] = divisor == 0 ? 0 : count;
  for (int32_t k = 0; k < lines.counts[j]; ++k) weights[k] /= divisor;
}

// A task is an axis of a map.
template <class R>
void prepare(const Job& given, int64_t begin, int64_t end) {
  const Antialias& job = antialias_of(given);
  const Call& call = job.call;
  const Pieces<R> kernel(call);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t map = task / 2, axis = task % 2, length = call.target[axis];
    if (!job.separable(map)) continue;
    const Lines<R> lines(job, map, axis);
    const Frame<R> frame = frame_of<R>(job, map);
    int32_t low = int32_t(call.source[axis]), high = 0;
    for (int64_t j = 0; j < length; ++j) {
      const R position = R(j) - R(length - 1) / 2;
      const R place = frame.matrix[axis][axis] * position + frame.matrix[axis][2];
      const R x = saturated(place + R(call.centre[axis]));
      lines.counts[j] = 0;
      lines.shares[j] = 0;
      if (finite(x)) fill_line(call, kernel, job.stretch(map), int(axis), x, j, lines);
      for (int32_t k = 0; k < lines.counts[j]; ++k) {
        const int32_t at = lines.pixels[j * lines.taps + k];
        low = at < low ? at : low;
        high = at >= high ? at + 1 : high;
      }
    }
    lines.bounds[0] = low < high ? low : 0;
    lines.bounds[1] = low < high ? high : 0;
  }
}

// Σ over rows of weight × row, for columns [0, width) from those on that are given.
template <class R>
STN_SHARED void sum_line(const R* plane, int64_t stride, const int32_t* rows, const R* weights,
                         int64_t count, int64_t width, R* to) {
  int64_t x = 0;
  for (; x + 2 * kBand <= width; x += 2 * kBand) {
    Row<R, kBand> total[2], values;
    fill_row(total[0], R(0));
    fill_row(total[1], R(0));
    for (int64_t k = 0; k < count; ++k) {
      const R* from = plane + rows[k] * stride + x;
      STN_UNROLL
      for (int q = 0; q < 2; ++q) {
        load_row(from + q * kBand, values);
        add_scaled(total[q], values, weights[k]);
      }
    }
    STN_UNROLL
    for (int q = 0; q < 2; ++q) store_row(total[q], to + x + q * kBand);
  }
  for (; x < width; ++x) {
    R total = 0;
    for (int64_t k = 0; k < count; ++k) total += plane[rows[k] * stride + x] * weights[k];
    to[x] = total;
  }
}

// Adds what has no pixel, and drops what has hardly a weight, of a row of points at line `y`.
template <class R>
void finish_row(const Call& call, const Lines<R>& xs, R share, R fill, R* row) {
  const bool renormalises = call.padding == kRenormalise;
  for (int64_t j = 0; j < call.target[0]; ++j) {
    const R inside = xs.shares[j] * share;
    if (renormalises) {
      row[j] = inside > R(1e-3) ? row[j] : R(0);
    } else {
      const Shares<R> shares(call, {R(1), inside});
      if (shares.fill != 0) row[j] += fill * shares.fill;
    }
  }
}

// The memory of a task: some rows of one image, and their points side by side.
template <class R>
struct Rooms {
  int64_t stride;  // of rows
  const Scratch<R> rows, columns, points;

  explicit Rooms(const Antialias& job)
      : stride((job.call.source[0] + kBand - 1) / kBand * kBand),
        rows(job, stride * kBand),
        columns(job, stride * kBand),
        points(job, job.call.target[0] * kBand) {}

  bool ready() const { return rows.aligned() && columns.aligned() && points.aligned(); }
};

// Some rows of the target in one plane.
template <class R>
void forward_plane(const Antialias& job, const Rooms<R>& room, const Lines<R>& xs,
                   const Lines<R>& ys, int64_t first, R fill, const R* plane, R* out) {
  const Call& call = job.call;
  const int64_t length = call.target[0], left = call.target[1] - first;
  const int64_t rows = left < kBand ? left : kBand, width = xs.width();
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t j = first + r;
    sum_line(plane + xs.low(), call.source[0], ys.pixels + j * ys.taps, ys.weights + j * ys.taps,
             ys.counts[j], width, room.rows.aligned() + r * room.stride);
  }
  R *columns = room.columns.aligned() - xs.low() * kBand, *points = room.points.aligned();
  to_points<kBand>(room.rows.aligned(), room.stride, rows, width, room.columns.aligned());
  for (int64_t j = 0; j < length; ++j) {
    const int32_t* pixels = xs.pixels + j * xs.taps;
    const R* weights = xs.weights + j * xs.taps;
    Row<R, kBand> total, values;
    fill_row(total, R(0));
    for (int32_t k = 0; k < xs.counts[j]; ++k) {
      load_row(columns + pixels[k] * kBand, values);
      add_scaled(total, values, weights[k]);
    }
    store_row(total, points + j * kBand);
  }
  to_planes<kBand>(points, length, rows, length, out + first * length);
  if (call.padding != kConstant && call.padding != kRenormalise) return;
  for (int64_t r = 0; r < rows; ++r)
    finish_row(call, xs, ys.shares[first + r], fill, out + (first + r) * length);
}

// A task is some rows of the target of an image.
template <class R>
void forward_rows(const Job& given, int64_t begin, int64_t end) {
  const Antialias& job = antialias_of(given);
  const Call& call = job.call;
  const int64_t bands = (call.target[1] + kBand - 1) / kBand;
  const Rooms<R> room(job);
  for (int64_t task = begin; room.ready() && task < end; ++task) {
    const int64_t n = task / bands, first = task % bands * kBand;
    if (!job.separable(n)) continue;
    const Lines<R> xs(job, n, 0), ys(job, n, 1);
    for (int64_t c = 0; c < call.channels; ++c)
      forward_plane(job, room, xs, ys, first, fill_of<R>(call, c),
                    static_cast<const R*>(call.image_data) + n / served(call) * call.image.batch +
                        c * call.image.channel,
                    static_cast<R*>(call.output_data) + n * call.output.batch +
                        c * call.output.channel);
  }
}

// Adds weight × row to the rows of a strip.
template <class R>
STN_SHARED void add_line(const R* row, int64_t stride, const int32_t* rows, const R* weights,
                         int64_t count, int64_t width, Range strip, R* plane) {
  for (int64_t k = 0; k < count; ++k) {
    if (rows[k] < strip.low || rows[k] >= strip.high) continue;
    R* to = plane + rows[k] * stride;
    const R weight = weights[k];
    for (int64_t x = 0; x < width; ++x) to[x] += row[x] * weight;
  }
}

// Whether some of the lines read pixels of a strip.
template <class R>
bool reads(const Lines<R>& ys, int64_t first, int64_t rows, Range strip) {
  for (int64_t j = first; j < first + rows; ++j)
    for (int32_t k = 0; k < ys.counts[j]; ++k) {
      const int32_t at = ys.pixels[j * ys.taps + k];
      if (at >= strip.low && at < strip.high) return true;
    }
  return false;
}

template <class R>
void scatter_plane(const Antialias& job, const Rooms<R>& room, int64_t n, const R* grad,
                   Range strip, R* plane) {
  const Call& call = job.call;
  const Lines<R> xs(job, n, 0), ys(job, n, 1);
  const int64_t length = call.target[0], width = xs.width();
  R *columns = room.columns.aligned() - xs.low() * kBand, *points = room.points.aligned();
  for (int64_t first = 0; first < call.target[1]; first += kBand) {
    const int64_t left = call.target[1] - first, rows = left < kBand ? left : kBand;
    if (!reads(ys, first, rows, strip)) continue;
    R* gradient = points;
    to_points<kBand>(grad + first * length, length, rows, length, gradient);
    if (call.padding == kRenormalise)
      for (int64_t j = 0; j < length; ++j)
        for (int64_t r = 0; r < rows; ++r)
          if (!(xs.shares[j] * ys.shares[first + r] > R(1e-3))) gradient[j * kBand + r] = 0;
    __builtin_memset(room.columns.aligned(), 0, width * kBand * sizeof(R));
    for (int64_t j = 0; j < length; ++j) {
      Row<R, kBand> given, values;
      load_row(points + j * kBand, given);
      for (int32_t k = 0; k < xs.counts[j]; ++k) {
        R* to = columns + xs.pixels[j * xs.taps + k] * kBand;
        load_row(to, values);
        add_scaled(values, given, xs.weights[j * xs.taps + k]);
        store_row(values, to);
      }
    }
    to_planes<kBand>(room.columns.aligned(), room.stride, rows, width, room.rows.aligned());
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t j = first + r;
      add_line(room.rows.aligned() + r * room.stride, call.source[0], ys.pixels + j * ys.taps,
               ys.weights + j * ys.taps, ys.counts[j], width, strip, plane + xs.low());
    }
  }
}

// A task is a strip of an image's channel.
template <class R>
void scatter_rows(const Job& given, int64_t begin, int64_t end) {
  const Antialias& job = antialias_of(given);
  const Call& call = job.call;
  const Rooms<R> room(job);
  for (int64_t task = begin; room.ready() && task < end; ++task) {
    const int64_t c = task % call.channels, b = task / call.channels / job.strips;
    const int64_t low = task / call.channels % job.strips * job.strip_rows;
    const int64_t high = low + job.strip_rows, last = call.source[1];
    const Range strip{low, high < last ? high : last};
    R* plane = static_cast<R*>(call.grad_image) + b * call.image.batch + c * call.image.channel;
    for (int64_t n = b * served(call); n < (b + 1) * served(call); ++n)
      if (job.separable(n))
        scatter_plane(job, room, n,
                      static_cast<const R*>(call.grad_data) + n * call.output.batch +
                          c * call.output.channel,
                      strip, plane);
  }
}

}  // namespace
}  // namespace STN_ISA
