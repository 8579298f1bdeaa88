// The forward pass of one instruction set, for images that are computed with as STN_REAL. STN_ISA
// names the set, STN_INDEX is the type of an offset in a plane.
#include <new>

#include "blocks.h"
#include "coordinates.h"
#include "job.h"
#include "read.h"
#include "sum.h"
#include "taps.h"
#include "windows.h"

namespace STN_ISA {
namespace {

// Two tiles at a time: while one is read, the memory of the next is on its way.
template <class R, int D, int K>
void forward_group(const Job& job, int64_t n, int64_t group) {
  using T = Taps<R, D, K, false>;
  const Frame<R> frame = frame_of<R>(job, n);
  const int64_t end = job.last_tile(group);
  alignas(T) unsigned char room[2][sizeof(T)];
  const T* ready = nullptr;
  for (int64_t t = group * kGroup; t <= end; ++t) {
    const T* next = nullptr;
    if (t < end) {
      const Coordinates<R, D> coordinates(job, n, frame, job.tile(t));
      next = new (room[t % 2]) T(job, coordinates.pixel);
      if (!job.near) fetch(job, *next, n, job.tile(t));
    }
    if (ready) sum_tile<R, K>(job, *ready, n, job.tile(t - 1));
    ready = next;
  }
}

template <class R, int W>
void forward_windows(const Job& job, int64_t begin, int64_t end) {
  Window<R, W> part(job);
  for (int64_t task = begin; part.ready() && task < end; ++task) {
    const int64_t place = task / job.blocks;
    part.forward(place / job.windows.count, place % job.windows.count, task % job.blocks * W);
  }
}

template <class R, int D, int K>
void forward_blocks(const Job& job, int64_t begin, int64_t end) {
  Part<R, kBlock<R>> part(job, false);
  for (int64_t task = begin; part.ready() && task < end; ++task) {
    const int64_t n = task / job.blocks;
    part.take(n, task % job.blocks);
    part.read_image();
    const Frame<R> frame = frame_of<R>(job, n);
    for (int64_t t = 0; t < job.tiles; ++t) {
      const Tile tile = job.tile(t);
      const Coordinates<R, D> coordinates(part.job, n, frame, tile);
      const Taps<R, D, K, false> taps(part.job, coordinates.pixel);
      sum_tile<R, K>(part.job, taps, n, {0, tile.count});
      part.write_sums(tile);
    }
  }
}

// A task is a group of an image's tiles, a block of its channels, or a block of a window's.
template <class R, int D, int K>
void forward(const Job& job, int64_t begin, int64_t end) {
  if (job.path == Path::kBlocks) return forward_blocks<R, D, K>(job, begin, end);
  if constexpr (D == 2 && K == 2)
    if (job.path == Path::kWindows)
      switch (job.block) {
        case 1: return forward_windows<R, 1>(job, begin, end);
        case 4: return forward_windows<R, 4>(job, begin, end);
        default: return forward_windows<R, kBlock<R>>(job, begin, end);
      }
  for (int64_t task = begin; task < end; ++task)
    forward_group<R, D, K>(job, task / job.groups, task % job.groups);
}

template <class R, int D>
Run by_taps(const Call& call) {
  return call.taps == 1 ? forward<R, D, 1> : forward<R, D, 2>;
}

}  // namespace

Run forward_of(const Call& call, STN_REAL) {
  return call.ndim == 2 ? by_taps<STN_REAL, 2>(call) : by_taps<STN_REAL, 3>(call);
}

}  // namespace STN_ISA
