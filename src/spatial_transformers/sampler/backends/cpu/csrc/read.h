// Where a tile's values lie, and how taps are read, whatever an image stores.
#pragma once
#include "job.h"
#include "lanes.h"
#include "taps.h"

namespace STN_ISA {
namespace {

// Image n's channel c among planes or points of what a call's image stores.
inline const char* address(const Call& call, const void* data, const Strides& strides, int64_t n,
                           int64_t c) {
  return static_cast<const char*>(data) +
         (n * strides.batch + c * strides.channel) * size_of(call);
}

// How many elements of the batch read one image.
inline int64_t served(const Call& call) { return call.batch / call.image_batch; }

// What element n of the batch reads.
inline const char* image_address(const Call& call, int64_t n, int64_t c) {
  return address(call, call.image_data, call.image, n / served(call), c);
}

inline char* output_address(const Call& call, int64_t n, int64_t c, Tile tile) {
  const char* plane = address(call, call.output_data, call.output, n, c);
  return const_cast<char*>(plane) + tile.start * call.output.pixel * size_of(call);
}

inline const char* gradient_address(const Call& call, int64_t n, int64_t c, Tile tile) {
  const char* plane = address(call, call.grad_data, call.output, n, c);
  return plane + tile.start * call.output.pixel * size_of(call);
}

template <class S>
const S* typed(const char* at) {
  return reinterpret_cast<const S*>(at);
}

template <class S>
S* typed(char* at) {
  return reinterpret_cast<S*>(at);
}

// What a channel reads outside; 0 where nothing fills.
template <class R>
STN_SHARED R fill_of(const Call& call, int64_t c) {
  R fill = 0;
  if (call.fill_data) as_stored<R>(call, [&](auto zero) {
    fill = widen(static_cast<const decltype(zero)*>(call.fill_data)[c]);
  });
  return fill;
}

// The call for the channels from `first` on, at most so many.
inline Call channels_of(const Call& whole, int64_t first, int64_t most) {
  Call call = whole;
  const int64_t left = whole.channels - first, size = size_of(whole);
  call.channels = left < most ? left : most;
  call.image_data = address(whole, whole.image_data, whole.image, 0, first);
  if (whole.output_data)
    call.output_data = static_cast<char*>(whole.output_data) + first * whole.output.channel * size;
  if (whole.grad_data) call.grad_data = address(whole, whole.grad_data, whole.output, 0, first);
  if (whole.fill_data) call.fill_data = static_cast<const char*>(whole.fill_data) + first * size;
  return call;
}

// Asks for the memory of all channels that a tile reads.
template <class T>
STN_ASK void fetch(const Job& job, const T& taps, int64_t n, Tile tile) {
  const Call& call = job.call;
  const int64_t size = size_of(call);
  if (job.width == 1) {
    for (int64_t c = 0; c < call.channels; ++c) taps.fetch(image_address(call, n, c), size, 1);
    return;
  }
  taps.fetch(image_address(call, n, 0), size, call.channels);
  const int64_t first = n * call.output.batch + tile.start * call.output.pixel;
  ask<true>(static_cast<const char*>(call.output_data) + first * size,
            tile.count * call.output.pixel * size);
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

// Whether there is code of its own for four channels that are stored as S.
template <class S, int K, int kCount>
constexpr bool has_four = sizeof(S) == sizeof(Work<S>) && K == 2 && kCount == 4;

// Whether there is code of its own for points of whole tiles that are stored as S.
template <class S, int K>
constexpr bool has_whole = sizeof(S) == sizeof(Work<S>) && K == 2;

}  // namespace
}  // namespace STN_ISA
