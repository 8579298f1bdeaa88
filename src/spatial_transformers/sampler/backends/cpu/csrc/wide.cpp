// Kernels of three taps and more, forward and backward, of one instruction set, for images that are
// computed with as STN_REAL. STN_ISA names the set, STN_INDEX is the type of an offset in a plane.
#include "columns.h"
#include "coordinates.h"
#include "job.h"
#include "scratch.h"

namespace STN_ISA {
namespace {

constexpr int64_t kAhead = 16;  // points before one is read, its memory is asked for
constexpr int64_t kAsked = 2;   // for one of so many points

// The sum of a point's channel once more, without the taps that have no weight: these may read what
// is not finite. With slopes the sum of those along an axis, in which such taps count as 0.
template <class R, int D, bool kSlopes>
STN_SHARED R sum_again(int64_t side, const Steps& steps, const WideTaps<R, D, kSlopes>& taps,
                       int64_t i, const R* from, int axis) {
  const int64_t deep = D > 2 ? steps.taps : 1;
  R total = 0;
  for (int64_t z = 0; z < deep; ++z)
    for (int64_t y = 0; y < steps.taps; ++y)
      for (int64_t x = 0; x < steps.taps; ++x) {
        const R value = from[z * steps.plane + y * steps.row + x * side];
        const int64_t tap[3] = {x, y, z};
        R weight = 1, change = 1;
        for (int a = 0; a < D; ++a) {
          weight *= taps.axis[a].weight[tap[a]][i];
          if constexpr (kSlopes)
            change *= a == axis ? taps.axis[a].slope[tap[a]][i] : taps.axis[a].weight[tap[a]][i];
        }
        if (weight != 0 || finite(value)) total += (kSlopes ? change : weight) * value;
      }
  return total;
}

// Sums a block of channels of a tile.
template <class S, class R, int D>
STN_SHARED void sum_points(const WideTaps<R, D, false>& taps, const Source<R>& source,
                           int64_t count, R* sums) {
  const Steps steps = source.steps;
  for (int64_t i = 0; i < count; ++i) {
    if (i % kAsked == 0) source.fetch(taps.axis, i + kAhead);
    sum_point<S>(taps, i, steps, source.at(taps.axis, i), sums + i * S::kSide);
  }
  R odd = 0;
  for (int64_t i = 0; i < count * S::kSide; ++i) odd += sums[i] * 0;
  if (odd == 0) return;
  for (int64_t i = 0; i < count * S::kSide; ++i)
    if (!finite(sums[i])) {
      const int64_t point = i / S::kSide;
      const R* from = source.at(taps.axis, point) + i % S::kSide;
      sums[i] = taps.alive[point] ? sum_again(S::kSide, steps, taps, point, from, 0) : 0;
    }
}

template <class R, int D>
void forward_tile(const Wide& wide, const WideTaps<R, D, false>& taps, int64_t n, Tile tile,
                  R* patch) {
  const Call& call = wide.call;
  alignas(64) R sums[kTile * 16];
  for (int64_t block = 0; block < wide.blocks; ++block) {
    const Source<R> source(wide, n / served(call), block, patch);
    with_shape(wide, [&](auto shape) {
      sum_points<decltype(shape)>(taps, source, tile.count, sums);
    });
    const int64_t channels = channels_in(wide, block), first = block * wide.side;
    for (int64_t c = 0; taps.fills && c < channels; ++c) {
      const R fill = fill_of<R>(call, first + c);
      for (int64_t i = 0; i < tile.count; ++i)
        if (taps.share[i] != 0) sums[i * wide.side + c] += fill * taps.share[i];
    }
    give_points(call, call.output, sums, wide.side, channels, tile.count,
                output_address(call, n, first, tile));
  }
}

template <class R, int D>
void forward(const Job& job, int64_t begin, int64_t end) {
  const Wide& wide = wide_of(job);
  const Polynomials<R> kernel(job.call);
  const Scratch<R> patch(job, Source<R>::room(wide));
  for (int64_t task = begin; patch.aligned() && task < end; ++task) {
    const int64_t n = wide.first * served(job.call) + task / job.groups, group = task % job.groups;
    const Frame<R> frame = frame_of<R>(job, n);
    for (int64_t t = group * kGroup; t < job.last_tile(group); ++t) {
      const Coordinates<R, D> coordinates(job, n, frame, job.tile(t));
      const WideTaps<R, D, false> taps(job.call, kernel, coordinates.pixel);
      forward_tile(wide, taps, n, job.tile(t), patch.aligned());
    }
  }
}

// Adds a block's part of eq. 7 for a tile.
template <class S, class R, int D>
STN_SHARED void add_slopes(const WideTaps<R, D, true>& taps, const Source<R>& source,
                           const R* gradient, int64_t count, Lanes<R> (&grad)[D]) {
  const Steps steps = source.steps;
  for (int64_t i = 0; i < count; ++i) {
    if (i % kAsked == 0) source.fetch(taps.axis, i + kAhead);
    const R *from = source.at(taps.axis, i), *g = gradient + i * S::kSide;
    Quad<R> slopes[D] = {};
    slopes_of<S>(taps, i, steps, from, g, slopes);
    STN_UNROLL
    for (int a = 0; a < D; ++a) {
      R total = sum_of<R>(slopes[a]);
      if (!finite(total)) {
        total = 0;
        for (int c = 0; c < S::kSide; ++c)
          total += g[c] == 0 ? 0 : g[c] * sum_again(S::kSide, steps, taps, i, from + c, a);
      }
      grad[a][i] += total;
    }
  }
}

// The gradients to the coordinates and to the fill of a tile.
template <class R, int D>
void gather_tile(const Wide& wide, const WideTaps<R, D, true>& taps, int64_t n, Tile tile,
                 R* patch, double* fill_sums, Lanes<R> (&grad)[D]) {
  const Call& call = wide.call;
  alignas(64) R gradient[kTile * 16];
  for (auto& along : grad) each(i) along[i] = 0;
  for (int64_t block = 0; block < wide.blocks; ++block) {
    const int64_t channels = channels_in(wide, block), first = block * wide.side;
    take_points(call, call.output, gradient_address(call, n, first, tile), wide.side, channels,
                tile.count, gradient);
    if (call.grad_coordinates) {
      const Source<R> source(wide, n / served(call), block, patch);
      with_shape(wide, [&](auto shape) {
        add_slopes<decltype(shape)>(taps, source, gradient, tile.count, grad);
      });
    }
    for (int64_t c = 0; taps.fills && c < channels; ++c) {
      const R fill = fill_of<R>(call, first + c);
      for (int64_t i = 0; i < tile.count; ++i) {
        const R g = gradient[i * wide.side + c];
        if (fill_sums) fill_sums[first + c] += g * taps.share[i];
        if (!finite(fill) && taps.share[i] == 0) continue;
        STN_UNROLL
        for (int a = 0; a < D; ++a) grad[a][i] += g * fill * taps.share_slope[a][i];
      }
    }
  }
  for (auto& along : grad) each(i) along[i] = taps.alive[i] ? along[i] : 0;
}

// A task is a group of an image's tiles, or of all images' where they share what is summed.
template <class R, int D>
void gather(const Job& job, int64_t begin, int64_t end) {
  const Wide& wide = wide_of(job);
  const Call& call = job.call;
  const Polynomials<R> kernel(call);
  const int64_t entries = call.form == kPoints ? 0 : job.rows() * call.columns;
  const int64_t left = call.image_batch - wide.first;
  const int64_t images = left < wide.images ? left : wide.images;
  const int64_t tasks = images * served(call) * job.groups;
  const int64_t step = job.summed == Summed::kByOwner ? job.groups : tasks;
  R* lanes = static_cast<R*>(__builtin_alloca(sizeof(R) * (entries * kLanes + 1)));
  for (int64_t k = 0; k < entries * kLanes; ++k) lanes[k] = 0;
  const Scratch<R> patch(job, Source<R>::room(wide));
  for (int64_t task = begin; patch.aligned() && task < end; ++task)
    for (int64_t at = task; at < tasks; at += step) {
      const int64_t n = wide.first * served(call) + at / job.groups, group = at % job.groups;
      const int64_t place = n * job.groups + group;
      double* fill = job.fill_sums ? job.fill_sums + place * call.channels : nullptr;
      const Frame<R> frame = frame_of<R>(job, n);
      for (int64_t t = group * kGroup; t < job.last_tile(group); ++t) {
        Coordinates<R, D> coordinates(job, n, frame, job.tile(t));
        const WideTaps<R, D, true> taps(call, kernel, coordinates.pixel);
        Lanes<R> grad[D];
        gather_tile(wide, taps, n, job.tile(t), patch.aligned(), fill, grad);
        if (call.grad_coordinates) coordinates.transpose(job, n, frame, grad, lanes);
      }
      add_lanes(lanes, entries, job.matrix_sums ? job.matrix_sums + place * entries : nullptr);
    }
}

// Adds a tile's part of eq. 6 to the rows of a strip, which no other task adds to. Neighbours would
// wait for the same memory: points follow one another that are sixteen apart.
template <class S, class R, int D>
STN_SHARED void add_points(const Wide& wide, const WideTaps<R, D, false>& taps, Range rows,
                           const R* gradient, int64_t count, R* grads) {
  const Steps steps(wide);
  for (int64_t j = 0; j < kTile; ++j) {
    const int64_t i = j % 4 * (kTile / 4) + j / 4;
    if (j % (2 * kAsked) == 0 && i + kAhead / 4 < kTile)
      Source<R>::ask_rows(grads + start_of(wide, taps.axis, i + kAhead / 4), steps);
    if (i >= count) continue;
    const int64_t start = taps.axis[D - 1].start[i];
    const int64_t low = rows.low - start, high = rows.high - start;
    const Range own{low > 0 ? low : 0, high < steps.taps ? high : steps.taps};
    if (!taps.alive[i] || own.low >= own.high) continue;
    R* to = grads + start_of(wide, taps.axis, i);
    add_point<S>(taps, i, steps, to, gradient + i * S::kSide, own);
  }
}

// Whether a tile may reach rows of the slowest axis.
template <class R>
bool reaches(const Wide& wide, const Lanes<R>& slowest, Range rows) {
  const Call& call = wide.call;
  const int64_t last = call.ndim - 1;
  if (call.padding == kWrap || call.padding == kReflection) return true;
  const R ahead = R(call.lead[last]), length = R(call.source[last]), taps = R(call.taps);
  R low = length + taps, high = -taps;
  each(i) low = slowest[i] + ahead < low ? slowest[i] + ahead : low;
  each(i) high = slowest[i] + ahead > high ? slowest[i] + ahead : high;
  low = low < -taps ? -taps : low;
  high = high > length + taps ? length + taps : high;
  return low < R(rows.high) && high + 2 * taps >= R(rows.low);
}

template <class R, int D>
void scatter_strip(const Wide& wide, const Polynomials<R>& kernel, int64_t b, int64_t block,
                   Range rows, R* grads) {
  const Call& call = wide.call;
  alignas(64) R gradient[kTile * 16];
  for (int64_t n = b * served(call); n < (b + 1) * served(call); ++n) {
    const Frame<R> frame = frame_of<R>(wide, n);
    for (int64_t t = 0; t < wide.tiles; ++t) {
      const Tile tile = wide.tile(t);
      const Coordinates<R, D> coordinates(wide, n, frame, tile);
      if (wide.strips > 1 && !reaches(wide, coordinates.pixel[D - 1], rows)) continue;
      const WideTaps<R, D, false> taps(call, kernel, coordinates.pixel);
      take_points(call, call.output, gradient_address(call, n, block * wide.side, tile), wide.side,
                  channels_in(wide, block), tile.count, gradient);
      with_shape(wide, [&](auto shape) {
        add_points<decltype(shape)>(wide, taps, rows, gradient, tile.count, grads);
      });
    }
  }
}

// A task is a strip of an image's block.
template <class R, int D>
void scatter(const Job& job, int64_t begin, int64_t end) {
  const Wide& wide = wide_of(job);
  const Polynomials<R> kernel(job.call);
  const int64_t row = wide.room / wide.extent[D - 1];
  for (int64_t task = begin; task < end; ++task) {
    const int64_t strip = task % job.strips, block = task / job.strips % wide.blocks;
    const int64_t b = wide.first + task / job.strips / wide.blocks;
    const int64_t low = strip * job.strip_rows, high = low + job.strip_rows;
    const Range rows{low, high < wide.extent[D - 1] ? high : wide.extent[D - 1]};
    R* grads = block_of<R>(wide, wide.grads, b, block);
    __builtin_memset(grads + rows.low * row, 0, (rows.high - rows.low) * row * sizeof(R));
    scatter_strip<R, D>(wide, kernel, b, block, rows, grads);
  }
}

template <class R, int D>
constexpr WidePasses kPasses{pack<R>, forward<R, D>, gather<R, D>, scatter<R, D>, collect<R>};

}  // namespace

WidePasses wide_passes(const Call& call, STN_REAL) {
  return call.ndim == 2 ? kPasses<STN_REAL, 2> : kPasses<STN_REAL, 3>;
}

}  // namespace STN_ISA
