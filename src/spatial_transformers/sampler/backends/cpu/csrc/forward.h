// Eq. 3 for a tile: the weighted sum over taps, a channel after the other or side by side.
#include <new>

#include "taps.h"

namespace STN_ISA {
namespace {

template <class S>
const S* plane(const void* data, const Strides& strides, int64_t n, int64_t c) {
  return static_cast<const S*>(data) + n * strides.batch + c * strides.channel;
}

// What image n of the batch reads.
template <class S>
const S* read_plane(const Call& call, int64_t n, int64_t c) {
  return plane<S>(call.image_data, call.image, call.image_batch > 1 ? n : 0, c);
}

// The call for the channels from `first` on, at most so many, which are read and given as S.
template <class S>
Call channels_of(const Call& whole, int64_t first, int64_t most) {
  Call call = whole;
  const int64_t left = whole.channels - first;
  call.channels = left < most ? left : most;
  call.image_data = plane<S>(whole.image_data, whole.image, 0, first);
  if (whole.output_data)
    call.output_data = static_cast<S*>(whole.output_data) + first * whole.output.channel;
  if (whole.grad_data) call.grad_data = plane<S>(whole.grad_data, whole.output, 0, first);
  if (whole.fill_data) call.fill_data = static_cast<const S*>(whole.fill_data) + first;
  return call;
}

// Copies K neighbours per point. One load each is faster than vectors that gather.
template <int K, class S>
STN_SCALAR void copy_runs(const S* from, const Lanes<Index>& start, S* runs) {
  STN_SCALAR_LOOP
  for (int i = 0; i < kTile; ++i) __builtin_memcpy(runs + K * i, from + start[i], K * sizeof(S));
}

// Calls use(tap, point, value) with what every tap reads, `outside` where that is no pixel.
template <int K, class S, class R, class T, class Use>
inline void read(const S* from, const T& taps, R outside, bool dense, Use use) {
  alignas(64) S runs[kTile * K];
  if (taps.whole && dense) {
    for (int row = 0; row < T::kRows; ++row) {
      copy_runs<K>(from + taps.shift[row * K], taps.start, runs);
      each(i) {
        STN_UNROLL
        for (int k = 0; k < K; ++k) use(row * K + k, i, widen(runs[K * i + k]));
      }
    }
  } else if (taps.whole) {
    for (int t = 0; t < T::kCount; ++t) {
      const S* shifted = from + taps.shift[t];
      each(i) use(t, i, widen(shifted[taps.start[i]]));
    }
  } else if (K == 2 && taps.pairs) {
    for (int row = 0; row < T::kRows; ++row) {
      copy_runs<2>(from, taps.pair[row], runs);
      each(i) {
        const R first = widen(runs[2 * i]), second = widen(runs[2 * i + 1]);
        STN_UNROLL
        for (int k = 0; k < K; ++k) {
          const R found = taps.second[k][i] ? second : first;
          use(row * K + k, i, taps.inside[row * K + k][i] ? found : outside);
        }
      }
    }
  } else {
    for (int t = 0; t < T::kCount; ++t) each(i) {
      const R found = widen(from[taps.index[t][i]]);
      use(t, i, taps.inside[t][i] ? found : outside);
    }
  }
}

template <class S, int K, class T>
void sum_planes(const Call& call, const T& taps, int64_t n, Tile tile) {
  using R = Work<S>;
  const S* fill = static_cast<const S*>(call.fill_data);
  S* out = static_cast<S*>(call.output_data) + n * call.output.batch;
  out += tile.start * call.output.pixel;
  for (int64_t c = 0; c < call.channels; ++c, out += call.output.channel) {
    const S* from = read_plane<S>(call, n, c);
    Lanes<R> total;
    each(i) total[i] = 0;
    read<K>(from, taps, fill ? widen(fill[c]) : R(0), call.image.pixel == 1,
            [&](int t, int i, R value) { total[i] += taps.weight[t][i] * value; });
    store(total, tile.count, call.output.pixel, out);
  }
}

// Where the taps of a point are read: a channel of their pixels, or of the fill, or null. `kWhole`:
// the tile is known to be whole.
template <class S, class T, bool kWhole>
class Values {
 public:
  Values(const T& taps, const S* from, const S* fill) : taps_(taps), from_(from), fill_(fill) {
    STN_UNROLL
    for (int t = 0; t < T::kCount; ++t) shift_[t] = taps.shift[t];
  }

  void find(int64_t i) {
    if (kWhole) {
      start_ = taps_.start[i];
      return;
    }
    STN_UNROLL
    for (int t = 0; t < T::kCount; ++t)
      value_[t] = taps_.whole || taps_.inside[t][i] ? from_ + taps_.at(t, i) : fill_;
  }

  int64_t offset(int t) const { return start_ + shift_[t]; }  // of whole tiles
  const S* at(int t) const { return kWhole ? from_ + offset(t) : value_[t]; }
  bool has(int t) const { return kWhole || value_[t]; }

 private:
  const T& taps_;
  const S *from_, *fill_, *value_[T::kCount];
  int64_t start_, shift_[T::kCount];
};

// W channels at a time.
template <class S, int W, bool kWhole, class T>
void sum_points(const Call& call, const T& taps, int64_t n, Tile tile) {
  using R = Work<S>;
  const S* from = read_plane<S>(call, n, 0);
  Values<S, T, kWhole> values(taps, from, static_cast<const S*>(call.fill_data));
  S* out = static_cast<S*>(call.output_data) + n * call.output.batch;
  out += tile.start * call.output.pixel;
  const int64_t channels = call.channels, blocks = channels / W * W, step = call.output.pixel;
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
}

// Whether there is code for four channels; see `by_four`.
template <class S, int K, int kCount>
constexpr bool has_four = sizeof(S) == sizeof(Work<S>) && K == 2 && kCount == 4;

template <class S, int K, class T>
void sum_tile(const Call& call, const T& taps, int64_t n, Tile tile) {
  constexpr int kWide = kBlock<Work<S>>;
  if (!side_by_side(call)) return sum_planes<S, K>(call, taps, n, tile);
  if constexpr (has_four<S, K, T::kCount>)
    if (by_four(call))
      return taps.whole ? sum_points<S, 4, true>(call, taps, n, tile)
                        : sum_points<S, 4, false>(call, taps, n, tile);
  if constexpr (K == 2)
    if (taps.whole) return sum_points<S, kWide, true>(call, taps, n, tile);
  sum_points<S, kWide, false>(call, taps, n, tile);
}

template <class S, class T>
STN_ASK void fetch(const Call& call, const T& taps, int64_t n, Tile tile) {
  const S* from = read_plane<S>(call, n, 0);
  if (!side_by_side(call)) {
    for (int64_t c = 0; c < call.channels; ++c) taps.fetch(from + c * call.image.channel, 1);
    return;
  }
  taps.fetch(from, call.channels);
  const S* out = plane<S>(call.output_data, call.output, n, 0) + tile.start * call.output.pixel;
  ask<true>(out, tile.count * call.output.pixel);
}

// Two tiles at a time: while one is read, the memory of the next is on its way.
template <class S, int D, int K>
void forward_group(const Job& job, int64_t n, int64_t group) {
  using R = Work<S>;
  using T = Taps<R, D, K, false>;
  const Call& call = job.call;
  const Frame<R> frame = frame_of<R>(job, n);
  const int64_t end = job.last_tile(group);
  alignas(T) unsigned char room[2][sizeof(T)];
  const T* ready = nullptr;
  for (int64_t t = group * kGroup; t <= end; ++t) {
    const T* next = nullptr;
    if (t < end) {
      const Coordinates<R, D> coordinates(job, n, frame, job.tile(t));
      next = new (room[t % 2]) T(job, coordinates.pixel);
      if (!job.near) fetch<S>(call, *next, n, job.tile(t));
    }
    if (ready) sum_tile<S, K>(call, *ready, n, job.tile(t - 1));
    ready = next;
  }
}

}  // namespace
}  // namespace STN_ISA
