// Eqs. 3, 6 and 7 of one point whose kernel is widened.
#pragma once
#include "footprint.h"

namespace STN_ISA {
namespace {

// Sums of a point's weights: of all, and of those that read a pixel.
template <class R>
struct Totals {
  R all, inside;
};

// By what a point's sums are multiplied, and by what the fill.
template <class R>
struct Shares {
  R scale, fill;

  Shares(const Call& call, const Totals<R>& totals) : scale(0), fill(0) {
    constexpr R rounding = sizeof(R) == 4 ? R(32 * 1.1920928955078125e-7)
                                          : R(32 * 2.220446049250313e-16);
    const R inside = totals.all == 0 ? R(0) : totals.inside / totals.all;
    if (call.padding == kRenormalise) {
      scale = inside > R(1e-3) ? 1 / totals.inside : R(0);
      return;
    }
    if (totals.all != 0) scale = 1 / totals.all;
    if (call.padding == kConstant) fill = magnitude(1 - inside) < rounding ? R(0) : 1 - inside;
  }
};

// A point of a tile: where its taps lie, and the memory that it needs.
template <class F, class R, int D>
struct Widened {
  const Antialias& job;
  const Call& call;
  const Pieces<R>& kernel;
  Edges<R, D>& edges;
  Footprint<R, D> print;
  Taps8<R> weight[kRowsAtOnce];
  alignas(64) R patch[kRowsAtOnce * kAcross];

  Widened(const Antialias& job, const Pieces<R>& kernel, Edges<R, D>& edges)
      : job(job), call(job.call), kernel(kernel), edges(edges) {}

  // Whether the point reads a pixel.
  bool place(const Stretches<R, D>& stretch, const R (&x)[D]) {
    print.place(call, stretch, kernel.support, x);
    if (!print.inside && !print.outside) edges.find(print);
    return !print.outside;
  }

  // Where row r of a part of a plane lies.
  STN_INLINE const R* row(const Part<R, D>& part, const R* plane, int64_t r) const {
    if (!print.inside) return patch + r * kAcross;
    return plane + offset(part, r);
  }

  STN_INLINE int64_t offset(const Part<R, D>& part, int64_t r) const {
    int64_t line = print.start[1] + part.y + r;
    if (D > 2) line += (print.start[D - 1] + part.z) * call.source[1];
    return line * call.source[0] + print.start[0] + part.x;
  }

  // The offset of one tap, or -1.
  int64_t offset(const Part<R, D>& part, int64_t r, int64_t k) const {
    if (print.inside) return offset(part, r) + k;
    return edges.offset(part.x + k, part.y + r, part.z);
  }

  void take(const Part<R, D>& part, const R* plane) {
    if (!print.inside) edges.copy(part, plane, patch);
  }

  // Weighs a part, and adds to the sums of all weights and of those inside.
  STN_INLINE void weigh(const Part<R, D>& part, Taps8<R>& all, Taps8<R>& inside) {
    part.template weigh<F>(print, kernel, weight);
    for (int64_t r = 0; r < part.rows; ++r) {
      add_scaled(all, weight[r], R(1));
      if (!print.inside) add_product(inside, weight[r], edges.covered(part, r));
    }
  }

  Totals<R> totals(const Taps8<R>& all, const Taps8<R>& inside) const {
    const R total = sum_of<R>(folded(all));
    return {total, print.inside ? total : sum_of<R>(folded(inside))};
  }

  STN_SHARED Totals<R> weights() {
    Taps8<R> all, inside;
    fill_row(all, R(0));
    fill_row(inside, R(0));
    each_part(print, [&](const Part<R, D>& part) { weigh(part, all, inside); });
    return totals(all, inside);
  }

  // Σ weight × value of every channel; `kCareful`: without what has no weight and is not finite.
  template <bool kCareful>
  STN_SHARED Totals<R> sum(const R* image, R* sums) {
    Taps8<R> all, inside;
    fill_row(all, R(0));
    fill_row(inside, R(0));
    for (int64_t c = 0; c < call.channels; ++c) sums[c] = 0;
    each_part(print, [&](const Part<R, D>& part) {
      weigh(part, all, inside);
      for (int64_t c = 0; c < call.channels; ++c) {
        const R* plane = image + c * call.image.channel;
        take(part, plane);
        Taps8<R> total, values;
        fill_row(total, R(0));
        for (int64_t r = 0; r < part.rows; ++r) {
          load_row(row(part, plane, r), values);
          if (kCareful) drop(weight[r], values);
          add_product(total, values, weight[r]);
        }
        sums[c] += sum_of<R>(folded(total));
      }
    });
    return totals(all, inside);
  }

  // Drops what has no weight and is not finite.
  static void drop(const Taps8<R>& weight, Taps8<R>& read) {
    alignas(64) R weights[kAcross], values[kAcross];
    store_row(weight, weights);
    store_row(read, values);
    for (int k = 0; k < kAcross; ++k)
      if (weights[k] == 0 && !finite(values[k])) values[k] = 0;
    load_row(values, read);
  }

  // Adds weight × gradient to the rows of a strip of an image's gradient.
  STN_SHARED void add(const R* gradient, int64_t step, Range strip, R* grads) {
    const Shares<R> shares(call, weights());
    each_part(print, [&](const Part<R, D>& part) {
      part.template weigh<F>(print, kernel, weight);
      for (int64_t r = 0; r < part.rows; ++r) {
        const int64_t slow = D > 2 ? part.z : part.y + r;
        const int64_t at = print.inside ? print.start[D - 1] + slow : edges.pixel(D - 1, slow);
        if (at < strip.low || at >= strip.high) continue;
        for (int64_t c = 0; c < call.channels; ++c)
          add_row(part, r, gradient[c * step] * shares.scale, grads + c * call.image.channel);
      }
    });
  }

 private:
  STN_INLINE void add_row(const Part<R, D>& part, int64_t r, R factor, R* plane) const {
    if (print.inside && finite(factor)) {
      Taps8<R> values;
      R* to = plane + offset(part, r);
      load_row(to, values);
      add_scaled(values, weight[r], factor);
      return store_row(values, to);
    }
    alignas(64) R weights[kAcross];
    store_row(weight[r], weights);
    for (int64_t k = 0; k < kAcross; ++k) {
      const int64_t at = offset(part, r, k);
      if (weights[k] != 0 && at >= 0) plane[at] += weights[k] * factor;
    }
  }
};

// The gradients of a point's sums to its coordinates and to P⁻¹, in parts that follow one another.
template <class F, class R, int D>
class Slopes {
 public:
  R pixel[D], inverse[D][D];

  Slopes(Widened<F, R, D>& point, const R* image, const R* gradient, int64_t step, R filled)
      : point_(point), image_(image), gradient_(gradient), step_(step), filled_(filled) {
    find<false>();
    if (!all_finite()) find<true>();
  }

 private:
  // Σ over taps of slopes along an axis, times 1 and the distances, and times what is read or not.
  struct Sums {
    Taps8<R> weight[2], slope[D][D + 1][2];
  };

  template <bool kCareful>
  STN_SHARED void find() {
    Sums sums;
    for (int q = 0; q < 2; ++q) {
      fill_row(sums.weight[q], R(0));
      for (int a = 0; a < D; ++a)
        for (int m = 0; m <= D; ++m) fill_row(sums.slope[a][m][q], R(0));
    }
    const bool masked = point_.call.padding == kRenormalise && !point_.print.inside;
    const bool straight = D == 2 && point_.print.straight && !masked;
    each_part(point_.print, [&](const Part<R, D>& part) {
      if (straight && !kCareful)
        add_straight(part, sums);
      else
        add<kCareful>(part, sums);
    });
    const R total = sum_of<R>(folded(sums.weight[0]));
    const R scale = total == 0 ? R(0) : 1 / total;
    const R mean = sum_of<R>(folded(sums.weight[1])) * scale;
    R slope[D];
    for (int a = 0; a < D; ++a)
      for (int m = 0; m <= D; ++m) {
        Taps8<R> rest = sums.slope[a][m][1];
        add_scaled(rest, sums.slope[a][m][0], -mean);
        const R found = sum_of<R>(folded(rest)) * scale;
        if (m == 0)
          slope[a] = found;
        else
          inverse[a][m - 1] = found;
      }
    for (int b = 0; b < D; ++b) {
      pixel[b] = 0;
      for (int a = 0; a < D; ++a) pixel[b] += point_.print.inverse[a][b] * slope[a];
    }
  }

  template <bool kCareful>
  STN_INLINE void add(const Part<R, D>& part, Sums& sums) {
    const auto& print = point_.print;
    Taps8<R> read[kRowsAtOnce];
    take(part, read);
    for (int64_t r = 0; r < part.rows; ++r) {
      Taps8<R> weight[D], slope[D], whole;
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        const Taps8<R> distance = part.distances(print, a, r);
        weight[a] = weights_at<F>(point_.kernel, distance);
        slope[a] = slopes_at<F>(point_.kernel, distance);
      }
      cover(part, r, weight[0], slope[0]);
      whole = product(weight[0], weight[1]);
      if constexpr (D > 2) whole = product(whole, weight[D - 1]);
      if (kCareful) point_.drop(whole, read[r]);
      add_scaled(sums.weight[0], whole, R(1));
      add_product(sums.weight[1], whole, read[r]);
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        Taps8<R> along = slope[a];
        STN_UNROLL
        for (int b = 0; b < D; ++b)
          if (b != a) along = product(along, weight[b]);
        add_moments(part, r, along, read[r], sums.slope[a]);
      }
    }
  }

  // The same where weights are products: columns are summed first.
  STN_INLINE void add_straight(const Part<R, D>& part, Sums& sums) {
    const auto& print = point_.print;
    const R step = print.inverse[1][1];
    alignas(64) R weight[kRowsAtOnce + kAcross], slope[kRowsAtOnce + kAcross];
    weights_along<F, R>(point_.kernel, part.down(print, 0) * step, -step, part.rows, weight, slope);
    Taps8<R> read[kRowsAtOnce], column[4][2], one;  // of weights, slopes, and both times distances
    take(part, read);
    fill_row(one, R(1));
    for (auto& kind : column)
      for (auto& sum : kind) fill_row(sum, R(0));
    for (int64_t r = 0; r < part.rows; ++r) {
      const R down = part.down(print, r);
      const R factor[4] = {weight[r], slope[r], weight[r] * down, slope[r] * down};
      STN_UNROLL
      for (int k = 0; k < 4; ++k) {
        add_scaled(column[k][0], one, factor[k]);
        add_scaled(column[k][1], read[r], factor[k]);
      }
    }
    const Taps8<R> weights = weights_at<F>(point_.kernel, part.from_across[0]);
    const Taps8<R> slopes = slopes_at<F>(point_.kernel, part.from_across[0]);
    const Taps8<R> weights_x = product(weights, part.across);
    const Taps8<R> slopes_x = product(slopes, part.across);
    STN_UNROLL
    for (int q = 0; q < 2; ++q) {
      add_product(sums.weight[q], weights, column[0][q]);
      add_product(sums.slope[0][0][q], slopes, column[0][q]);
      add_product(sums.slope[0][1][q], slopes_x, column[0][q]);
      add_product(sums.slope[0][2][q], slopes, column[2][q]);
      add_product(sums.slope[1][0][q], weights, column[1][q]);
      add_product(sums.slope[1][1][q], weights_x, column[1][q]);
      add_product(sums.slope[1][2][q], weights, column[3][q]);
    }
  }

  STN_INLINE void add_moments(const Part<R, D>& part, int64_t r, const Taps8<R>& along,
                              const Taps8<R>& read, Taps8<R> (&to)[D + 1][2]) const {
    const Taps8<R> both[2] = {along, product(along, read)};
    STN_UNROLL
    for (int q = 0; q < 2; ++q) {
      add_scaled(to[0][q], both[q], R(1));
      add_product(to[1][q], both[q], part.across);
      add_scaled(to[2][q], both[q], part.down(point_.print, r));
      if constexpr (D > 2) add_scaled(to[D][q], both[q], part.deep(point_.print));
    }
  }

  // Σ over channels of gradient × what is read.
  STN_INLINE void take(const Part<R, D>& part, Taps8<R>* read) {
    for (int64_t r = 0; r < part.rows; ++r) fill_row(read[r], R(0));
    for (int64_t c = 0; c < point_.call.channels; ++c) {
      const R* plane = image_ + c * point_.call.image.channel;
      point_.take(part, plane);
      Taps8<R> values;
      for (int64_t r = 0; r < part.rows; ++r) {
        load_row(point_.row(part, plane, r), values);
        add_scaled(read[r], values, gradient_[c * step_]);
      }
    }
    if (filled_ == 0 || point_.print.inside) return;
    for (int64_t r = 0; r < part.rows; ++r) {
      Taps8<R> rest;
      fill_row(rest, R(1));
      add_scaled(rest, point_.edges.covered(part, r), R(-1));
      add_scaled(read[r], rest, filled_);
    }
  }

  // Where weights inside are renormalised, the others count for nothing.
  STN_INLINE void cover(const Part<R, D>& part, int64_t r, Taps8<R>& weight, Taps8<R>& slope) {
    if (point_.call.padding != kRenormalise || point_.print.inside) return;
    const Taps8<R> covered = point_.edges.covered(part, r);
    weight = product(weight, covered);
    slope = product(slope, covered);
  }

  bool all_finite() const {
    bool all = true;
    for (int a = 0; a < D; ++a) {
      all &= finite(pixel[a]);
      for (int b = 0; b < D; ++b) all &= finite(inverse[a][b]);
    }
    return all;
  }

  Widened<F, R, D>& point_;
  const R *image_, *gradient_;
  int64_t step_;
  R filled_;
};

}  // namespace
}  // namespace STN_ISA
