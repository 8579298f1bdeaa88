// The weights of kernels of three taps and more: a polynomial per tap, of the place between pixels.
//
// At both ends of its interval a weight is given, so that those that are 0 there are 0 exactly.
#pragma once
#include "padding.h"
#include "rows.h"

namespace STN_ISA {
namespace {

constexpr int kMostTaps = 12, kMostTerms = 30;

template <class R>
constexpr R below_one = R(1) - R(5.9604644775390625e-8);
template <>
constexpr double below_one<double> = 1 - 1.1102230246251565e-16;

// From here on neighbouring numbers are whole, and more than 1 apart.
template <class R>
constexpr R whole_from = R(16777216);
template <>
constexpr double whole_from<double> = 9007199254740992.0;

// A kernel in the numbers that are computed with.
template <class R>
struct Polynomials {
  int64_t taps, degree, first;  // first: of the taps, relative to the base
  R weight[kMostTaps][kMostTerms], slope[kMostTaps][kMostTerms], end[kMostTaps][2];

  explicit Polynomials(const Call& call)
      : taps(call.taps), degree(call.degree), first(-((call.taps - 1) / 2)) {
    const double* from = call.kernel_data;
    for (int64_t k = 0; k < taps; ++k) {
      for (int64_t p = 0; p <= degree; ++p) weight[k][p] = R(*from++);
      for (int64_t p = 0; p <= degree; ++p) slope[k][p] = R(*from++);
      for (int e = 0; e < 2; ++e) end[k][e] = R(*from++);
    }
  }
};

template <class R>
STN_SHARED void evaluate(const R* terms, int64_t degree, const Lanes<R>& x, Lanes<R>& to) {
  constexpr int kSide = 2;  // sums that do not wait for each other
  for (int i = 0; i < kTile; i += 16 * kSide) {
    Row<R, 16> place[kSide], total[kSide];
    STN_UNROLL
    for (int q = 0; q < kSide; ++q) {
      load_row(&x[i + 16 * q], place[q]);
      fill_row(total[q], terms[degree]);
    }
    for (int64_t p = degree - 1; p >= 0; --p) {
      STN_UNROLL
      for (int q = 0; q < kSide; ++q) step(total[q], place[q], terms[p]);
    }
    STN_UNROLL
    for (int q = 0; q < kSide; ++q) store_row(total[q], &to[i + 16 * q]);
  }
}

// The taps along one axis.
template <class R, bool kSlopes>
struct WideAxis {
  Lanes<R> weight[kMostTaps], slope[kSlopes ? kMostTaps : 1];
  Lanes<Index> start;                // of the taps, in the copy
  Lanes<R> total, inside;            // sums of weights: of all, and of those that read a pixel
  Lanes<R> total_slope, inside_slope;

  // For coordinates anywhere, in points that are `alive`.
  STN_SHARED void set(const Call& call, const Polynomials<R>& kernel, int a, const Lanes<R>& x,
                      const Lanes<Index>& alive) {
    const bool odd = kernel.taps % 2;
    const R low = -R(kernel.taps), high = R(call.source[a]);
    const R ahead = R(kernel.first + call.lead[a]);
    Lanes<R> place, first;
    Index all = -1, ends = 0;
    each(i) {
      const R base = odd ? even(x[i]) : floor_of(x[i]), apart = x[i] - base;
      const R t = apart < 1 ? apart : below_one<R>;
      place[i] = odd ? 2 * t : 2 * t - 1;
      first[i] = base + ahead;
      all &= -Index(first[i] >= low) & -Index(first[i] <= high) & alive[i];
      ends |= -Index(place[i] == -1) | -Index(place[i] == 1);
    }
    for (int64_t k = 0; k < kernel.taps; ++k) {
      evaluate(kernel.weight[k], kernel.degree, place, weight[k]);
      if (kSlopes) evaluate(kernel.slope[k], kernel.degree, place, slope[k]);
      const R low_end = kernel.end[k][0], high_end = kernel.end[k][1];
      if (ends) each(i) {
        const R from = place[i] == -1 ? low_end : weight[k][i];
        weight[k][i] = place[i] == 1 ? high_end : from;
      }
    }
    const Index margin = Index(kernel.taps);
    if (all == -1)
      each(i) start[i] = Index(first[i]) + margin;
    else
      each(i) start[i] = settle(call, kernel, a, i, first[i], alive[i]) + margin;
  }

  // Sums the weights of taps that read a pixel of a tile.
  STN_SHARED void cover(int64_t taps, const double* coverage) {
    each(i) {
      R all = 0, in = 0, all_slope = 0, in_slope = 0;
      for (int64_t k = 0; k < taps; ++k) {
        const R covered = R(coverage[start[i] + k]);
        all += weight[k][i];
        in += weight[k][i] * covered;
        if (kSlopes) all_slope += slope[k][i];
        if (kSlopes) in_slope += slope[k][i] * covered;
      }
      total[i] = all;
      inside[i] = in;
      total_slope[i] = all_slope;
      inside_slope[i] = in_slope;
    }
  }

  // Divides the weights of points at the border by the sum of those that read a pixel. This may be
  // a small difference, so that they are evaluated once more, as precisely as can be.
  STN_SHARED void renormalise(const Call& call, const Lanes<R>& x, const Lanes<Index>& alive,
                              const double* coverage) {
    const int64_t taps = call.taps, terms = call.degree + 1;
    each(i) {
      bool whole = true;
      for (int64_t k = 0; k < taps; ++k) whole &= coverage[start[i] + k] == 1;
      inside[i] = 1;
      if (whole || !alive[i]) continue;
      double w[kMostTaps], change[kMostTaps], sum = 0, sum_slope = 0;
      const double place = place_of(taps, x[i]);
      for (int64_t k = 0; k < taps; ++k) {
        const double* row = call.kernel_data + k * (2 * terms + 2);
        const double* ends = row + 2 * terms;
        w[k] = place == -1 ? ends[0] : place == 1 ? ends[1] : at(row, terms, place);
        change[k] = at(row + terms, terms, place);
        sum += w[k] * coverage[start[i] + k];
        sum_slope += change[k] * coverage[start[i] + k];
      }
      inside[i] = R(sum);
      sum = sum == 0 ? 1 : sum;
      for (int64_t k = 0; k < taps; ++k) {
        weight[k][i] = R(w[k] / sum);
        if (kSlopes) slope[k][i] = R((change[k] * sum - w[k] * sum_slope) / (sum * sum));
      }
    }
  }

  void clear(int64_t taps, int i) {
    for (int64_t k = 0; k < taps; ++k) {
      weight[k][i] = 0;
      if (kSlopes) slope[k][i] = 0;
    }
  }

 private:
  static double place_of(int64_t taps, R x) {
    const double apart = double(x) - double(taps % 2 ? even(x) : floor_of(x));
    return taps % 2 ? 2 * apart : 2 * apart - 1;
  }

  static double at(const double* terms, int64_t count, double x) {
    double total = terms[count - 1];
    for (int64_t p = count - 2; p >= 0; --p) total = total * x + terms[p];
    return total;
  }

  // The pixel of the copy at which a point's taps begin, whose first one would be anywhere.
  Index settle(const Call& call, const Polynomials<R>& kernel, int a, int i, R first, Index live) {
    const int64_t taps = kernel.taps;
    const R length = R(call.source[a]), low = -R(taps);
    if (!live) return clear(taps, i), Index(0);
    if (first >= low && first <= length) return Index(first);
    const bool folds = call.padding == kWrap || call.padding == kReflection;
    if (!folds) return Index(first < low ? low : length);
    if (magnitude(first) >= whole_from<R>) lump(taps, i);
    if (call.padding == kWrap) return Index(remainder_of(first, length));
    const R period = call.align_corners ? 2 * (length - 1) : 2 * length;
    if (period == 0) return lump(taps, i), Index(0);
    R at = remainder_of(first, period);
    if (at <= length) return Index(at);
    at -= period;
    if (at >= low) return Index(at);
    mirror(taps, i);  // the axis runs the other way there
    return Index((call.align_corners ? 0 : -1) - (at + R(taps - 1)));
  }

  // All taps read one pixel.
  void lump(int64_t taps, int i) {
    clear(taps, i);
    weight[0][i] = 1;
  }

  void mirror(int64_t taps, int i) {
    for (int64_t k = 0; 2 * k + 1 < taps; ++k) {
      swap(weight[k][i], weight[taps - 1 - k][i]);
      if (kSlopes) swap(slope[k][i], slope[taps - 1 - k][i]);
    }
  }

  static void swap(R& a, R& b) {
    const R other = a;
    a = b;
    b = other;
  }
};

// The taps of a tile along all axes.
template <class R, int D, bool kSlopes>
struct WideTaps {
  WideAxis<R, kSlopes> axis[D];
  // Of x, a point's together; there is another point to read beyond the last.
  alignas(64) R across[kTile + 1][16], across_slope[kSlopes ? kTile + 1 : 1][16];
  Lanes<Index> alive;
  bool fills;  // whether some of the tile's weights are the fill's
  Lanes<R> share, share_slope[D];

  STN_SHARED WideTaps(const Call& call, const Polynomials<R>& kernel, const Lanes<R> (&pixel)[D]) {
    each(i) {
      Index live = -1;
      STN_UNROLL
      for (int a = 0; a < D; ++a) live &= -Index(finite(pixel[a][i]));
      alive[i] = live;
    }
    for (int a = 0; a < D; ++a) axis[a].set(call, kernel, a, pixel[a], alive);
    fills = (call.padding == kConstant || call.padding == kRenormalise) && !inside(call);
    if (fills) cover(call, pixel);
    bring(kernel.taps, axis[0].weight, across);
    if constexpr (kSlopes) bring(kernel.taps, axis[0].slope, across_slope);
  }

 private:
  // Whether all taps are pixels.
  bool inside(const Call& call) const {
    Index all = -Index(call.plain);
    for (int a = 0; a < D; ++a) {
      const Index low = Index(call.taps), high = Index(call.source[a]);
      each(i) all &= -Index(axis[a].start[i] >= low) & -Index(axis[a].start[i] <= high) & alive[i];
    }
    return all == -1;
  }

  void cover(const Call& call, const Lanes<R> (&pixel)[D]) {
    const double* coverage = call.coverage_data;
    const bool divides = call.padding == kRenormalise;
    each(i) share[i] = 1;
    for (int a = 0; a < D; ++a) {
      if (divides)
        axis[a].renormalise(call, pixel[a], alive, coverage);
      else
        axis[a].cover(call.taps, coverage);
      each(i) share[i] *= axis[a].inside[i];
      coverage += call.source[a] + 2 * call.taps;
    }
    if (!divides) return find_share();
    fills = false;
    each(i) if (!(share[i] > R(1e-3))) axis[0].clear(call.taps, i);
  }

  // The fill's share of the weights, where it is more than rounding, and its slopes.
  void find_share() {
    constexpr R rounding = 32 * 2 * (1 - below_one<R>);
    each(i) {
      R all = 1, in = 1;
      STN_UNROLL
      for (int a = 0; a < D; ++a) all *= axis[a].total[i];
      STN_UNROLL
      for (int a = 0; a < D; ++a) in *= axis[a].inside[i];
      const R rest = all - in;
      share[i] = alive[i] ? (magnitude(rest) < rounding ? 0 : rest) : 1;
    }
    if constexpr (kSlopes) for (int a = 0; a < D; ++a) each(i) {
      R all = axis[a].total_slope[i], in = axis[a].inside_slope[i];
      STN_UNROLL
      for (int b = 0; b < D; ++b) {
        all *= b == a ? R(1) : axis[b].total[i];
        in *= b == a ? R(1) : axis[b].inside[i];
      }
      share_slope[a][i] = alive[i] ? all - in : 0;
    }
  }

  static void bring(int64_t taps, const Lanes<R>* weight, R (*to)[16]) {
    for (int64_t k = 0; k < 16; k += 4)
      for (int i = 0; i < kTile; i += 4) {
        Quad<R> row[4] = {};
        STN_UNROLL
        for (int q = 0; q < 4; ++q)
          if (k + q < taps) load_block(&weight[k + q][i], row[q]);
        transpose<R>(row);
        STN_UNROLL
        for (int q = 0; q < 4; ++q) store_block(row[q], to[i + q] + k);
      }
  }
};

}  // namespace
}  // namespace STN_ISA
