// Eqs. 6 and 7 for a tile: the gradients to the coordinates, read, and to the image, added.
#include "cells.h"

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
  Places(const Call& call, const T& taps, const Axis<R, K>& slowest, const Strip<R>& strip) {
    const Index low = Index(strip.rows.low), high = Index(strip.rows.high);
    int64_t first = call.image.pixel * low;
    for (int a = 0; a + 1 < call.ndim; ++a) first *= call.source[a];
    STN_UNROLL
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

  void add(const Lanes<R>& g, int64_t count, R* grad) const {
    Lanes<R> product[kCount];
    STN_UNROLL
    for (int t = 0; t < kCount; ++t) each(i) product[t][i] = weight[t][i] * g[i];
    for (int64_t i = 0; i < count; ++i) {
      STN_UNROLL
      for (int t = 0; t < kCount; ++t) grad[index[t][i]] += product[t][i];
    }
  }
};

template <class R, class T>
void uncovered(const T& taps, Lanes<R>& weight) {
  each(i) weight[i] = 0;
  STN_UNROLL
  for (int t = 0; t < T::kCount; ++t)
    if (!taps.whole) each(i) weight[i] += taps.inside[t][i] ? 0 : taps.weight[t][i];
}

// Channels [from, to) of a tile, a plane after the other. `add(channel, g)` adds to the image's.
template <class S, int K, class R, class T, class Add>
inline void planes(const Job& job, const T& taps, int64_t n, Tile tile, Range channels,
                   const Sums<R>& sums, Lanes<R> (&dot)[T::kCount], Add add) {
  const Call& call = job.call;
  const S* fill = static_cast<const S*>(call.fill_data);
  Lanes<R> outer, g;
  if (sums.fill) uncovered(taps, outer);
  for (int64_t c = channels.low; c < channels.high; ++c) {
    load(plane<S>(call.grad_data, call.output, n, c) + tile.start * call.output.pixel, tile.count,
         call.output.pixel, g);
    if (sums.wanted) {
      const S* from = read_plane<S>(call, n, c);
      read<K>(from, taps, fill ? widen(fill[c]) : R(0), call.image.pixel == 1,
              [&](int t, int i, R value) { dot[t][i] += g[i] * value; });
    }
    if (sums.fill && !taps.whole) {
      R lanes[kLanes] = {};
      add_products(g, outer, lanes);
      for (int k = 0; k < kLanes; ++k) sums.fill[c] += lanes[k];
    }
    add(c, g);
  }
}

// Σ over channels, which are kept by fours per point and tap.
template <class R, int kCount>
void add_fours(const Quad<R> (&fours)[kTile][kCount], Lanes<R> (&dot)[kCount]) {
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
void points(const Job& job, const T& taps, int64_t n, Tile tile, const Strip<R>& strip,
            const Places<R, T::kCount>* places, const Sums<R>& sums, Lanes<R> (&dot)[T::kCount]) {
  constexpr int kCount = T::kCount;
  const Call& call = job.call;
  const S* from = read_plane<S>(call, n, 0);
  Values<S, T, !kPlaces> values(taps, from, static_cast<const S*>(call.fill_data));
  const S* given = plane<S>(call.grad_data, call.output, n, 0) + tile.start * call.output.pixel;
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
                const Sums<R>& sums, Lanes<R> (&dot)[T::kCount]) {
  constexpr int kWide = kBlock<R>;
  const Call& call = job.call;
  constexpr bool kFour = has_four<S, K, T::kCount>;
  if constexpr (K == 2) {
    const Places<R, T::kCount>* none = nullptr;
    if (taps.whole && !strip.part && strip.grad && sums.wanted) {
      if constexpr (kFour)
        if (by_four(call)) return points<S, 4, false>(job, taps, n, tile, strip, none, sums, dot);
      return points<S, kWide, false>(job, taps, n, tile, strip, none, sums, dot);
    }
  }
  const Places<R, T::kCount> places(call, taps, taps.axis[call.ndim - 1], strip);
  if constexpr (kFour)
    if (by_four(call)) return points<S, 4, true>(job, taps, n, tile, strip, &places, sums, dot);
  points<S, kWide, true>(job, taps, n, tile, strip, &places, sums, dot);
}

template <class S, int D, int K>
void one_tile(const Job& job, int64_t n, const Frame<Work<S>>& frame, int64_t t,
              const Strip<Work<S>>& strip, const Sums<Work<S>>& sums, Cells<Work<S>, D>* cells) {
  using R = Work<S>;
  const Call& call = job.call;
  const Tile tile = job.tile(t);
  Coordinates<R, D> coordinates(job, n, frame, tile);
  const Taps<R, D, K, true> taps(job, coordinates.pixel);
  Lanes<R> dot[power(K, D)], grad[D];
  for (auto& tap : dot) each(i) tap[i] = 0;
  const Range all{0, call.channels};
  if (side_by_side(call)) {
    all_points<S, K>(job, taps, n, tile, strip, sums, dot);
  } else if (cells) {
    if constexpr (K == 2) {
      const bool asks = !job.near && call.channels > 1;  // while the first channel is read
      if (asks && sums.wanted) fetch<S>(call, taps, n, tile);
      cells->find(taps);
      for (int64_t c = 0; asks && c < call.channels; ++c) cells->fetch(c);
      planes<S, K>(job, taps, n, tile, all, sums, dot,
                   [&](int64_t c, const Lanes<R>& g) { cells->add(c, g, tile.count); });
    }
  } else if (strip.grad) {
    const Places<R, power(K, D)> places(call, taps, taps.axis[D - 1], strip);
    planes<S, K>(job, taps, n, tile, all, sums, dot, [&](int64_t c, const Lanes<R>& g) {
      places.add(g, tile.count, strip.grad + c * call.image.channel);
    });
  } else {
    planes<S, K>(job, taps, n, tile, all, sums, dot, [](int64_t, const Lanes<R>&) {});
  }
  if (!sums.wanted || !call.grad_coordinates) return;
  taps.slopes(dot, grad);
  coordinates.transpose(job, n, frame, grad, sums.matrix);
}

}  // namespace
}  // namespace STN_ISA
