// The copy of an image with a margin that wide kernels read, and the way back of its gradient.
//
// What a padding reads outside lies in the margin, so that every tap is a pixel. Channels lie side
// by side, 1, 4 or 16 of them in a block, as numbers that are computed with.
#pragma once
#include "read.h"
#include "transpose.h"

namespace STN_ISA {
namespace {

inline const Wide& wide_of(const Job& job) { return static_cast<const Wide&>(job); }

// What is read in place of the pixels of an axis, from the margin's first on.
inline const int32_t* read_of(const Call& call, int64_t axis) {
  const int32_t* read = call.read_data;
  for (int64_t a = 0; a < axis; ++a) read += call.source[a] + 2 * call.taps;
  return read;
}

inline int64_t channels_in(const Wide& wide, int64_t block) {
  const int64_t left = wide.call.channels - block * wide.side;
  return left < wide.side ? left : wide.side;
}

template <class R>
R* block_of(const Wide& wide, void* values, int64_t b, int64_t block) {
  return static_cast<R*>(values) + ((b - wide.first) * wide.blocks + block) * wide.room;
}

// Consecutive points of a block of channels, from what a call's image or its output stores.
template <class R>
STN_SHARED void take_points(const Call& call, const Strides& strides, const char* from,
                            int64_t side, int64_t channels, int64_t count, R* to) {
  const bool planes = strides.pixel == 1;
  if (planes && side == 4)
    return points_of<4>(call, from, strides.channel, channels, count, to);
  if (planes && side == 16)
    return points_of<16>(call, from, strides.channel, channels, count, to);
  as_stored<R>(call, [&](auto zero) {
    const auto* values = typed<decltype(zero)>(from);
    for (int64_t i = 0; i < count; ++i, values += strides.pixel)
      for (int64_t c = 0; c < side; ++c)
        to[i * side + c] = c < channels ? widen(values[c * strides.channel]) : 0;
  });
}

// And back.
template <class R>
STN_SHARED void give_points(const Call& call, const Strides& strides, const R* from, int64_t side,
                            int64_t channels, int64_t count, char* to) {
  const bool planes = strides.pixel == 1;
  if (planes && side == 4)
    return planes_of<4>(call, from, strides.channel, channels, count, to);
  if (planes && side == 16)
    return planes_of<16>(call, from, strides.channel, channels, count, to);
  as_stored<R>(call, [&](auto zero) {
    auto* values = typed<decltype(zero)>(to);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t c = 0; c < channels; ++c)
        narrow(from[i * side + c], values[i * strides.pixel + c * strides.channel]);
  });
}

// A row of the copy, `from` the source's row.
template <class R>
void pack_row(const Wide& wide, const char* from, int64_t channels, R* to) {
  const Call& call = wide.call;
  const int64_t margin = call.taps, length = call.source[0], side = wide.side;
  R* inner = to + margin * side;
  take_points(call, call.image, from, side, channels, length, inner);
  for (int64_t j = 0; j < wide.extent[0]; ++j) {
    if (j == margin) j += length;
    const int32_t read = j < length + 2 * margin ? call.read_data[j] : -1;
    for (int64_t c = 0; c < side; ++c) to[j * side + c] = read < 0 ? 0 : inner[read * side + c];
  }
}

// A task is a slab of the rows of an image's block.
template <class R>
void pack(const Job& job, int64_t begin, int64_t end) {
  const Wide& wide = wide_of(job);
  const Call& call = job.call;
  const bool deep = call.ndim > 2;
  const int32_t *ys = read_of(call, 1), *zs = deep ? read_of(call, 2) : nullptr;
  const int64_t row = wide.extent[0] * wide.side, last = call.ndim - 1;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t slab = task % wide.slabs, block = task / wide.slabs % wide.blocks;
    const int64_t b = wide.first + task / wide.slabs / wide.blocks;
    const char* image = address(call, call.image_data, call.image, b, block * wide.side);
    R* copy = block_of<R>(wide, wide.values, b, block);
    const int64_t low = slab * wide.slab_rows, high = low + wide.slab_rows;
    const int64_t stop = high < wide.extent[last] ? high : wide.extent[last];
    for (int64_t slow = low; slow < stop; ++slow)
      for (int64_t y = 0; y < (deep ? wide.extent[1] : 1); ++y) {
        const int64_t read_y = ys[deep ? y : slow], read_z = deep ? zs[slow] : 0;
        R* to = copy + (deep ? slow * wide.extent[1] + y : slow) * row;
        if (read_y < 0 || read_z < 0) {
          __builtin_memset(to, 0, row * sizeof(R));
          continue;
        }
        const int64_t start = (read_z * call.source[1] + read_y) * call.source[0];
        const char* from = image + start * call.image.pixel * size_of(call);
        pack_row(wide, from, channels_in(wide, block), to);
      }
  }
}

// Adds values to others.
template <class R>
inline void add_values(R* from, int64_t count, R* to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// Adds the margin's gradient along one axis to that of the pixels that it reads.
template <class R>
STN_SHARED void fold_axis(const Wide& wide, int a, R* grads) {
  const Call& call = wide.call;
  const int32_t* read = read_of(call, a);
  const int64_t margin = call.taps, length = call.source[a];
  int64_t inner = wide.side, outer = 1;
  for (int b = 0; b < a; ++b) inner *= wide.extent[b];
  for (int b = a + 1; b < call.ndim; ++b) outer *= wide.extent[b];
  for (int64_t o = 0; o < outer; ++o, grads += wide.extent[a] * inner)
    for (int64_t j = 0; j < length + 2 * margin; ++j) {
      if (j == margin) j += length;
      if (j < length + 2 * margin && read[j] >= 0)
        add_values(grads + j * inner, inner, grads + (margin + read[j]) * inner);
    }
}

// A task is an image's block.
template <class R>
void collect(const Job& job, int64_t begin, int64_t end) {
  const Wide& wide = wide_of(job);
  Call call = job.call;
  if (call.dtype != kFloat64) call.dtype = kFloat32;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t block = task % wide.blocks, b = wide.first + task / wide.blocks;
    R* grads = block_of<R>(wide, wide.grads, b, block);
    if (!fills(call.padding))
      for (int a = 0; a < call.ndim; ++a) fold_axis(wide, a, grads);
    const int64_t margin = call.taps, height = call.ndim > 2 ? call.source[1] : 1;
    const int64_t rows = job.pixels / call.source[0];
    R* image = static_cast<R*>(call.grad_image) + b * call.image.batch;
    image += block * wide.side * call.image.channel;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t slow = r / height + margin, y = r % height + margin;
      const int64_t line = call.ndim > 2 ? slow * wide.extent[1] + y : slow;
      const R* from = grads + (line * wide.extent[0] + margin) * wide.side;
      R* to = image + r * call.source[0] * call.image.pixel;
      give_points(call, call.image, from, wide.side, channels_in(wide, block), call.source[0],
                  reinterpret_cast<char*>(to));
    }
  }
}

}  // namespace
}  // namespace STN_ISA
