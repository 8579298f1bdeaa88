// Eqs. 6 and 7 for a tile: the gradients to the coordinates, read, and to the image, added.
#pragma once
#include "cells.h"
#include "coordinates.h"
#include "job.h"
#include "lanes.h"
#include "points.h"
#include "read.h"
#include "strips.h"
#include "taps.h"

namespace STN_ISA {
namespace {

// The gradient of a tile's output in one channel.
template <class R>
STN_SHARED void load_gradient(const Call& call, int64_t n, int64_t c, Tile tile, Lanes<R>& g) {
  as_stored<R>(call, [&](auto zero) {
    const char* from = gradient_address(call, n, c, tile);
    load(typed<decltype(zero)>(from), tile.count, call.output.pixel, g);
  });
}

// Adds gradient × value to a sum per tap.
template <class S, int K, class R, class T>
STN_SHARED void add_values(const S* from, const T& taps, R fill, bool dense, const Lanes<R>& g,
                           Lanes<R> (&dot)[T::kCount]) {
  read<K>(from, taps, fill, dense, [&](int t, int i, R value) { dot[t][i] += g[i] * value; });
}

// All channels of a tile, a plane after the other. `add(channel, g)` adds to the image's.
template <int K, class R, class T, class Add>
inline void planes(const Call& call, const T& taps, int64_t n, Tile tile, const Sums<R>& sums,
                   Lanes<R> (&dot)[T::kCount], Add add) {
  Lanes<R> outer, g;
  if (sums.fill) uncovered(taps, outer);
  for (int64_t c = 0; c < call.channels; ++c) {
    load_gradient(call, n, c, tile, g);
    if (sums.wanted)
      as_stored<R>(call, [&](auto zero) {
        const auto* from = typed<decltype(zero)>(image_address(call, n, c));
        add_values<decltype(zero), K>(from, taps, fill_of<R>(call, c), call.image.pixel == 1, g,
                                      dot);
      });
    if (sums.fill && !taps.whole) {
      R lanes[kLanes] = {};
      add_products(g, outer, lanes);
      for (int k = 0; k < kLanes; ++k) sums.fill[c] += lanes[k];
    }
    add(c, g);
  }
}

template <class R, int D, int K>
void in_cells(const Job& job, const Taps<R, D, K, true>& taps, int64_t n, Tile tile,
              const Sums<R>& sums, Lanes<R> (&dot)[power(K, D)], Cells<R, D>& cells) {
  const bool asks = !job.near && job.call.channels > 1;  // while the first channel is read
  if (asks && sums.wanted) fetch(job, taps, n, tile);
  cells.find(taps);
  for (int64_t c = 0; asks && c < job.call.channels; ++c) cells.fetch(c);
  planes<K>(job.call, taps, n, tile, sums, dot,
            [&](int64_t c, const Lanes<R>& g) { cells.add(c, g, tile.count); });
}

template <class R, int D, int K>
void one_tile(const Job& job, int64_t n, const Frame<R>& frame, int64_t t, const Strip<R>& strip,
              const Sums<R>& sums, Cells<R, D>* cells) {
  const Call& call = job.call;
  const Tile tile = job.tile(t);
  Coordinates<R, D> coordinates(job, n, frame, tile);
  const Taps<R, D, K, true> taps(job, coordinates.pixel);
  Lanes<R> dot[power(K, D)], grad[D];
  for (auto& tap : dot) each(i) tap[i] = 0;
  if (job.width > 1) {
    side_by_side<K>(job, taps, n, tile, strip, sums, dot);
  } else if (cells) {
    if constexpr (K == 2) in_cells(job, taps, n, tile, sums, dot, *cells);
  } else if (strip.grad) {
    const Places<R, power(K, D)> places(call, taps, taps.axis[D - 1], strip);
    planes<K>(call, taps, n, tile, sums, dot, [&](int64_t c, const Lanes<R>& g) {
      places.add(g, tile.count, strip.grad + c * call.image.channel);
    });
  } else {
    planes<K>(call, taps, n, tile, sums, dot, [](int64_t, const Lanes<R>&) {});
  }
  if (!sums.wanted || !call.grad_coordinates) return;
  taps.slopes(dot, grad);
  coordinates.transpose(job, n, frame, grad, sums.matrix);
}

}  // namespace
}  // namespace STN_ISA
