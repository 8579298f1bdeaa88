// The passes over tiles that make up the backward pass, and what each task of them owns.
//
// A task adds to its own strip of rows of the image's gradient only, tiles in their order, so that
// sums do not depend on threads.
#pragma once
#include "blocks.h"
#include "cells.h"
#include "coordinates.h"
#include "job.h"
#include "lanes.h"
#include "margins.h"
#include "planes.h"
#include "scratch.h"
#include "strips.h"
#include "taps.h"

namespace STN_ISA {
namespace {

// Runs tiles of one image, as far as they reach into the strip. What is `wanted` for the
// coordinates is added at `place`, and for the fill to `fill_sums`, by the strip in which a tile
// begins.
template <class R, int D, int K>
STN_SHARED void run_tiles(const Job& job, int64_t n, Range tiles, bool wanted, int64_t place,
                          double* fill_sums, Strip<R> strip, Cells<R, D>* cells) {
  const Call& call = job.call;
  const int64_t entries = call.form == kPoints ? 0 : job.rows() * call.columns;
  double* matrix = job.matrix_sums && wanted ? job.matrix_sums + place * entries : nullptr;
  R* lanes = static_cast<R*>(__builtin_alloca(sizeof(R) * (entries * kLanes + 1)));
  for (int64_t k = 0; k < entries * kLanes; ++k) lanes[k] = 0;
  const Sums<R> none{false, nullptr, nullptr};
  const Sums<R> sums{wanted && (call.grad_coordinates || call.grad_fill), lanes, fill_sums};
  const Frame<R> frame = frame_of<R>(job, n);
  int64_t run = 0;
  for (int64_t t = tiles.low; t < tiles.high; ++t) {
    bool own = true;
    if (strip.grad && job.strips > 1) {
      const Range range = job.ranges[n * job.tiles + t];
      const int64_t last = call.source[D - 1] - 1, low = range.low < last ? range.low : last;
      own = low >= strip.rows.low && low < strip.rows.high;
      const bool reaches = range.high > strip.rows.low && range.low < strip.rows.high;
      if (!reaches && !(own && sums.wanted)) continue;
      strip.part = range.low < strip.rows.low || range.high > strip.rows.high;
    }
    one_tile<R, D, K>(job, n, frame, t, strip, own ? sums : none, cells);
    if (++run % kGroup == 0) add_lanes(lanes, entries, matrix);
  }
  add_lanes(lanes, entries, matrix);
}

template <class R, int D, int K>
void gather(const Job& job, int64_t begin, int64_t end) {
  const Strip<R> none{nullptr, {0, 0}, false};
  const int64_t step = job.summed == Summed::kByOwner ? job.groups : job.groups * job.call.batch;
  for (int64_t task = begin; task < end; ++task) {
    for (int64_t place = task; place < job.groups * job.call.batch; place += step) {
      const int64_t n = place / job.groups, group = place % job.groups;
      double* fill = job.fill_sums ? job.fill_sums + place * job.call.channels : nullptr;
      const Range tiles{group * kGroup, job.last_tile(group)};
      run_tiles<R, D, K>(job, n, tiles, true, place, fill, none, nullptr);
    }
  }
}

template <class R, int D, int K>
void find_ranges(const Job& job, int64_t begin, int64_t end) {
  for (int64_t task = begin; task < end; ++task) {
    const int64_t n = task / job.groups, group = task % job.groups;
    const Frame<R> frame = frame_of<R>(job, n);
    for (int64_t t = group * kGroup; t < job.last_tile(group); ++t) {
      const Coordinates<R, D> coordinates(job, n, frame, job.tile(t));
      const Taps<R, D, K, true> taps(job, coordinates.pixel);
      Index low = Index(job.call.source[D - 1]), high = -1;
      for (int k = 0; k < K; ++k) each(i) {
        const auto& slowest = taps.axis[D - 1];
        const Index row = taps.whole ? slowest.first[i] + k : slowest.pixel[k][i];
        low = row < low ? row : low;
        high = row > high ? row : high;
      }
      job.ranges[n * job.tiles + t] = {low, high + 1};
    }
  }
}

// Blocks of channels of one image each, transposed, with the sums for the coordinates.
template <class R, int D, int K, int W>
void scatter_blocks(const Job& job, int64_t begin, int64_t end) {
  Part<R, W> part(job, true);
  const Scratch<R> summed(job, job.pixels * W);
  if (!part.ready() || !summed.aligned()) return;
  if (!job.both()) {  // another pass sums for the coordinates and the fill
    part.job.call.grad_coordinates = part.job.call.grad_fill = nullptr;
    part.job.matrix_sums = nullptr;
  }
  const Strip<R> strip{summed.aligned(), {0, job.call.source[D - 1]}, false};
  for (int64_t task = begin; task < end; ++task) {
    const int64_t n = task / job.blocks;
    part.take(n, task % job.blocks);
    if (job.both()) part.read_image();
    part.read_gradient();
    __builtin_memset(summed.aligned(), 0, job.pixels * W * sizeof(R));
    double fill[W] = {};
    const bool fills = part.job.call.grad_fill;
    run_tiles<R, D, K>(part.job, n, {0, job.tiles}, job.both(), task, fills ? fill : nullptr, strip,
                       nullptr);
    for (int64_t c = 0; fills && c < part.channels; ++c)
      job.fill_sums[task * job.call.channels + part.first + c] = fill[c];
    part.write_gradient(summed.aligned());
  }
}

// The tiles of the elements of the batch that image b serves.
template <class R, int D, int K>
void scatter_tiles(const Job& job, int64_t b, const Strip<R>& strip, Cells<R, D>* cells) {
  const Call& call = job.call;
  for (int64_t n = b * served(call); n < (b + 1) * served(call); ++n) {
    const int64_t place = n * job.strips + strip.rows.low / job.strip_rows;
    double* fill = job.both() && job.fill_sums ? job.fill_sums + place * call.channels : nullptr;
    run_tiles<R, D, K>(job, n, {0, job.tiles}, job.both(), place, fill, strip, cells);
  }
}

template <class R, int D, int K>
void scatter_cells(const Job& job, int64_t b, const Strip<R>& strip, Margins& margins) {
  Cells<R, D> cells(job, strip.rows);
  for (int64_t first = 0; cells.ready() && first < job.call.channels; first += kChunk) {
    Job part = job;
    part.call = channels_of(job.call, first, kChunk);
    if (job.path == Path::kMargins) {
      if (!margins.ready()) return;
      margins.take(job, b, part);
    }
    cells.clear(part.call.channels);
    scatter_tiles<R, D, K>(part, b, strip, &cells);
    for (int64_t c = 0; c < part.call.channels; ++c)
      cells.collect(job.call, c, strip.grad + (first + c) * job.call.image.channel);
  }
}

// Sets a strip of every channel to 0.
template <class R>
void clear(const Job& job, const Strip<R>& strip) {
  const Call& call = job.call;
  const int64_t row = job.pixels / call.source[call.ndim - 1] * call.image.pixel;
  const int64_t planes = call.image.pixel == 1 ? call.channels : 1;
  for (int64_t c = 0; c < planes; ++c)
    __builtin_memset(strip.grad + c * call.image.channel + strip.rows.low * row, 0,
                     (strip.rows.high - strip.rows.low) * row * sizeof(R));
}

template <class R, int D, int K>
void scatter(const Job& job, int64_t begin, int64_t end) {
  if constexpr (D == 2 && K == 2)
    if (job.path == Path::kBlocks && job.block == 4)
      return scatter_blocks<R, D, K, 4>(job, begin, end);
  if (job.path == Path::kBlocks) return scatter_blocks<R, D, K, kBlock<R>>(job, begin, end);
  const bool in_cells = job.path == Path::kCells || job.path == Path::kMargins;
  Margins margins(job);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t b = task / job.strips, rows = job.call.source[D - 1];
    const int64_t low = task % job.strips * job.strip_rows, high = low + job.strip_rows;
    const Strip<R> strip{static_cast<R*>(job.call.grad_image) + b * job.call.image.batch,
                         {low, high < rows ? high : rows},
                         job.strips > 1};
    if (in_cells) {
      if constexpr (K == 2) scatter_cells<R, D, K>(job, b, strip, margins);
    } else {
      clear(job, strip);
      scatter_tiles<R, D, K>(job, b, strip, nullptr);
    }
  }
}

}  // namespace
}  // namespace STN_ISA
