// Channels between planes and points: in planes all points of a channel lie together, in points all
// channels.
#pragma once
#include "lanes.h"
#include "vectors.h"

namespace STN_ISA {
namespace {

// N channels of points [begin, end), a multiple of four, from planes to points of W values.
template <int N, int W, class S, class R>
void pack(const S* planes, int64_t stride, int64_t channels, int64_t begin, int64_t end, R* to) {
  for (int64_t i = begin; i < end; i += 4) {
    STN_UNROLL
    for (int c = 0; c < N; c += 4) {
      Quad<R> row[4] = {};
      STN_UNROLL
      for (int k = 0; k < 4; ++k)
        if (c + k < channels) load_block(planes + (c + k) * stride + i, row[k]);
      transpose<R>(row);
      STN_UNROLL
      for (int k = 0; k < 4; ++k) store_block(row[k], to + (i + k) * W + c);
    }
  }
}

// And back.
template <int N, int W, class S, class R>
void unpack(const R* from, int64_t stride, int64_t channels, int64_t begin, int64_t end,
            S* planes) {
  for (int64_t i = begin; i < end; i += 4) {
    STN_UNROLL
    for (int c = 0; c < N; c += 4) {
      Quad<R> row[4];
      STN_UNROLL
      for (int k = 0; k < 4; ++k) load_block(from + (i + k) * W + c, row[k]);
      transpose<R>(row);
      STN_UNROLL
      for (int k = 0; k < 4; ++k)
        if (c + k < channels) store_block(row[k], planes + (c + k) * stride + i);
    }
  }
}

template <int N>
struct Width {
  static constexpr int kValue = N;
};

// Calls use(width, channel, begin, end) for all W channels of points [0, end), a multiple of four.
// Planes whose lines contend for the same places of a cache are taken a few at a time.
template <int W, class Use>
inline void in_turn(int64_t stride, int64_t end, Use use) {
  constexpr int kFew = W < 8 ? W : 8;
  constexpr int64_t kSamePlace = 1024, kLine = 16;  // values between places, and points at a time
  if (W == kFew || stride % kSamePlace != 0) return use(Width<W>(), 0, 0, end);
  for (int64_t i = 0; i < end; i += kLine)
    for (int c = 0; c < W; c += kFew) use(Width<kFew>(), c, i, i + kLine < end ? i + kLine : end);
}

// Planes (channels, points) to points (points, W); channels that are missing become 0.
template <int W, class S, class R>
STN_SHARED void to_points(const S* planes, int64_t stride, int64_t channels, int64_t points,
                          R* to) {
  const int64_t fours = points / 4 * 4;
  in_turn<W>(stride, fours, [&](auto width, int c, int64_t begin, int64_t end) {
    pack<width.kValue, W>(planes + c * stride, stride, channels - c, begin, end, to + c);
  });
  for (int64_t i = fours; i < points; ++i)
    for (int c = 0; c < W; ++c) to[i * W + c] = c < channels ? widen(planes[c * stride + i]) : 0;
}

template <int W, class S, class R>
STN_SHARED void to_planes(const R* from, int64_t stride, int64_t channels, int64_t points,
                          S* planes) {
  const int64_t fours = points / 4 * 4;
  in_turn<W>(stride, fours, [&](auto width, int c, int64_t begin, int64_t end) {
    unpack<width.kValue, W>(from + c, stride, channels - c, begin, end, planes + c * stride);
  });
  for (int64_t i = fours; i < points; ++i)
    for (int c = 0; c < channels; ++c) narrow(from[i * W + c], planes[c * stride + i]);
}

// The same, from and to what a call's image stores.
template <int W, class R>
void points_of(const Call& call, const char* planes, int64_t stride, int64_t channels,
               int64_t points, R* to) {
  as_stored<R>(call, [&](auto zero) {
    using S = decltype(zero);
    to_points<W>(reinterpret_cast<const S*>(planes), stride, channels, points, to);
  });
}

template <int W, class R>
void planes_of(const Call& call, const R* from, int64_t stride, int64_t channels, int64_t points,
               char* planes) {
  as_stored<R>(call, [&](auto zero) {
    to_planes<W>(from, stride, channels, points, reinterpret_cast<decltype(zero)*>(planes));
  });
}

}  // namespace
}  // namespace STN_ISA
