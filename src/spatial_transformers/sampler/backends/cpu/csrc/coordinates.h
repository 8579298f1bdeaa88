// T_θ(G) of a tile in pixels, and its transpose. Compiled once per instruction set.
//
// The order of operations is that of `apply_matrix` in grid/homogeneous.py, and none is contracted,
// so that the identity falls on whole pixels.
#pragma once
#include "job.h"
#include "lanes.h"
#include "vectors.h"

namespace STN_ISA {
namespace {

constexpr double kNearest = 1e-6;  // the smallest w in front of the camera

template <class R>
struct Frame {  // of one image
  R matrix[4][4];
  const R* weights[4];  // of the functions, per row
  R scale[4];
  bool large;  // whether pixels may overflow
};

template <class R>
STN_SHARED Frame<R> frame_of(const Job& job, int64_t n) {
  const Call& call = job.call;
  Frame<R> frame{};
  const int64_t rows = job.rows(), columns = call.columns, ndim = call.ndim;
  const R* m = static_cast<const R*>(call.coordinates_data);
  frame.large = call.functions > 0;
  if (call.form == kPoints) return frame;
  if (call.coordinates_batch > 1) m += n * rows * columns;
  R odd = 0;  // NaN if a number of the matrix is not finite: then no point is
  for (int64_t k = 0; k < rows * columns; ++k) odd += m[k] - m[k];
  for (int64_t r = 0; r < rows; ++r, m += columns) {
    for (int64_t c = 0; c < ndim; ++c) frame.matrix[r][c] = m[c] * R(call.factor[r][c]);
    frame.scale[r] = R(call.scale[r]);
    frame.matrix[r][ndim] = m[ndim] * frame.scale[r] + odd;
    frame.weights[r] = m + ndim + 1;
    R most = magnitude(frame.matrix[r][ndim]);
    for (int64_t c = 0; c < ndim; ++c) most += magnitude(frame.matrix[r][c]) * R(call.target[c]);
    frame.large |= !(most < largest<R> / 4 * R(kNearest));
  }
  return frame;
}

template <class R, int D>
struct Coordinates {
  Lanes<R> position[D];  // centred, in target pixels
  Lanes<R> pixel[D];     // in the source; NaN reads nothing, what overflows is the largest number
  Lanes<R> quotient[D];  // of a perspective, before the centre is added
  Lanes<R> inverse;      // 1 / w
  Tile tile;
  bool overflowed = false;  // some pixels, which are the largest number now

  STN_SHARED Coordinates(const Job& job, int64_t n, const Frame<R>& frame, Tile at)
      : tile(at) {
    if (job.call.form == kPoints)
      from_points(job, n);
    else
      from_matrix(job, frame);
    if (frame.large && !all_finite()) saturate(pixel);
    for (int r = 0; r < D; ++r)  // lanes that are no points do as the first one does
      for (int64_t i = tile.count; i < kTile; ++i) pixel[r][i] = pixel[r][0];
  }

  // Adds the gradient to the sums (rows × columns lanes) or to the points.
  STN_SHARED void transpose(const Job& job, int64_t n, const Frame<R>& frame, Lanes<R> (&grad)[D],
                            R* sums) {
    const Call& call = job.call;
    if (overflowed)
      for (int r = 0; r < D; ++r)
        each(i) grad[r][i] = magnitude(pixel[r][i]) == largest<R> ? 0 : grad[r][i];
    if (call.form == kPoints) return to_points(job, n, grad);
    Lanes<R> last;
    if (call.form == kPerspective) {
      each(i) last[i] = 0;
      if (overflowed) saturate(quotient);
      for (int r = 0; r < D; ++r) each(i) {
        grad[r][i] *= inverse[i];
        last[i] -= grad[r][i] * quotient[r][i];
      }
    }
    const int64_t rows = job.rows();
    for (int64_t r = 0; r < rows; ++r)
      add_homogeneous(r < D ? grad[r] : last, sums + r * call.columns * kLanes);
    for (int64_t k = 0; k < call.functions; ++k) {
      Lanes<R> values;
      load(function(job, k), tile.count, 1, values);
      for (int64_t r = 0; r < rows; ++r) {
        const Lanes<R>& g = r < D ? grad[r] : last;
        add_products(g, values, sums + (r * call.columns + D + 1 + k) * kLanes);
        if (call.grad_functions) to_function(job, k, g, frame.weights[r][k] * frame.scale[r]);
      }
    }
  }

 private:
  // Sets centred positions: whole numbers, or halves, in the order of the flattened target.
  void place(const Job& job) {
    const int64_t* size = job.call.target;
    const int64_t row = tile.start / size[0];
    const R width = R(size[0]), height = D > 1 ? R(size[1]) : 1;
    const R across = 1 / width, down = 1 / height;
    const R x0 = R(tile.start % size[0]), y0 = D > 1 ? R(row % size[1]) : 0;
    const R z0 = D > 2 ? R(row / size[1]) : 0;
    const R half_x = half(size[0]), half_y = D > 1 ? half(size[1]) : 0;
    const R half_z = D > 2 ? half(size[2]) : 0;
    const bool wide = size[0] >= kTile, high = D > 2 && size[1] >= kTile;  // one end at most
    each(i) {
      const R x = x0 + R(i), ended = x >= width ? 1 : 0;
      const R rows = wide ? ended : floor_of((x + R(0.5)) * across), y = y0 + rows;
      position[0][i] = (x - rows * width) - half_x;
      if (D == 2) position[D - 1][i] = y - half_y;
      if (D == 3) {
        const R over = y >= height ? 1 : 0;
        const R slices = high ? over : floor_of((y + R(0.5)) * down);
        position[1][i] = (y - slices * height) - half_y;
        position[D - 1][i] = (z0 + slices) - half_z;
      }
    }
  }

  // Adds the products with the homogeneous coordinates.
  void add_homogeneous(const Lanes<R>& g, R* sums) const {
    using Some = Block<R, kLanes>;
    Some total[D + 1] = {}, one, other;
    for (int i = 0; i < kTile; i += kLanes) {
      load_block(&g[i], one);
      STN_UNROLL
      for (int c = 0; c < D; ++c) {
        load_block(&position[c][i], other);
        total[c] += one * other;
      }
      total[D] += one;
    }
    STN_UNROLL
    for (int c = 0; c <= D; ++c) {
      load_block(sums + c * kLanes, other);
      other += total[c];
      store_block(other, sums + c * kLanes);
    }
  }

  static R half(int64_t n) { return R(n - 1) / 2; }

  const R* function(const Job& job, int64_t k) const {
    return static_cast<const R*>(job.call.functions_data) + k * job.points + tile.start;
  }

  // Row r of M_θ times the homogeneous coordinates.
  void row(const Frame<R>& frame, int r, Lanes<R>& total) const {
    const R shift = frame.matrix[r][D];
    each(i) total[i] = shift;
    for (int c = D - 1; c >= 0; --c) {
      const R weight = frame.matrix[r][c];
      each(i) total[i] = weight * position[c][i] + total[i];
    }
  }

  Lanes<R>& of(int row, Lanes<R>& w) { return row < D ? pixel[row] : w; }

  // Adds the rest of M_θ B to the rows, w's too if there is one.
  template <int kRows>
  void add_functions(const Job& job, const Frame<R>& frame, Lanes<R>& w) {
    using Some = Block<R, kLanes>;
    const int64_t count = job.call.functions;
    const int64_t whole = tile.count / kLanes * kLanes;
    for (int64_t i = 0; i < whole; i += kLanes) {
      Some total[kRows], values;
      STN_UNROLL
      for (int r = 0; r < kRows; ++r) load_block(&of(r, w)[i], total[r]);
      for (int64_t k = 0; k < count; ++k) {
        load_block(function(job, k) + i, values);
        STN_UNROLL
        for (int r = 0; r < kRows; ++r)
          total[r] = total[r] + frame.weights[r][k] * frame.scale[r] * values;
      }
      STN_UNROLL
      for (int r = 0; r < kRows; ++r) store_block(total[r], &of(r, w)[i]);
    }
    for (int64_t i = whole; i < tile.count; ++i)
      for (int64_t k = 0; k < count; ++k)
        for (int r = 0; r < kRows; ++r) {
          R& total = of(r, w)[i];
          total = total + frame.weights[r][k] * frame.scale[r] * function(job, k)[i];
        }
  }

  void from_matrix(const Job& job, const Frame<R>& frame) {
    place(job);
    if (job.call.form == kMatrix && job.call.functions == 0) return map(job, frame);
    Lanes<R> w;
    for (int r = 0; r < D; ++r) row(frame, r, pixel[r]);
    if (job.call.form == kPerspective) row(frame, D, w);
    if (job.call.form == kPerspective) {
      add_functions<D + 1>(job, frame, w);
      divide(w);
    } else {
      add_functions<D>(job, frame, w);
    }
    for (int r = 0; r < D; ++r) {
      const R centre = R(job.call.centre[r]);
      each(i) pixel[r][i] = pixel[r][i] + centre;
    }
  }

  // The same for an affine map, in one loop.
  void map(const Job& job, const Frame<R>& frame) {
    R m[D][D + 1], centre[D];
    for (int r = 0; r < D; ++r) {
      centre[r] = R(job.call.centre[r]);
      for (int c = 0; c <= D; ++c) m[r][c] = frame.matrix[r][c];
    }
    each(i) {
      STN_UNROLL
      for (int r = 0; r < D; ++r) {
        R total = m[r][D];
        STN_UNROLL
        for (int c = D - 1; c >= 0; --c) total = m[r][c] * position[c][i] + total;
        pixel[r][i] = total + centre[r];
      }
    }
  }

  void divide(const Lanes<R>& w) {
    each(i) inverse[i] = w[i] > R(kNearest) && finite(w[i]) ? 1 / w[i] : 0;
    for (int r = 0; r < D; ++r) each(i) {
      const bool valid = inverse[i] > 0 && finite(pixel[r][i]);
      quotient[r][i] = valid ? pixel[r][i] / w[i] : 0;
      pixel[r][i] = valid ? quotient[r][i] : nan<R>();
    }
  }

  void from_points(const Job& job, int64_t n) {
    const Call& call = job.call;
    const R* points = static_cast<const R*>(call.coordinates_data) + tile.start * D;
    if (call.coordinates_batch > 1) points += n * job.points * D;
    for (int r = 0; r < D; ++r) {
      const R sum = R(call.unit[r][0]), scale = R(call.unit[r][1]), less = R(call.unit[r][2]);
      load(points + r, tile.count, D, pixel[r]);
      each(i) pixel[r][i] = (pixel[r][i] + sum) * scale - less;
    }
    if (all_finite()) return;
    saturate(pixel);
    for (int r = 0; r < D; ++r)
      for (int64_t i = 0; i < tile.count; ++i)
        if (!finite(points[i * D + r])) pixel[r][i] = nan<R>();
  }

  bool all_finite() const {
    Index all = -1;
    for (int r = 0; r < D; ++r) each(i) all &= -Index(finite(pixel[r][i]));
    return all == -1;
  }

  // Puts the largest number in place of infinite ones; NaN stays.
  void saturate(Lanes<R> (&numbers)[D]) {
    overflowed = true;
    for (int r = 0; r < D; ++r) each(i) numbers[r][i] = saturated(numbers[r][i]);
  }

  void to_points(const Job& job, int64_t n, const Lanes<R> (&grad)[D]) const {
    const Call& call = job.call;
    R* points = static_cast<R*>(call.grad_coordinates) + tile.start * D;
    if (call.coordinates_batch > 1) points += n * job.points * D;
    for (int r = 0; r < D; ++r) {
      const R scale = R(call.unit[r][1]);
      if (n == 0 || call.coordinates_batch > 1)
        for (int64_t i = 0; i < tile.count; ++i) points[i * D + r] = grad[r][i] * scale;
      else
        for (int64_t i = 0; i < tile.count; ++i) points[i * D + r] += grad[r][i] * scale;
    }
  }

  void to_function(const Job& job, int64_t k, const Lanes<R>& grad, R weight) const {
    R* values = static_cast<R*>(job.call.grad_functions) + k * job.points + tile.start;
    for (int64_t i = 0; i < tile.count; ++i) values[i] += weight * grad[i];
  }
};

}  // namespace
}  // namespace STN_ISA
