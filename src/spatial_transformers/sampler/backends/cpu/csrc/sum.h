// Eq. 3 for a tile: the weighted sum over taps, a channel after the other or side by side.
#pragma once
#include "job.h"
#include "lanes.h"
#include "read.h"
#include "vectors.h"

namespace STN_ISA {
namespace {

// The sum of a point's channel once more, without the taps that have no weight: these may read what is
// not finite.
template <class S, class T>
STN_SHARED Work<S> weighted_sum(const T& taps, int64_t i, const S* from, Work<S> fill) {
  Work<S> total = 0;
  for (int t = 0; t < T::kCount; ++t) {
    const bool read = taps.whole || taps.inside[t][i];
    if (taps.weight[t][i] != 0)
      total += taps.weight[t][i] * (read ? widen(from[taps.at(t, i)]) : fill);
  }
  return total;
}

template <class S, class T>
STN_SHARED void sum_again(const T& taps, const S* from, Work<S> fill, Tile tile, Lanes<Work<S>>& total) {
  for (int64_t i = 0; i < tile.count; ++i) total[i] = weighted_sum(taps, i, from, fill);
}

template <class S, int K, class T>
STN_SHARED void sum_plane(const Call& call, const T& taps, const char* from, Work<S> fill, Tile tile,
                          char* out) {
  using R = Work<S>;
  Lanes<R> total;
  each(i) total[i] = 0;
  read<K>(typed<S>(from), taps, fill, call.image.pixel == 1,
          [&](int t, int i, R value) { total[i] += taps.weight[t][i] * value; });
  if (store(total, tile.count, call.output.pixel, typed<S>(out))) return;
  sum_again(taps, typed<S>(from), fill, tile, total);
  store(total, tile.count, call.output.pixel, typed<S>(out));
}

template <class R, int K, class T>
void sum_planes(const Call& call, const T& taps, int64_t n, Tile tile) {
  as_stored<R>(call, [&](auto zero) {
    for (int64_t c = 0; c < call.channels; ++c)
      sum_plane<decltype(zero), K>(call, taps, image_address(call, n, c), fill_of<R>(call, c), tile,
                                   output_address(call, n, c, tile));
  });
}

// W channels at a time.
template <class S, int W, bool kWhole, class T>
STN_SHARED void sum_points(const Call& call, const T& taps, int64_t n, Tile tile) {
  using R = Work<S>;
  const S* from = typed<S>(image_address(call, n, 0));
  Values<S, T, kWhole> values(taps, from, static_cast<const S*>(call.fill_data));
  S* out = typed<S>(output_address(call, n, 0, tile));
  const int64_t channels = W == 4 ? 4 : call.channels, blocks = channels / W * W;
  const int64_t step = call.output.pixel;
  for (int64_t i = 0; i < tile.count; ++i, out += step) {
    values.find(i);
    for (int64_t c = 0; c < blocks; c += W) {
      Block<R, W> total = {}, read;
      STN_UNROLL
      for (int t = 0; t < T::kCount; ++t) {
        if (!values.has(t)) continue;
        load_block(values.at(t) + c, read);
        total += taps.weight[t][i] * read;
      }
      store_block(total, out + c);
    }
    for (int64_t c = blocks; c < channels; ++c) {
      R total = 0;
      for (int t = 0; t < T::kCount; ++t)
        if (values.has(t)) total += taps.weight[t][i] * widen(values.at(t)[c]);
      narrow(total, out[c]);
    }
  }
  if (!taps.weightless(call.fill_data)) return;
  out -= tile.count * step;
  Index all = -1;
  for (int64_t i = 0; i < tile.count; ++i)
    for (int64_t c = 0; c < channels; ++c) all &= -Index(finite(widen(out[i * step + c])));
  if (all == -1) return;
  const S* fills = static_cast<const S*>(call.fill_data);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t i = 0; i < tile.count; ++i)
      narrow(weighted_sum(taps, i, from + c, fills ? R(widen(fills[c])) : R(0)), out[i * step + c]);
}

template <class S, int K, class T>
void sum_side_by_side(const Job& job, const T& taps, int64_t n, Tile tile) {
  constexpr int kWide = kBlock<Work<S>>;
  const Call& call = job.call;
  if constexpr (has_four<S, K, T::kCount>)
    if (job.width == 4)
      return taps.whole ? sum_points<S, 4, true>(call, taps, n, tile)
                        : sum_points<S, 4, false>(call, taps, n, tile);
  if constexpr (has_whole<S, K>)
    if (taps.whole) return sum_points<S, kWide, true>(call, taps, n, tile);
  sum_points<S, kWide, false>(call, taps, n, tile);
}

template <class R, int K, class T>
void sum_tile(const Job& job, const T& taps, int64_t n, Tile tile) {
  if (job.width == 1) return sum_planes<R, K>(job.call, taps, n, tile);
  as_stored<R>(job.call, [&](auto zero) {
    sum_side_by_side<decltype(zero), K>(job, taps, n, tile);
  });
}

}  // namespace
}  // namespace STN_ISA
