// The passes over tiles that make up the backward pass, and what each task of them owns.
//
// A task adds to its own strip of rows of the image's gradient only, tiles in their order, so that
// sums do not depend on threads.
#include "backward.h"

namespace STN_ISA {
namespace {

// Runs a group of tiles of one image, and keeps its sums for coordinates and fill at `place`.
template <class S, int D, int K>
void one_group(const Job& job, int64_t n, int64_t group, int64_t place, double* fill_sums,
               const Strip<Work<S>>& strip, Cells<Work<S>, D>* cells) {
  using R = Work<S>;
  const Call& call = job.call;
  const int64_t entries = call.form == kPoints ? 0 : job.rows() * call.columns;
  R* lanes = static_cast<R*>(__builtin_alloca(sizeof(R) * (entries * kLanes + 1)));
  for (int64_t k = 0; k < entries * kLanes; ++k) lanes[k] = 0;
  const Sums<R> sums{call.grad_coordinates || call.grad_fill, lanes, fill_sums};
  const Frame<R> frame = frame_of<R>(job, n);
  for (int64_t t = group * kGroup; t < job.last_tile(group); ++t)
    one_tile<S, D, K>(job, n, frame, t, strip, sums, cells);
  for (int64_t e = 0; e < entries && job.matrix_sums; ++e) {
    double sum = 0;
    for (int k = 0; k < kLanes; ++k) sum += lanes[e * kLanes + k];
    job.matrix_sums[place * entries + e] = sum;
  }
}

template <class S, int D, int K>
void gather(const Job& job, int64_t begin, int64_t end) {
  const Strip<Work<S>> none{nullptr, {0, 0}, false};
  const int64_t step = job.owners ? job.groups : job.groups * job.call.batch;
  for (int64_t task = begin; task < end; ++task) {
    for (int64_t place = task; place < job.groups * job.call.batch; place += step) {
      double* fill = job.fill_sums ? job.fill_sums + place * job.call.channels : nullptr;
      one_group<S, D, K>(job, place / job.groups, place % job.groups, place, fill, none, nullptr);
    }
  }
}

template <class S, int D, int K>
void find_ranges(const Job& job, int64_t begin, int64_t end) {
  using R = Work<S>;
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

// A block of channels of one image, transposed, with the sums for the coordinates.
template <class S, int D, int K>
void scatter_block(const Job& job, int64_t n, int64_t block) {
  using R = Work<S>;
  Part<S> part(job, n, block, job.both);
  const int64_t values = job.pixels * part.kWidth;
  const Scratch<R> summed(job, values + 4 * part.kWidth);
  if (!part.ready || !summed.aligned()) return;
  part.read_gradient();
  __builtin_memset(summed.aligned(), 0, values * sizeof(R));
  if (!job.both) {  // another pass sums for the coordinates and the fill
    part.job.call.grad_coordinates = part.job.call.grad_fill = nullptr;
    part.job.matrix_sums = nullptr;
  }
  const Strip<R> strip{summed.aligned(), {0, job.call.source[D - 1]}, false};
  double fill[part.kWidth] = {};
  for (int64_t group = 0; group < job.groups; ++group)
    one_group<R, D, K>(part.job, n, group, (n * job.groups + group) * job.blocks + block,
                       part.job.call.grad_fill ? fill : nullptr, strip, nullptr);
  for (int64_t c = 0; part.job.call.grad_fill && c < part.channels(); ++c)
    job.fill_sums[n * job.groups * job.call.channels + part.first() + c] = fill[c];
  part.write_gradient(summed.aligned());
}

// The tiles of the images that one image of the source serves, as far as they reach into a strip.
template <class S, int D, int K>
void scatter_tiles(const Job& job, int64_t b, Strip<Work<S>> strip, Cells<Work<S>, D>* cells) {
  using R = Work<S>;
  const Call& call = job.call;
  const Sums<R> none{false, nullptr, nullptr};
  const bool own = call.image_batch > 1;
  for (int64_t n = own ? b : 0; n < (own ? b + 1 : call.batch); ++n) {
    if (job.both) {
      for (int64_t g = 0; g < job.groups; ++g) {
        const int64_t place = n * job.groups + g;
        double* fill = job.fill_sums ? job.fill_sums + place * call.channels : nullptr;
        one_group<S, D, K>(job, n, g, place, fill, strip, cells);
      }
      continue;
    }
    const Frame<R> frame = frame_of<R>(job, n);
    for (int64_t t = 0; t < job.tiles; ++t) {
      if (job.strips > 1) {
        const Range range = job.ranges[n * job.tiles + t];
        if (range.high <= strip.rows.low || range.low >= strip.rows.high) continue;
        strip.part = range.low < strip.rows.low || range.high > strip.rows.high;
      }
      one_tile<S, D, K>(job, n, frame, t, strip, none, cells);
    }
  }
}

// The channels from `first` on, a few, of an image of the source.
template <class S>
Job chunk_of(const Job& job, int64_t first) {
  Job part = job;
  Call& call = part.call;
  call.channels = call.channels - first < kChunk ? call.channels - first : kChunk;
  call.image_data = plane<S>(call.image_data, call.image, 0, first);
  call.grad_data = plane<S>(call.grad_data, call.output, 0, first);
  if (call.fill_data) call.fill_data = static_cast<const S*>(call.fill_data) + first;
  return part;
}

template <class S, int D, int K>
void scatter_cells(const Job& job, int64_t b, const Strip<Work<S>>& strip, Margins<S>& margins) {
  Cells<Work<S>, D> cells(job, strip.rows);
  for (int64_t first = 0; cells.ready() && first < job.call.channels; first += kChunk) {
    Job part = chunk_of<S>(job, first);
    if (job.margins && !margins.ready()) return;
    if (job.margins) margins.take(job, b, part);
    cells.clear(part.call.channels);
    scatter_tiles<S, D, K>(part, b, strip, &cells);
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

template <class S, int D, int K>
void scatter(const Job& job, int64_t begin, int64_t end) {
  using R = Work<S>;
  Margins<S> margins(job);
  for (int64_t task = begin; task < end; ++task) {
    if (job.blocks) {
      scatter_block<S, D, K>(job, task / job.blocks, task % job.blocks);
      continue;
    }
    const int64_t b = task / job.strips, rows = job.call.source[D - 1];
    const int64_t low = task % job.strips * job.strip_rows, high = low + job.strip_rows;
    const Strip<R> strip{static_cast<R*>(job.call.grad_image) + b * job.call.image.batch,
                         {low, high < rows ? high : rows},
                         job.strips > 1};
    if (job.cells) {
      scatter_cells<S, D, K>(job, b, strip, margins);
    } else {
      clear(job, strip);
      scatter_tiles<S, D, K>(job, b, strip, nullptr);
    }
  }
}

}  // namespace
}  // namespace STN_ISA
