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
      const S* from = plane<S>(call.image_data, call.image, call.image_batch > 1 ? n : 0, c);
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

// All channels of one point: Σ gradient × value per tap, by fours, and weight × gradient added.
template <bool kRead, class S, class R, int kCount>
inline void one_point(int64_t count, const S* given, const S* const (&value)[kCount],
                      const R (&weight)[kCount], R* const (&grad)[kCount], Quad<R> (&dot)[kCount]) {
  const int64_t blocks = count / kBlock<R> * kBlock<R>;
  Block<R> total[kCount] = {}, g, v;
  for (int64_t c = 0; c < blocks; c += kBlock<R>) {
    load_block(given + c, g);
    STN_UNROLL
    for (int t = 0; t < kCount; ++t) {
      if (kRead && value[t]) {
        load_block(value[t] + c, v);
        total[t] += g * v;
      }
      if (!grad[t]) continue;
      load_block(grad[t] + c, v);
      v += weight[t] * g;
      store_block(v, grad[t] + c);
    }
  }
  STN_UNROLL
  for (int t = 0; t < kCount; ++t) {
    dot[t] = fold(total[t]);
    for (int64_t c = blocks; c < count; ++c) {
      const R gradient = widen(given[c]);
      if (kRead && value[t]) dot[t][0] += gradient * widen(value[t][c]);
      if (grad[t]) grad[t][c] += weight[t] * gradient;
    }
  }
}

// All channels of a tile, a point after the other.
template <class S, int K, class R, class T>
void points(const Job& job, const T& taps, int64_t n, Tile tile, const Strip<R>& strip,
            const Sums<R>& sums, Lanes<R> (&dot)[T::kCount]) {
  constexpr int kCount = T::kCount;
  const Call& call = job.call;
  const S* from = plane<S>(call.image_data, call.image, call.image_batch > 1 ? n : 0, 0);
  const S* fill = static_cast<const S*>(call.fill_data);
  const S* given = plane<S>(call.grad_data, call.output, n, 0) + tile.start * call.output.pixel;
  const Places<R, kCount> places(call, taps, taps.axis[call.ndim - 1], strip);
  Lanes<R> outer;
  if (sums.fill) uncovered(taps, outer);
  alignas(64) Quad<R> quads[kTile][kCount];
  for (int64_t i = 0; i < tile.count; ++i, given += call.output.pixel) {
    const S* value[kCount];
    R weight[kCount], *grad[kCount];
    find_values(taps, i, from, fill, value);
    STN_UNROLL
    for (int t = 0; t < kCount; ++t) {
      weight[t] = places.weight[t][i];
      grad[t] = strip.grad && weight[t] != 0 ? strip.grad + places.index[t][i] : nullptr;
    }
    if (sums.wanted)
      one_point<true>(call.channels, given, value, weight, grad, quads[i]);
    else
      one_point<false>(call.channels, given, value, weight, grad, quads[i]);
    for (int64_t c = 0; sums.fill && c < call.channels; ++c)
      sums.fill[c] += outer[i] * widen(given[c]);
  }
  for (int64_t i = 0; i < tile.count && sums.wanted; ++i)
    for (int t = 0; t < kCount; ++t) {
      const Quad<R> q = quads[i][t];
      dot[t][i] = (q[0] + q[1]) + (q[2] + q[3]);
    }
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
    points<S, K>(job, taps, n, tile, strip, sums, dot);
  } else if (cells) {
    if constexpr (K == 2) {
      cells->find(taps);
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
