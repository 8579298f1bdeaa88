// The pixels that a tile reads, with their weights: k(x − m) of every axis, multiplied out.
#include "padding.h"

namespace STN_ISA {
namespace {

constexpr int power(int base, int exponent) {
  return exponent == 0 ? 1 : base * power(base, exponent - 1);
}

// Keys' kernel with a = -0.75 and its slope, for distances d that lie in [-1, 1), or far out.
template <class R>
inline R cubic(R d, bool far) {
  const R c = R(0.75), x = d < 0 ? -d : d, near = 1 - x, rest = 2 - x;
  return far ? rest * rest * (c * near) : near * near * (1 + 2 * x) + c * (x * x * near);
}

template <class R>
inline R cubic_slope(R d, bool far) {
  const R c = R(0.75), x = d < 0 ? -d : d, near = 1 - x, rest = 2 - x;
  const R slope = far ? -2 * rest * (c * near) - rest * rest * c
                      : 2 * near * near - 2 * near * (1 + 2 * x) + c * (2 * x * near - x * x);
  return d < 0 ? -slope : slope;
}

inline bool everywhere(const Lanes<Index>& mask) {
  Index all = -1;
  each(i) all &= mask[i];
  return all == -1;
}

// The weight of tap k at a distance d of the coordinate from its base, and its slope.
template <int K, class R>
inline R weight_of(R d, int k) {
  if (K == 1) return 1;
  const R rest = d - R(K == 4 ? k - 1 : k);
  return K == 2 ? (k ? 1 + rest : 1 - rest) : cubic(rest, k == 0 || k == 3);
}

template <int K, class R>
inline R slope_of(R d, int k, R moved) {
  if (K == 1) return 0;
  return K == 2 ? (k ? moved : -moved) : cubic_slope(d - R(k - 1), k == 0 || k == 3);
}

template <class R, int K>
struct Axis {
  static constexpr int kFirst = K == 4 ? -1 : 0;  // tap, relative to the base
  Lanes<R> weight[K], slope[K];  // slope: of the weight, to the coordinate; unset if it is ±1
  Lanes<Index> pixel[K], inside[K];               // inside: -1 or 0, not for whole tiles
  Lanes<Index> first;  // pixel of the first tap, which may be one before the image's

  // For coordinates anywhere, in points that are `alive`.
  template <bool kSlopes>
  void set(const Call& call, int64_t length, const Lanes<R>& given, const Lanes<Index>& alive) {
    Lanes<R> x, moved;
    each(i) x[i] = alive[i] ? given[i] : 0;
    if (fills(call.padding)) return set_taps<kSlopes, true>(length, x, moved, alive);
    each(i) moved[i] = 1;
    if (K < 4) move_inside(call, length, x, &moved);
    set_taps<kSlopes, false>(length, x, moved, alive);
    if (K == 4 || call.padding == kWrap) read_moved(call, length, x);
  }

 private:
  template <bool kSlopes, bool kFilling>
  void set_taps(int64_t length, const Lanes<R>& x, const Lanes<R>& moved,
                const Lanes<Index>& alive) {
    const R low = -R(K / 2 + 1), high = R(length + K / 2), last = R(length - 1);
    each(i) {
      R place = x[i];
      if (kFilling) place = place < low ? low : place > high ? high : place;
      const R base = K % 2 ? even(place) : floor_of(place), d = place - base;
      STN_UNROLL
      for (int k = 0; k < K; ++k) {
        const R read = base + R(k + kFirst), clipped = read > last ? last : read > 0 ? read : 0;
        weight[k][i] = weight_of<K>(d, k);
        if (kSlopes) {
          const R change = slope_of<K>(d, k, kFilling ? R(1) : moved[i]);
          slope[k][i] = alive[i] ? change : 0;
        }
        inside[k][i] = kFilling ? -Index(read == clipped) & alive[i] : alive[i];
        const Index rounded = Index(clipped), end = Index(length - 1);
        pixel[k][i] = rounded > end ? end : rounded;
      }
      const R least = base < -1 ? -1 : base;
      if (K == 2 && kSlopes) first[i] = Index(least > last ? last : least);
    }
  }

  // Reads what paddings put in the place of taps outside.
  void read_moved(const Call& call, int64_t length, const Lanes<R>& x) {
    Lanes<R> read;
    for (int k = 0; k < K; ++k) {
      each(i) read[i] = (K % 2 ? even(x[i]) : floor_of(x[i])) + R(k + kFirst);
      move_inside<R>(call, length, read, nullptr);
      each(i) {
        const Index place = Index(read[i] > 0 ? read[i] < R(length) ? read[i] : 0 : 0);
        pixel[k][i] = place < Index(length) ? place : Index(length - 1);
      }
    }
  }
};

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

  Taps(const Job& job, const Lanes<R> (&pixel)[D]) : pairs(false) {
    const Call& call = job.call;
    Index stride[D];
    stride[0] = Index(call.image.pixel);
    for (int a = 1; a < D; ++a) stride[a] = stride[a - 1] * Index(job.extent[a - 1]);
    STN_UNROLL
    for (int t = 0; t < kCount; ++t) {
      shift[t] = 0;
      for (int a = 0; a < D; ++a) shift[t] += part(t, a) * stride[a];
    }
    whole = job.margins || everywhere_inside(call, pixel);
    if (job.margins)
      read_whole<true>(job, pixel, stride);
    else if (whole)
      read_whole<false>(job, pixel, stride);
    else
      read_any(call, pixel, stride);
  }

  // Turns sums over channels of gradient × value, a tap each, into the gradient to coordinates.
  void slopes(const Lanes<R> (&dot)[kCount], Lanes<R> (&grad)[D]) const {
    if (K == 1)
      for (auto& along : grad) each(i) along[i] = 0;
    else if (K == 2 && whole)
      contract<true>(dot, grad);
    else
      contract<false>(dot, grad);
  }

  // Asks for the memory of a plane that this tile will read, of which 8 points mostly share a line;
  // or of points, of so many values each.
  template <class S>
  STN_ASK void fetch(const S* from, int64_t values) const {
    const int step = values > 1 ? 1 : 8;
    for (int row = 0; row < kRows; ++row)
      for (int i = 0; i < kTile; i += step) ask<false>(from + at(row * K + K / 2, i), values);
  }

  int64_t at(int t, int64_t i) const { return whole ? start[i] + shift[t] : index[t][i]; }

 private:
  // Sums over the taps of an axis after the other. `kUnit`: slopes are ±1, and are not stored.
  template <bool kUnit>
  void contract(const Lanes<R> (&dot)[kCount], Lanes<R> (&grad)[D]) const {
    each(i) {
      R value[kCount], along[D][kCount];  // sums so far: of values, and of slopes along an axis
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) value[t] = dot[t][i];
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        for (int j = 0; j < power(K, D - 1 - a); ++j) {
          R sum = 0, change = 0, other[D] = {};
          STN_UNROLL
          for (int k = 0; k < K; ++k) {
            const R weight = axis[a].weight[k][i], of = value[j * K + k];
            sum += weight * of;
            change += kUnit ? (k ? of : -of) : axis[a].slope[k][i] * of;
            for (int b = 0; b < a; ++b) other[b] += weight * along[b][j * K + k];
          }
          value[j] = sum;
          along[a][j] = change;
          for (int b = 0; b < a; ++b) along[b][j] = other[b];
        }
      }
      STN_UNROLL
      for (int a = 0; a < D; ++a) grad[a][i] = along[a][0];
    }
  }

  static constexpr int part(int tap, int a) { return tap / power(K, a) % K; }

  // Whether all taps are pixels, and the points are not moved: at 0 some paddings have slope 0.
  static bool everywhere_inside(const Call& call, const Lanes<R> (&x)[D]) {
    const bool open = call.padding == kBorder || call.padding == kReflection;
    const R low = K == 4 ? 1 : K == 2 && open ? R(1e-30) : 0;
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
      origin[a] = Index(job.origin[a]);
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
        const Index first = Index(base) + Axis<R, K>::kFirst;
        at += (kMargins ? first - origin[a] : first) * step[a];
        if (kSlopes) axis[a].first[i] = first;
        STN_UNROLL
        for (int k = 0; k < K && kSlopes; ++k) {
          axis[a].weight[k][i] = weight_of<K>(d, k);
          if (K != 2) axis[a].slope[k][i] = slope_of<K>(d, k, R(1));
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
      for (int a = 0; a < D; ++a) live &= -Index(finite(pixel[a][i]));
      alive[i] = live;
    }
    for (int a = 0; a < D; ++a)
      axis[a].template set<kSlopes>(call, call.source[a], pixel[a], alive);
    if (call.padding == kRenormalise) renormalise();
    each(i) {
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) {
        R product = 1;
        Index at = 0, in = -1;
        for (int a = 0; a < D; ++a) {
          product *= axis[a].weight[part(t, a)][i];
          at += axis[a].pixel[part(t, a)][i] * stride[a];
          in &= axis[a].inside[part(t, a)][i];
        }
        weight[t][i] = product;
        index[t][i] = at;
        inside[t][i] = in;
      }
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
          if (kSlopes) axis[a].slope[k][i] = live ? slope_of<2>(d, k, R(1)) : 0;
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
