// The forward pass by windows of the target: what a window reads is copied first, with a margin.
//
// A copy is read in streams, where maps that turn or shear would wait for every line of memory. It
// stays in the nearest caches, all its taps are pixels, and channels come to lie side by side.
#pragma once
#include "coordinates.h"
#include "job.h"
#include "padding.h"
#include "read.h"
#include "scratch.h"
#include "sum.h"
#include "taps.h"
#include "transpose.h"

namespace STN_ISA {
namespace {

// W channels of a window, whose points read a box of the source.
template <class R, int W>
class Window {
 public:
  explicit Window(const Job& job)
      : whole_(job), call_(job.call), part_(job), box_(job, kRoom * W), sums_(job, kTile * W) {
    Call& call = part_.call;
    part_.memory.margin = true;
    part_.width = W;
    call.dtype = dtype_of(R());
    call.image_batch = 1;
    call.channels = W;
    call.image = call.output = {0, 1, W};
    call.image_data = box_.aligned();
    call.output_data = sums_.aligned();
    call.fill_data = nullptr;  // which lies in the margin
  }

  bool ready() const { return box_.aligned() && sums_.aligned(); }

  void forward(int64_t n, int64_t window, int64_t channel) {
    call_ = channels_of(whole_.call, channel, W);
    const Frame<R> frame = frame_of<R>(whole_, n);
    if (take_image()) {
      copy(n);
      each_tile(window, [&](int64_t, Tile tile) {
        sum(n, Coordinates<R, 2>(whole_, n, frame, tile).pixel, tile);
      });
      return;
    }
    each_tile(window, [&](int64_t k, Tile tile) {
      const Coordinates<R, 2> coordinates(whole_, n, frame, tile);
      for (int a = 0; a < 2; ++a) pixel_[k][a] = coordinates.pixel[a];
      tiles_ = k + 1;
    });
    if (take_box()) {
      copy(n);
      each_tile(window, [&](int64_t k, Tile tile) { sum(n, pixel_[k], tile); });
    } else {
      each_tile(window, [&](int64_t, Tile tile) {
        const Coordinates<R, 2> coordinates(whole_, n, frame, tile);
        sum_planes<R, 2>(call_, Taps<R, 2, 2, false>(whole_, coordinates.pixel), n, tile);
      });
    }
  }

 private:
  static constexpr int64_t kRoom = kGroup * kTile * (W > 4 ? 2 : 4);  // pixels
  static constexpr int64_t kAhead = 4;  // rows that are asked for before they are needed

  template <class Use>
  void each_tile(int64_t window, Use use) const {
    for (int64_t k = 0; k < kGroup; ++k) {
      const Tile tile = whole_.tile(window, k);
      if (tile.count <= 0) return;
      use(k, tile);
    }
  }

  // Takes all of an image, if a copy of it costs little against a window. Whether it does.
  bool take_image() {
    const Call& call = whole_.call;
    const int64_t points = whole_.points < kGroup * kTile ? whole_.points : kGroup * kTile;
    for (int a = 0; a < 2; ++a) {
      part_.memory.origin[a] = -kMargin;
      part_.memory.extent[a] = call.source[a] + 2 * kMargin;
    }
    const int64_t area = part_.memory.extent[0] * part_.memory.extent[1];
    return fills(call.padding) && area <= 2 * points && area <= kRoom;
  }

  // Moves points into the source and its margin, and takes the box that they read. Whether it fits.
  bool take_box() {
    const Call& call = whole_.call;
    const bool filling = fills(call.padding);
    bool all = true;
    Lanes<R> low[2], high[2];
    for (int a = 0; a < 2; ++a) {
      each(i) low[a][i] = R(call.source[a]);
      each(i) high[a][i] = -kMargin;
    }
    for (int64_t k = 0; k < tiles_; ++k) {
      Lanes<R> (&x)[2] = pixel_[k];
      Lanes<Index> live;
      each(i) live[i] = -Index(finite(x[0][i])) & -Index(finite(x[1][i]));
      each(i) all &= filling || live[i];
      for (int a = 0; a < 2; ++a) {
        const R least = -kMargin, most = R(call.source[a]);
        if (!filling) move_inside<R>(call, call.source[a], x[a], nullptr);
        each(i) {
          const R known = live[i] ? x[a][i] : least, above = known < least ? least : known;
          x[a][i] = above > most ? most : above;
          low[a][i] = x[a][i] < low[a][i] ? x[a][i] : low[a][i];
          high[a][i] = x[a][i] > high[a][i] ? x[a][i] : high[a][i];
        }
      }
    }
    for (int a = 0; a < 2; ++a) {
      R first = low[a][0], last = high[a][0];
      each(i) first = low[a][i] < first ? low[a][i] : first;
      each(i) last = high[a][i] > last ? high[a][i] : last;
      part_.memory.origin[a] = int64_t(floor_of(first));
      part_.memory.extent[a] = int64_t(floor_of(last)) + 2 - part_.memory.origin[a];
    }
    return all && part_.memory.extent[0] * part_.memory.extent[1] <= kRoom;
  }

  // Copies the box. Beyond the image lies the fill; where paddings have none, the last pixel, which
  // is not read but with weight 0.
  void copy(int64_t n) {
    const Call& call = call_;
    const int64_t width = call.source[0], height = call.source[1], length = part_.memory.extent[0];
    const int64_t low = part_.memory.origin[0], begin = within(low, width);
    const int64_t end = within(low + length, width);
    const char* image = image_address(call, n, 0);
    const int64_t size = size_of(call), step = call.image.channel * size;
    const bool filling = fills(call.padding);
    R outside[W] = {};
    for (int64_t c = 0; c < call.channels; ++c) outside[c] = fill_of<R>(call, c);
    R* to = box_.aligned();
    for (int64_t k = 0; k < part_.memory.extent[1]; ++k, to += length * W) {
      const int64_t y = part_.memory.origin[1] + k, row = within(y, height - 1);
      const bool none = filling && row != y;
      const int64_t before = none ? length : begin - low, count = none ? 0 : end - begin;
      const char* from = image + (row * width + begin) * size;
      const int64_t ahead = (within(y + kAhead, height - 1) - row) * width;
      for (int64_t c = 0; c < call.channels; ++c)
        ask<false>(from + c * step + ahead * size, (end - begin) * size);
      put(outside, before, to);
      if constexpr (W == 1)
        copy_row(call, from, count, to + before);
      else
        points_of<W>(call, from, call.image.channel, call.channels, count, to + before * W);
      R* rest = to + (before + count) * W;
      put(filling ? outside : rest - W, length - before - count, rest);
    }
  }

  static int64_t within(int64_t x, int64_t last) { return x < 0 ? 0 : x > last ? last : x; }

  static void copy_row(const Call& call, const char* from, int64_t count, R* to) {
    as_stored<R>(call, [&](auto zero) {
      using S = decltype(zero);
      if constexpr (sizeof(S) == sizeof(R))
        __builtin_memcpy(to, from, count * sizeof(R));
      else
        for (int64_t i = 0; i < count; ++i) to[i] = widen(typed<S>(from)[i]);
    });
  }

  static void put(const R* value, int64_t count, R* to) {
    for (int64_t i = 0; i < count; ++i) __builtin_memcpy(to + i * W, value, W * sizeof(R));
  }

  void sum(int64_t n, const Lanes<R> (&pixel)[2], Tile tile) {
    const Taps<R, 2, 2, false> taps(part_, pixel);
    const int64_t step = call_.output.channel;
    char* planes = output_address(call_, n, 0, tile);
    if (W == 1 && call_.dtype == part_.call.dtype) {  // what is summed is stored
      const char* from = reinterpret_cast<const char*>(box_.aligned());
      return sum_plane<R, 2>(part_.call, taps, from, R(0), tile, planes);
    }
    for (int64_t c = 0; W > 1 && c < call_.channels; ++c)
      ask<true>(planes + (c * step + kAhead * whole_.windows.step) * size_of(call_),
                kTile * size_of(call_));
    sum_tile<R, 2>(part_, taps, n, {0, tile.count});
    planes_of<W>(call_, sums_.aligned(), step, call_.channels, tile.count, planes);
  }

  const Job& whole_;
  Call call_;  // for the channels of the window
  Job part_;   // which reads the box
  Scratch<R> box_, sums_;
  Lanes<R> pixel_[kGroup][2];
  int64_t tiles_;
};

}  // namespace
}  // namespace STN_ISA
