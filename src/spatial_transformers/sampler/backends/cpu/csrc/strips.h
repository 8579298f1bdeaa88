// What a tile adds to in the backward pass: a strip of the image's gradient, and sums.
#pragma once
#include "job.h"
#include "lanes.h"
#include "taps.h"

namespace STN_ISA {
namespace {

// Where a pass adds to the image's gradient: rows of the slowest axis, which no other task adds to.
template <class R>
struct Strip {
  R* grad;     // of one image of the source; null: this pass adds nothing
  Range rows;  // the strip's own
  bool part;   // whether a tile may reach beyond the strip
};

// What a pass sums for the coordinates and the fill.
template <class R>
struct Sums {
  bool wanted;
  R* matrix;     // (rows, columns) lanes
  double* fill;  // per channel, or null
};

// Where and with what weight taps are added: taps that are not the strip's add 0 to its beginning.
template <class R, int kCount>
struct Places {
  Lanes<Index> index[kCount];
  Lanes<R> weight[kCount];

  template <class T, int K>
  STN_SHARED Places(const Call& call, const T& taps, const Axis<R, K>& slowest,
                    const Strip<R>& strip) {
    const Index low = Index(strip.rows.low), high = Index(strip.rows.high);
    int64_t first = call.image.pixel * low;
    for (int a = 0; a + 1 < call.ndim; ++a) first *= call.source[a];
    for (int t = 0; t < kCount; ++t) {
      const int k = t / (kCount / K);
      Lanes<Index> own;
      each(i) own[i] = -1;
      if (taps.whole) {
        each(i) index[t][i] = taps.start[i] + taps.shift[t];
      } else {
        each(i) index[t][i] = taps.index[t][i];
        each(i) own[i] = taps.inside[t][i];
      }
      if (strip.part) each(i) {
        const Index row = taps.whole ? slowest.first[i] + k : slowest.pixel[k][i];
        own[i] &= -Index(row >= low && row < high);
        index[t][i] = own[i] ? index[t][i] : Index(first);
      }
      each(i) weight[t][i] = own[i] ? taps.weight[t][i] : 0;
    }
  }

  STN_SHARED void add(const Lanes<R>& g, int64_t count, R* grad) const {
    Lanes<R> product[kCount];
    for (int t = 0; t < kCount; ++t) each(i) product[t][i] = weight[t][i] * g[i];
    for (int64_t i = 0; i < count; ++i) {
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) grad[index[t][i]] += product[t][i];
    }
  }
};

// The weight of a point that reads the fill.
template <class R, class T>
STN_SHARED void uncovered(const T& taps, Lanes<R>& weight) {
  each(i) weight[i] = 0;
  for (int t = 0; t < T::kCount; ++t)
    if (!taps.whole) each(i) weight[i] += taps.inside[t][i] ? 0 : taps.weight[t][i];
}

}  // namespace
}  // namespace STN_ISA
