// Eqs. 6 and 7 for a tile whose channels lie side by side, a point after the other.
#pragma once
#include "job.h"
#include "lanes.h"
#include "read.h"
#include "strips.h"
#include "vectors.h"

namespace STN_ISA {
namespace {

// Σ over channels, which are kept by fours per point and tap.
template <class R, int kCount>
STN_SHARED void add_fours(const Quad<R> (&fours)[kTile][kCount], Lanes<R> (&dot)[kCount]) {
  for (int i = 0; i < kTile; i += 4) {
    STN_UNROLL
    for (int t = 0; t < kCount; ++t) {
      Quad<R> row[4] = {fours[i][t], fours[i + 1][t], fours[i + 2][t], fours[i + 3][t]};
      transpose<R>(row);
      const Quad<R> sum = (row[0] + row[1]) + (row[2] + row[3]);
      __builtin_memcpy(&dot[t][i], &sum, sizeof sum);
    }
  }
}

// All channels of a tile, a point after the other: Σ gradient × value per tap, and weight ×
// gradient added. Without `places` all taps are pixels, and the strip's, and both are wanted.
template <class S, int W, bool kPlaces, class R, class T>
STN_SHARED void points(const Call& call, const T& taps, int64_t n, Tile tile, const Strip<R>& strip,
                       const Places<R, T::kCount>* places, const Sums<R>& sums,
                       Lanes<R> (&dot)[T::kCount]) {
  constexpr int kCount = T::kCount;
  const S* from = typed<S>(image_address(call, n, 0));
  Values<S, T, !kPlaces> values(taps, from, static_cast<const S*>(call.fill_data));
  const S* given = typed<S>(gradient_address(call, n, 0, tile));
  Lanes<R> outer{};
  if (sums.fill) uncovered(taps, outer);
  alignas(64) Quad<R> fours[kTile][kCount];
  const int64_t channels = W == 4 ? 4 : call.channels, blocks = channels / W * W;
  const int64_t step = call.output.pixel;
  const bool reads = !kPlaces || sums.wanted;
  for (int64_t i = 0; i < tile.count; ++i, given += step) {
    values.find(i);
    R weight[kCount], *grad[kCount];
    STN_UNROLL
    for (int t = 0; t < kCount; ++t) {
      weight[t] = kPlaces ? places->weight[t][i] : taps.weight[t][i];
      grad[t] = strip.grad + (kPlaces ? places->index[t][i] : values.offset(t));
      if (kPlaces && (!strip.grad || weight[t] == 0)) grad[t] = nullptr;
    }
    Block<R, W> total[kCount] = {}, g, v;
    for (int64_t c = 0; c < blocks; c += W) {
      load_block(given + c, g);
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) {
        if (reads && values.has(t)) {
          load_block(values.at(t) + c, v);
          total[t] += g * v;
        }
        if (kPlaces && !grad[t]) continue;
        load_block(grad[t] + c, v);
        v += weight[t] * g;
        store_block(v, grad[t] + c);
      }
    }
    STN_UNROLL
    for (int t = 0; t < kCount; ++t) {
      fours[i][t] = fold(total[t]);
      for (int64_t c = blocks; c < channels; ++c) {
        const R gradient = widen(given[c]);
        if (reads && values.has(t)) fours[i][t][0] += gradient * widen(values.at(t)[c]);
        if (!kPlaces || grad[t]) grad[t][c] += weight[t] * gradient;
      }
    }
    for (int64_t c = 0; sums.fill && c < channels; ++c) sums.fill[c] += outer[i] * widen(given[c]);
  }
  for (int64_t i = tile.count; i < kTile; ++i)
    for (int t = 0; t < kCount; ++t) fours[i][t] = Quad<R>{};
  if (reads) add_fours(fours, dot);
}

// The same, by the code for how many channels there are and what is known of the tile.
template <class S, int K, class R, class T>
void all_points(const Job& job, const T& taps, int64_t n, Tile tile, const Strip<R>& strip,
                const Places<R, T::kCount>* places, const Sums<R>& sums,
                Lanes<R> (&dot)[T::kCount]) {
  constexpr int kWide = kBlock<R>;
  const Call& call = job.call;
  if constexpr (has_four<S, K, T::kCount>) {
    if (job.width == 4 && !places)
      return points<S, 4, false>(call, taps, n, tile, strip, places, sums, dot);
    if (job.width == 4) return points<S, 4, true>(call, taps, n, tile, strip, places, sums, dot);
  }
  if constexpr (has_whole<S, K>)
    if (!places) return points<S, kWide, false>(call, taps, n, tile, strip, places, sums, dot);
  points<S, kWide, true>(call, taps, n, tile, strip, places, sums, dot);
}

template <int K, class R, class T>
STN_SHARED void side_by_side(const Job& job, const T& taps, int64_t n, Tile tile, const Strip<R>& strip,
                  const Sums<R>& sums, Lanes<R> (&dot)[T::kCount]) {
  as_stored<R>(job.call, [&](auto zero) {
    using S = decltype(zero);
    const Places<R, T::kCount>* none = nullptr;
    if constexpr (has_whole<S, K>)
      if (taps.whole && !strip.part && strip.grad && sums.wanted)
        return all_points<S, K>(job, taps, n, tile, strip, none, sums, dot);
    const Places<R, T::kCount> places(job.call, taps, taps.axis[job.call.ndim - 1], strip);
    all_points<S, K>(job, taps, n, tile, strip, &places, sums, dot);
  });
}

}  // namespace
}  // namespace STN_ISA
