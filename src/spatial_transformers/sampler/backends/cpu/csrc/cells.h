// The image's gradient for two taps per axis: sums are kept in cells between pixels.
//
// A point adds to its 2^D taps by one vector, in the cell of its first tap, rather than one number
// to each of 2^D pixels. In the end every pixel collects its share of the 2^D cells around it.
// Cells begin one before the image, as taps do: those that are no pixels are not collected.
#pragma once
#include "job.h"
#include "lanes.h"
#include "scratch.h"
#include "vectors.h"

namespace STN_ISA {
namespace {

template <class R, int D>
struct Cell {
  static constexpr int kTaps = 1 << D;
  typedef R Type __attribute__((vector_size(sizeof(R) << D)));
};

// Cells of a strip of rows, for some channels.
template <class R, int D>
class Cells {
 public:
  static constexpr int kTaps = Cell<R, D>::kTaps;
  using Type = typename Cell<R, D>::Type;

  Cells(const Job& job, Range rows)
      : rows_(rows), scratch_(job, chunk_of(job.call) * count(job, rows) * kTaps) {
    data_ = reinterpret_cast<Type*>(scratch_.aligned());
    size_ = count(job, rows);
    for (int a = 0; a < D; ++a) length_[a] = job.call.source[a];
    stride_[0] = 1;
    for (int a = 1; a < D; ++a) stride_[a] = stride_[a - 1] * (job.call.source[a - 1] + 1);
  }

  bool ready() const { return data_; }

  void clear(int64_t channels) { __builtin_memset(data_, 0, channels * size_ * sizeof(Type)); }

  // Where the points of a tile add, and the weights of their taps, side by side.
  template <class T>
  STN_SHARED void find(const T& taps) {
    const Index low = Index(rows_.low) - 1, high = Index(rows_.high);
    Index stride[D];
    for (int a = 0; a < D; ++a) stride[a] = Index(stride_[a]);
    Index length[D];
    for (int a = 0; a < D; ++a) length[a] = Index(length_[a]);
    Lanes<R> weight[kTaps];
    each(i) {
      const Index row = taps.axis[D - 1].first[i];
      Index own = -Index(row >= low) & -Index(row < high), place = (row - low) * stride[D - 1];
      STN_UNROLL
      for (int a = 0; a + 1 < D; ++a) {
        const Index first = taps.axis[a].first[i];
        own &= -Index(first >= -1) & -Index(first < length[a]);
        place += (first + 1) * stride[a];
      }
      place_[i] = own ? place : 0;
      STN_UNROLL
      for (int t = 0; t < kTaps; ++t) weight[t][i] = own ? taps.weight[t][i] : 0;
    }
    if (!taps.whole) each(i) {
      STN_UNROLL
      for (int t = 0; t < kTaps; ++t) weight[t][i] = taps.inside[t][i] ? weight[t][i] : 0;
    }
    for (int i = 0; i < kTile; i += 4) {
      STN_UNROLL
      for (int t = 0; t < kTaps; t += 4) {
        Quad<R> row[4];
        STN_UNROLL
        for (int k = 0; k < 4; ++k) load_block(&weight[t + k][i], row[k]);
        transpose<R>(row);
        STN_UNROLL
        for (int k = 0; k < 4; ++k) store_block(row[k], reinterpret_cast<R*>(weight_ + i + k) + t);
      }
    }
  }

  // Asks for the memory of a channel to which this tile adds.
  STN_ASK void fetch(int64_t channel) const {
    constexpr int kStep = 4;  // points that mostly share a line of memory
    const Type* to = data_ + channel * size_;
    for (int i = 0; i < kTile; i += kStep) ask<true>(to + place_[i], sizeof(Type));
  }

  STN_SCALAR void add(int64_t channel, const Lanes<R>& g, int64_t points) {
    Type* to = data_ + channel * size_;
    for (int64_t i = 0; i < points; ++i) to[place_[i]] += weight_[i] * g[i];
  }

  // Writes the strip's rows of a channel's plane.
  STN_SHARED void collect(const Call& call, int64_t channel, R* plane) const {
    const int64_t width = call.source[0], height = D > 2 ? call.source[1] : 1;
    for (int64_t z = rows_.low; z < rows_.high; ++z) {
      for (int64_t y = 0; y < height; ++y) {
        R* to = plane + (z * height + y) * width * call.image.pixel;
        const R* from[kTaps / 2];
        STN_UNROLL
        for (int q = 0; q < kTaps / 2; ++q) {
          const int64_t before = D == 2 ? q : q / 2, inner = D == 2 ? 0 : y + 1 - q % 2;
          const int64_t row = (z - rows_.low + 1 - before) * stride_[D - 1];
          from[q] = reinterpret_cast<const R*>(data_ + channel * size_ + row +
                                               (D == 2 ? 0 : inner * stride_[1]));
        }
        collect_row(from, width, call.image.pixel, to);
      }
    }
  }

 private:
  static int64_t count(const Job& job, Range rows) {
    int64_t cells = rows.high - rows.low + 1;
    for (int a = 0; a + 1 < D; ++a) cells *= job.call.source[a] + 1;
    return cells;
  }

  static void collect_row(const R* const (&from)[kTaps / 2], int64_t width, int64_t step, R* to) {
    for (int64_t x = 0; x < width; ++x) {
      R sum = 0;
      STN_UNROLL
      for (int q = 0; q < kTaps / 2; ++q)
        sum += from[q][(x + 1) * kTaps + 2 * q] + from[q][x * kTaps + 2 * q + 1];
      to[x * step] = sum;
    }
  }

  Range rows_;
  Scratch<R> scratch_;
  Type* data_;
  int64_t size_, stride_[D], length_[D];
  Lanes<Index> place_;
  Type weight_[kTile];
};

}  // namespace
}  // namespace STN_ISA
