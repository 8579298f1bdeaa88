// The taps of a widened kernel around a point: a box of pixels, weighed eight of a row at a time.
#pragma once
#include "antialias.h"
#include "padding.h"
#include "pieces.h"
#include "read.h"
#include "scratch.h"
#include "weights.h"

namespace STN_ISA {
namespace {

constexpr int kRowsAtOnce = 32;

// The pixel that is read in place of one anywhere on an axis; -1: none. As `sampler/padding.py`.
template <class R>
int64_t read_at(const Call& call, int64_t axis, R pixel) {
  const int64_t length = call.source[axis];
  const R last = R(length - 1);
  if (pixel >= 0 && pixel <= last) return int64_t(pixel);
  if (fills(call.padding)) return -1;
  if (call.padding == kWrap) pixel = remainder_of(pixel, R(length));
  if (call.padding == kReflection) {
    const R low = call.align_corners ? R(0) : R(-0.5), span = last - 2 * low;
    if (span == 0) return 0;
    const R distance = magnitude(pixel - low), folds = floor_of(distance / span);
    const R rest = distance - folds * span;
    pixel = (folds - 2 * floor_of(folds / 2) == 1 ? span - rest : rest) + low;
  }
  return pixel <= 0 ? 0 : pixel >= last ? length - 1 : int64_t(pixel);
}

// What would be read of an axis of ones.
template <class R>
R coverage_at(const Call& call, int64_t axis, int64_t pixel) {
  if (pixel < 0) return 0;
  if (!call.coverage_data) return 1;
  const double* coverage = call.coverage_data;
  for (int64_t a = 0; a < axis; ++a) coverage += call.source[a] + 2 * call.taps;
  return R(coverage[call.taps + pixel]);
}

// The stretch of the points of a tile.
template <class R, int D>
class Stretches {
 public:
  Stretches(const Antialias& job, int64_t n, Tile tile) : job_(job) {
    const int64_t map = job.call.coordinates_batch > 1 ? n : 0;
    if (job.affine)
      set(job.stretch(n));
    else
      points_ = static_cast<const R*>(job.call.stretch_data) +
                map * (D * D + 1) * job.points + tile.start;
  }

  // Takes that of a point; whether its kernel is widened.
  bool take(int64_t i) {
    if (job_.affine) return true;
    if (points_[i] == 0) return false;
    for (int r = 0; r < D; ++r)
      for (int c = 0; c < D; ++c) inverse[r][c] = points_[i + (1 + r * D + c) * job_.points];
    R determinant = 0;
    R wide[D][D];
    invert(wide, determinant);
    for (int r = 0; r < D; ++r) {
      span[r] = 0;
      for (int c = 0; c < D; ++c) span[r] += magnitude(wide[r][c] / determinant);
    }
    return true;
  }

  R inverse[D][D] = {}, span[D] = {};

 private:
  void set(const Stretch& stretch) {
    for (int r = 0; r < D; ++r) {
      span[r] = R(stretch.span[r]);
      for (int c = 0; c < D; ++c) inverse[r][c] = R(stretch.inverse[r][c]);
    }
  }

  void invert(R (&to)[D][D], R& determinant) const {
    const auto& m = inverse;
    if constexpr (D == 2) {
      to[0][0] = m[1][1];
      to[1][1] = m[0][0];
      to[0][1] = to[1][0] = m[0][1];
      determinant = m[0][0] * m[1][1] - m[0][1] * m[1][0];
    } else {
      for (int r = 0; r < D; ++r)
        for (int c = 0; c < D; ++c) {
          const int a = (r + 1) % D, b = (r + 2) % D, p = (c + 1) % D, q = (c + 2) % D;
          to[r][c] = m[a][p] * m[b][q] - m[a][q] * m[b][p];
        }
      for (int c = 0; c < D; ++c) determinant += m[0][c] * to[0][c];
    }
  }

  const Antialias& job_;
  const R* points_ = nullptr;
};

// The box of taps of one point.
template <class R, int D>
struct Footprint {
  R base[D], first[D];  // the pixel next to the point, and the first tap from there
  R apart[D];           // from the first tap to the point
  R inverse[D][D];      // P⁻¹
  int64_t count[D];     // taps along an axis
  int64_t start[D];     // the first tap's pixel, of points inside
  bool inside;    // whether all taps are pixels, and those that vectors read beyond
  bool outside;   // whether none is, and nothing is read in their place
  bool straight;  // whether P⁻¹ is diagonal but for rounding, so that weights are products

  void place(const Call& call, const Stretches<R, D>& stretch, R support, const R (&x)[D]) {
    inside = call.plain || !fills(call.padding);
    outside = false;
    straight = true;
    for (int a = 0; a < D; ++a) {
      const R reach = support * stretch.span[a] * R(1.00001) + R(1e-5), nearest = even(x[a]);
      const R off = x[a] - nearest, low = -floor_of(reach - off), high = floor_of(off + reach);
      base[a] = nearest + R(call.lead[a]);
      first[a] = low;
      apart[a] = off - low;
      count[a] = int64_t(high - low) + 1;
      const int64_t wide = a == 0 ? (count[a] + kAcross - 1) / kAcross * kAcross : count[a];
      const R begin = base[a] + low;
      inside &= begin >= 0 && begin + R(wide) <= R(call.source[a]) && magnitude(begin) < R(1 << 24);
      const bool beyond = begin >= R(call.source[a]) || begin + R(count[a]) <= 0;
      outside |= beyond && fills(call.padding);
      for (int b = 0; b < D; ++b) {
        inverse[a][b] = stretch.inverse[a][b];
        straight &= a == b || magnitude(inverse[a][b]) < 2 * (1 - below_one<R>);
      }
    }
    for (int a = 0; a < D; ++a) start[a] = inside ? int64_t(base[a] + first[a]) : 0;
  }
};

// Some rows of a footprint, of eight taps each.
template <class R, int D>
struct Part {
  int64_t x, y, z, rows;
  Taps8<R> across;         // distances along x
  Taps8<R> from_across[D];  // and what they add to the distances that kernels see

  Part(const Footprint<R, D>& print, int64_t x, int64_t y, int64_t z)
      : x(x), y(y), z(z), rows(print.count[1] - y) {
    if (rows > kRowsAtOnce) rows = kRowsAtOnce;
    across = steps_from(print.apart[0] - R(x), R(-1));
    STN_UNROLL
    for (int a = 0; a < D; ++a) {
      fill_row(from_across[a], R(0));
      add_scaled(from_across[a], across, print.inverse[a][0]);
    }
  }

  R down(const Footprint<R, D>& print, int64_t row) const { return print.apart[1] - R(y + row); }
  R deep(const Footprint<R, D>& print) const { return D > 2 ? print.apart[D - 1] - R(z) : R(0); }

  // The distances that the kernel of an axis sees.
  STN_INLINE Taps8<R> distances(const Footprint<R, D>& print, int a, int64_t row) const {
    R rest = print.inverse[a][1] * down(print, row);
    if (D > 2) rest += print.inverse[a][D - 1] * deep(print);
    Taps8<R> one, result = from_across[a];
    fill_row(one, R(1));
    add_scaled(result, one, rest);
    return result;
  }

  template <class F>
  STN_INLINE void weigh(const Footprint<R, D>& print, const Pieces<R>& kernel,
                        Taps8<R>* weight) const {
    if (print.straight) return weigh_straight<F>(print, kernel, weight);
    for (int64_t r = 0; r < rows; ++r) {
      weight[r] = weights_at<F>(kernel, distances(print, 0, r));
      STN_UNROLL
      for (int a = 1; a < D; ++a)
        weight[r] = product(weight[r], weights_at<F>(kernel, distances(print, a, r)));
    }
  }

 private:
  template <class F>
  STN_INLINE void weigh_straight(const Footprint<R, D>& print, const Pieces<R>& kernel,
                                 Taps8<R>* weight) const {
    alignas(64) R along[kRowsAtOnce + kAcross];
    Taps8<R> row = weights_at<F>(kernel, from_across[0]);
    if constexpr (D > 2) {
      weights_along<F, R>(kernel, deep(print) * print.inverse[D - 1][D - 1], 0, 1, along, nullptr);
      Taps8<R> one;
      fill_row(one, along[0]);
      row = product(row, one);
    }
    const R step = print.inverse[1][1];
    weights_along<F, R>(kernel, down(print, 0) * step, -step, rows, along, nullptr);
    for (int64_t r = 0; r < rows; ++r) {
      fill_row(weight[r], R(0));
      add_scaled(weight[r], row, along[r]);
    }
  }
};

template <class R, int D, class Use>
STN_INLINE void each_part(const Footprint<R, D>& print, Use use) {
  const int64_t deep = D > 2 ? print.count[D - 1] : 1;
  for (int64_t z = 0; z < deep; ++z)
    for (int64_t x = 0; x < print.count[0]; x += kAcross)
      for (int64_t y = 0; y < print.count[1]; y += kRowsAtOnce) use(Part<R, D>(print, x, y, z));
}

// What the taps of a point at the border read.
template <class R, int D>
class Edges {
 public:
  explicit Edges(const Antialias& job)
      : call_(job.call),
        room_(2 * job.reach + 2 * kAcross),
        pixels_(job, room_ * D),
        coverage_(job, room_ * D) {}

  bool ready() const { return pixels_.aligned() && coverage_.aligned(); }

  STN_SHARED void find(const Footprint<R, D>& print) {
    for (int a = 0; a < D; ++a)
      for (int64_t k = 0; k < print.count[a] + kAcross; ++k) {
        const int64_t at = read_at(call_, a, print.base[a] + (print.first[a] + R(k)));
        const bool tap = k < print.count[a];
        pixels_.aligned()[a * room_ + k] = tap ? at : -1;
        coverage_.aligned()[a * room_ + k] = tap ? coverage_at<R>(call_, a, at) : 0;
      }
  }

  int64_t pixel(int a, int64_t k) const { return pixels_.aligned()[a * room_ + k]; }
  R coverage(int a, int64_t k) const { return coverage_.aligned()[a * room_ + k]; }

  // The offset of a tap in a plane, or -1.
  int64_t offset(int64_t x, int64_t y, int64_t z) const {
    const int64_t at = pixel(0, x), row = pixel(1, y), slice = D > 2 ? pixel(D - 1, z) : 0;
    if (at < 0 || row < 0 || slice < 0) return -1;
    return (slice * call_.source[1] + row) * call_.source[0] + at;
  }

  // What is read of ones in a row of a part.
  Taps8<R> covered(const Part<R, D>& part, int64_t row) const {
    Taps8<R> result, along;
    load_row(coverage_.aligned() + part.x, along);
    fill_row(result, R(0));
    add_scaled(result, along,
               coverage(1, part.y + row) * (D > 2 ? coverage(D - 1, part.z) : R(1)));
    return result;
  }

  // Copies the pixels of a part; 0 where there is none.
  void copy(const Part<R, D>& part, const R* plane, R* to) const {
    const int64_t *across = pixels_.aligned() + part.x, slice = D > 2 ? pixel(D - 1, part.z) : 0;
    const bool together = across[0] >= 0 && across[kAcross - 1] == across[0] + kAcross - 1;
    for (int64_t r = 0; r < part.rows; ++r, to += kAcross) {
      const int64_t row = pixel(1, part.y + r);
      const R* line = plane + (slice * call_.source[1] + row) * call_.source[0];
      if (row < 0 || slice < 0)
        for (int k = 0; k < kAcross; ++k) to[k] = 0;
      else if (together)
        __builtin_memcpy(to, line + across[0], kAcross * sizeof(R));
      else
        for (int k = 0; k < kAcross; ++k) to[k] = across[k] < 0 ? R(0) : line[across[k]];
    }
  }

 private:
  const Call& call_;
  int64_t room_;
  const Scratch<int64_t> pixels_;
  const Scratch<R> coverage_;
};

}  // namespace
}  // namespace STN_ISA
