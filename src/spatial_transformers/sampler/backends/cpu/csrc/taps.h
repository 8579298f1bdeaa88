// The pixels that a tile reads, with their weights: k(x − m) of every axis, multiplied out.
#pragma once
#include "axis.h"
#include "job.h"
#include "lanes.h"

namespace STN_ISA {
namespace {

constexpr int power(int base, int exponent) {
  return exponent == 0 ? 1 : base * power(base, exponent - 1);
}

inline bool everywhere(const Lanes<Index>& mask) {
  Index all = -1;
  each(i) all &= mask[i];
  return all == -1;
}

// All taps of a tile. `kSlopes`: whether derivatives will be asked for.
template <class R, int D, int K, bool kSlopes>
class Taps {
 public:
  static constexpr int kCount = power(K, D), kRows = power(K, D - 1);
  Axis<R, K> axis[D];
  Lanes<R> weight[kCount];
  // Whole tiles, whose taps are all pixels, read at start + shift, the others at index.
  bool whole;
  Lanes<Index> start;
  Index shift[kCount];
  Lanes<Index> index[kCount], inside[kCount];  // inside: -1 or 0
  // Whether a row's two taps are among two neighbours, which begin at `pair`.
  bool pairs;
  Lanes<Index> pair[kRows], second[2];  // second: whether a tap is the second of them

  STN_SHARED Taps(const Job& job, const Lanes<R> (&pixel)[D]) : pairs(false) {
    const Call& call = job.call;
    Index stride[D];
    stride[0] = Index(call.image.pixel);
    for (int a = 1; a < D; ++a) stride[a] = stride[a - 1] * Index(job.memory.extent[a - 1]);
    STN_UNROLL
    for (int t = 0; t < kCount; ++t) {
      shift[t] = 0;
      for (int a = 0; a < D; ++a) shift[t] += part(t, a) * stride[a];
    }
    const bool margin = K == 2 && job.memory.margin;  // copies are made of no other taps
    whole = margin || everywhere_inside(call, pixel);
    if (margin)
      read_whole<K == 2>(job, pixel, stride);
    else if (whole)
      read_whole<false>(job, pixel, stride);
    else
      read_any(call, pixel, stride);
  }

  // Turns sums over channels of gradient × value, a tap each, into the gradient to coordinates.
  STN_SHARED void slopes(const Lanes<R> (&dot)[kCount], Lanes<R> (&grad)[D]) const {
    if (K == 1)
      for (auto& along : grad) each(i) along[i] = 0;
    else if (K == 2 && whole)
      contract<true>(dot, grad);
    else
      contract<false>(dot, grad);
  }

  // Asks for the memory of a plane that this tile will read, of which 8 points mostly share a line;
  // or of points, of so many values of a size each.
  STN_ASK void fetch(const char* from, int64_t size, int64_t values) const {
    const int step = values > 1 ? 1 : 8;
    for (int row = 0; row < kRows; ++row)
      for (int i = 0; i < kTile; i += step)
        ask<false>(from + at(row * K + K / 2, i) * size, values * size);
  }

  // Whether some tap has no weight, of those that read a pixel, or of all.
  bool weightless(bool outside) const {
    Index any = 0;
    for (int t = 0; t < kCount; ++t)
      if (whole || outside)
        each(i) any |= -Index(weight[t][i] == 0);
      else
        each(i) any |= -Index(weight[t][i] == 0) & inside[t][i];
    return any != 0;
  }

  int64_t at(int t, int64_t i) const { return whole ? start[i] + shift[t] : index[t][i]; }

 private:
  // `kUnit`: slopes are ±1, and are not stored.
  template <bool kUnit>
  void contract(const Lanes<R> (&dot)[kCount], Lanes<R> (&grad)[D]) const {
    each(i) {
      R value[kCount], along[D][kCount];  // sums so far: of values, and of slopes along an axis
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) value[t] = dot[t][i];
      contract_axis<kUnit, 0>(i, value, along);
      STN_UNROLL
      for (int a = 0; a < D; ++a) grad[a][i] = along[a][0];
    }
  }

  // Sums over the taps of axis a, and then over those of the next.
  template <bool kUnit, int a>
  STN_INLINE void contract_axis(int i, R (&value)[kCount], R (&along)[D][kCount]) const {
    constexpr int kRest = power(K, D - 1 - a);
    contract_row<kUnit, a>(i, 0, value, along);
    if constexpr (kRest > 1) contract_row<kUnit, a>(i, 1, value, along);
    if constexpr (kRest > 2) {
      STN_UNROLL
      for (int j = 2; j < kRest; ++j) contract_row<kUnit, a>(i, j, value, along);
    }
    if constexpr (a + 1 < D) contract_axis<kUnit, a + 1>(i, value, along);
  }

  template <bool kUnit, int a>
  STN_INLINE void contract_row(int i, int j, R (&value)[kCount], R (&along)[D][kCount]) const {
    R sum = 0, change = 0, other[D] = {};
    STN_UNROLL
    for (int k = 0; k < K; ++k) {
      const R weight = axis[a].weight[k][i], of = value[j * K + k];
      sum += weight * of;
      change += kUnit ? (k ? of : -of) : axis[a].slope[k][i] * of;
      if constexpr (a > 0) other[0] += weight * along[0][j * K + k];
      if constexpr (a > 1) other[1] += weight * along[1][j * K + k];
    }
    value[j] = sum;
    along[a][j] = change;
    if constexpr (a > 0) along[0][j] = other[0];
    if constexpr (a > 1) along[1][j] = other[1];
  }

  static constexpr int part(int tap, int a) { return tap / power(K, a) % K; }

  // Whether all taps are pixels, and the points are not moved: at 0 some paddings have slope 0.
  static bool everywhere_inside(const Call& call, const Lanes<R> (&x)[D]) {
    const bool open = call.padding == kBorder || call.padding == kReflection;
    const R low = K == 2 && open ? R(1e-30) : 0;
    R high[D];
    for (int a = 0; a < D; ++a)
      if (call.source[a] > kExact) return false;  // whose ends round
    for (int a = 0; a < D; ++a) high[a] = R(K == 1 ? call.source[a] - 1 : call.source[a] - K / 2);
    Index all = -1;
    each(i) {
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        const bool below = K == 1 ? x[a][i] <= high[a] : x[a][i] < high[a];
        all &= -Index(x[a][i] >= low) & -Index(below);
      }
    }
    return all == -1;
  }

  template <bool kMargins>
  void read_whole(const Job& job, const Lanes<R> (&pixel)[D], const Index (&stride)[D]) {
    const Call& call = job.call;
    Index step[D], origin[D];  // which no result can lie in
    R last[D];
    for (int a = 0; a < D; ++a) {
      step[a] = stride[a];
      last[a] = R(call.source[a]);
      origin[a] = Index(job.memory.origin[a]);
    }
    each(i) {
      Index at = 0, live = -1;
      R product[kCount];
      STN_UNROLL
      for (int a = 0; a < D; ++a) live &= -Index(!kMargins || finite(pixel[a][i]));
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) product[t] = 1;
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        R x = pixel[a][i];
        if (kMargins) {  // a point that is not finite reads one pixel of the margin
          x = live ? x : -kMargin;
          x = x < -kMargin ? -kMargin : x > last[a] ? last[a] : x;
        }
        const R base = K % 2 ? even(x) : floor_of(x), d = x - base;
        const Index first = Index(base);
        at += (kMargins ? first - origin[a] : first) * step[a];
        if (kSlopes) axis[a].first[i] = first;
        STN_UNROLL
        for (int k = 0; k < K && kSlopes; ++k) {
          axis[a].weight[k][i] = weight_of<K>(d, k);
          if (K != 2) axis[a].slope[k][i] = slope_of<K>(k, R(1));
        }
        STN_UNROLL
        for (int t = 0; t < kCount; ++t) product[t] *= weight_of<K>(d, part(t, a));
      }
      start[i] = at;
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) weight[t][i] = product[t];
    }
  }

  void read_any(const Call& call, const Lanes<R> (&pixel)[D], const Index (&stride)[D]) {
    if (K == 2 && (call.padding == kZeros || call.padding == kConstant)) {
      read_filled(call, pixel, stride);
      return find_pairs(call, stride[0]);
    }
    Lanes<Index> alive;
    each(i) {
      Index live = -1;
      STN_UNROLL
      for (int a = 0; a < D; ++a) live &= -Index(finite(pixel[a][i]));
      alive[i] = live;
    }
    for (int a = 0; a < D; ++a)
      axis[a].template set<kSlopes>(call, call.source[a], pixel[a], alive);
    if (call.padding == kRenormalise) renormalise();
    for (int t = 0; t < kCount; ++t) each(i) {
      R product = 1;
      Index at = 0, in = -1;
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        product *= axis[a].weight[part(t, a)][i];
        at += axis[a].pixel[part(t, a)][i] * stride[a];
        in &= axis[a].inside[part(t, a)][i];
      }
      weight[t][i] = product;
      index[t][i] = at;
      inside[t][i] = in;
    }
    find_pairs(call, stride[0]);
  }

  // What `Axis::set` and the loop above do, in one loop for the commonest case.
  void read_filled(const Call& call, const Lanes<R> (&pixel)[D], const Index (&stride)[D]) {
    R high[D];
    Index last[D], step[D];
    for (int a = 0; a < D; ++a) {
      step[a] = stride[a];
      high[a] = R(call.source[a]);  // from there on both taps are outside
      last[a] = Index(call.source[a] - 1);
    }
    each(i) {
      Index live = -1;
      R product[kCount];
      Index at[kCount], in[kCount];
      STN_UNROLL
      for (int a = 0; a < D; ++a) live &= -Index(finite(pixel[a][i]));
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        const R given = live ? pixel[a][i] : R(-2), top = given > high[a] ? high[a] : given;
        const R x = top < -2 ? R(-2) : top, base = floor_of(x), d = x - base;
        const Index before = Index(base), after = before + 1, end = last[a];
        const Index from0 = before < 0 ? 0 : before, read0 = from0 > end ? end : from0;
        const Index from1 = after < 0 ? 0 : after, read1 = from1 > end ? end : from1;
        const Index own0 = -Index(read0 == before), own1 = -Index(read1 == after);
        const R share0 = weight_of<2>(d, 0), share1 = weight_of<2>(d, 1);
        if (kSlopes) {
          const Index least = before < -1 ? -1 : before;
          axis[a].first[i] = least > last[a] ? last[a] : least;
        }
        STN_UNROLL
        for (int k = 0; k < K; ++k) {
          axis[a].pixel[k][i] = k ? read1 : read0;
          if (kSlopes) axis[a].weight[k][i] = k ? share1 : share0;
          if (kSlopes) axis[a].slope[k][i] = live ? slope_of<2>(k, R(1)) : 0;
        }
        STN_UNROLL
        for (int t = 0; t < kCount; ++t) {
          const bool k = part(t, a);
          const R share = k ? share1 : share0;
          const Index read = (k ? read1 : read0) * step[a], own = k ? own1 : own0;
          product[t] = a ? product[t] * share : share;
          at[t] = a ? at[t] + read : read;
          in[t] = a ? in[t] & own : own;
        }
      }
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) {
        weight[t][i] = product[t];
        index[t][i] = at[t];
        inside[t][i] = in[t];
      }
    }
  }

  void find_pairs(const Call& call, Index step) {
    pairs = K == 2 && call.source[0] > 1 && step == 1 && call.padding != kWrap;
    if (!pairs) return;
    const Index last = Index(call.source[0] - 2);
    each(i) {
      const Index x = axis[0].pixel[0][i], next = axis[0].pixel[K - 1][i], back = x > last;
      second[0][i] = back;
      second[1][i] = back | (next > x);
      STN_UNROLL
      for (int row = 0; row < kRows; ++row) pair[row][i] = index[row * K][i] - back;
    }
  }

  // Divides the weights of every axis by the sum of those inside. Where hardly a weight is, a point
  // reads nothing.
  void renormalise() {
    Lanes<R> share;
    each(i) share[i] = 1;
    for (int a = 0; a < D; ++a) {
      Lanes<R> sum, change;
      each(i) sum[i] = change[i] = 0;
      STN_UNROLL
      for (int k = 0; k < K; ++k) {
        each(i) sum[i] += axis[a].inside[k][i] ? axis[a].weight[k][i] : 0;
        if (kSlopes) each(i) change[i] += axis[a].inside[k][i] ? axis[a].slope[k][i] : 0;
      }
      each(i) share[i] *= sum[i];
      each(i) sum[i] = sum[i] == 0 ? 1 : sum[i];
      STN_UNROLL
      for (int k = 0; k < K; ++k) each(i) {
        const R weight = axis[a].weight[k][i];
        axis[a].weight[k][i] = weight / sum[i];
        if (kSlopes) {
          const R slope = axis[a].slope[k][i];
          axis[a].slope[k][i] = (slope * sum[i] - weight * change[i]) / (sum[i] * sum[i]);
        }
      }
    }
    STN_UNROLL
    for (int k = 0; k < K; ++k) each(i) axis[0].inside[k][i] &= -Index(share[i] > R(1e-3));
  }
};

}  // namespace
}  // namespace STN_ISA
