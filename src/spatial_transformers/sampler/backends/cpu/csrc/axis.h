// The taps along one axis of `nearest` and `bilinear`: k(x − m), its slope, and what is read.
#pragma once
#include "lanes.h"
#include "padding.h"

namespace STN_ISA {
namespace {

// The weight of tap k at a distance d of the coordinate from its base, and its slope.
template <int K, class R>
inline R weight_of(R d, int k) {
  if (K == 1) return 1;
  const R rest = d - R(k);
  return k ? 1 + rest : 1 - rest;
}

template <int K, class R>
inline R slope_of(int k, R moved) {
  if (K == 1) return 0;
  return k ? moved : -moved;
}

template <class R, int K>
struct Axis {
  Lanes<R> weight[K], slope[K];  // slope: of the weight, to the coordinate; unset if it is ±1
  Lanes<Index> pixel[K], inside[K];               // inside: -1 or 0, not for whole tiles
  Lanes<Index> first;  // pixel of the first tap, which may be one before the image's

  // For coordinates anywhere, in points that are `alive`.
  template <bool kSlopes>
  STN_SHARED void set(const Call& call, int64_t length, const Lanes<R>& given, const Lanes<Index>& alive) {
    Lanes<R> x, moved;
    each(i) x[i] = alive[i] ? given[i] : 0;
    if (fills(call.padding)) return set_taps<kSlopes, true>(length, x, moved, alive);
    each(i) moved[i] = 1;
    move_inside(call, length, x, &moved);
    set_taps<kSlopes, false>(length, x, moved, alive);
    if (call.padding == kWrap) read_moved(call, length, x);
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
        const R read = base + R(k), clipped = read > last ? last : read > 0 ? read : 0;
        weight[k][i] = weight_of<K>(d, k);
        if (kSlopes) {
          const R change = slope_of<K>(k, kFilling ? R(1) : moved[i]);
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
      each(i) read[i] = (K % 2 ? even(x[i]) : floor_of(x[i])) + R(k);
      move_inside<R>(call, length, read, nullptr);
      each(i) {
        const Index place = Index(read[i] > 0 ? read[i] < R(length) ? read[i] : 0 : 0);
        pixel[k][i] = place < Index(length) ? place : Index(length - 1);
      }
    }
  }
};

}  // namespace
}  // namespace STN_ISA
