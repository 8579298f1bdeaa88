// The forward pass by windows of the target: what a window reads is copied first, with a margin.
//
// A copy is read in streams, where maps that turn or shear would wait for every line of memory. It
// stays in the nearest caches, all its taps are pixels, and channels come to lie side by side.
#include "margins.h"

namespace STN_ISA {
namespace {

// Values that are copied: as they are stored, or several channels side by side, widened.
template <class S, int W>
struct Copied {
  using Type = Work<S>;
};
template <class S>
struct Copied<S, 1> {
  using Type = S;
};

// W channels of a window, whose points read a box of the source.
template <class S, int W>
class Window {
 public:
  explicit Window(const Job& job)
      : whole_(job), call_(job.call), part_(job), box_(job, kRoom * W), sums_(job, kTile * W) {
    part_.margins = true;
    Call& call = part_.call;
    if (W > 1) call.dtype = dtype_of(R());
    call.image_batch = 1;
    call.image = {0, 1, W};
    call.image_data = box_.aligned();
    if (W == 1) return;
    call.channels = W;
    call.output = {0, 1, W};
    call.output_data = sums_.aligned();
  }

  bool ready() const { return box_.aligned() && sums_.aligned(); }

  void forward(int64_t n, int64_t window, int64_t channel) {
    call_ = channels_of<S>(whole_.call, channel, W);
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
        sum_planes<S, 2>(call_, Taps<R, 2, 2, false>(whole_, coordinates.pixel), n, tile);
      });
    }
  }

 private:
  using R = Work<S>;
  using V = typename Copied<S, W>::Type;
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
      part_.origin[a] = -kMargin;
      part_.extent[a] = call.source[a] + 2 * kMargin;
    }
    const int64_t area = part_.extent[0] * part_.extent[1];
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
      part_.origin[a] = int64_t(floor_of(first));
      part_.extent[a] = int64_t(floor_of(last)) + 2 - part_.origin[a];
    }
    return all && part_.extent[0] * part_.extent[1] <= kRoom;
  }

  // Copies the box. Beyond the image lies the fill; where paddings have none, the last pixel, which
  // is not read but with weight 0.
  void copy(int64_t n) {
    const Call& call = call_;
    const int64_t width = call.source[0], height = call.source[1], length = part_.extent[0];
    const int64_t low = part_.origin[0], begin = within(low, width);
    const int64_t end = within(low + length, width);
    const S* image = read_plane<S>(call, n, 0);
    const bool filling = fills(call.padding);
    V outside[W] = {};
    const S* fill = static_cast<const S*>(call.fill_data);
    for (int64_t c = 0; fill && c < call.channels; ++c) outside[c] = copied(fill[c]);
    V* to = box_.aligned();
    for (int64_t k = 0; k < part_.extent[1]; ++k, to += length * W) {
      const int64_t y = part_.origin[1] + k, row = within(y, height - 1);
      const bool none = filling && row != y;
      const int64_t before = none ? length : begin - low, count = none ? 0 : end - begin;
      const S* from = image + row * width + begin;
      const int64_t ahead = (within(y + kAhead, height - 1) - row) * width;
      for (int64_t c = 0; c < call.channels; ++c)
        ask<false>(from + c * call.image.channel + ahead, end - begin);
      put(outside, before, to);
      if constexpr (W == 1)
        __builtin_memcpy(to + before, from, count * sizeof(S));
      else
        to_points<W>(from, call.image.channel, call.channels, count, to + before * W);
      V* rest = to + (before + count) * W;
      put(filling ? outside : rest - W, length - before - count, rest);
    }
  }

  static int64_t within(int64_t x, int64_t last) { return x < 0 ? 0 : x > last ? last : x; }

  static V copied(S value) {
    if constexpr (W == 1)
      return value;
    else
      return widen(value);
  }

  static void put(const V* value, int64_t count, V* to) {
    for (int64_t i = 0; i < count; ++i)
      for (int c = 0; c < W; ++c) to[i * W + c] = value[c];
  }

  void sum(int64_t n, const Lanes<R> (&pixel)[2], Tile tile) {
    const Taps<R, 2, 2, false> taps(part_, pixel);
    if constexpr (W == 1) {
      sum_tile<V, 2>(part_.call, taps, n, tile);
    } else {
      const int64_t step = call_.output.channel;
      S* planes = static_cast<S*>(call_.output_data) + n * call_.output.batch + tile.start;
      for (int64_t c = 0; c < call_.channels; ++c)
        ask<true>(planes + c * step + kAhead * whole_.windows.step, kTile);
      sum_tile<V, 2>(part_.call, taps, n, {0, tile.count});
      to_planes<W>(sums_.aligned(), step, call_.channels, tile.count, planes);
    }
  }

  const Job& whole_;
  Call call_;  // for the channels of the window
  Job part_;   // which reads the box
  Scratch<V> box_, sums_;
  Lanes<R> pixel_[kGroup][2];
  int64_t tiles_;
};

template <class S, int W>
void forward_windows(const Job& job, int64_t begin, int64_t end) {
  Window<S, W> part(job);
  for (int64_t task = begin; part.ready() && task < end; ++task) {
    const int64_t place = task / job.blocks;
    part.forward(place / job.windows.count, place % job.windows.count, task % job.blocks * W);
  }
}

template <class S, int D, int K>
void forward_blocks(const Job& job, int64_t begin, int64_t end) {
  Part<S, kBlock<Work<S>>> part(job, false);
  for (int64_t task = begin; part.ready() && task < end; ++task) {
    part.take(task / job.blocks, task % job.blocks);
    part.read_image();
    part.template forward<D, K>();
  }
}

template <class S, int D, int K>
void forward(const Job& job, int64_t begin, int64_t end) {
  if constexpr (D == 2 && K == 2)
    if (job.windows.count)
      switch (side_width(job.call)) {
        case 1: return forward_windows<S, 1>(job, begin, end);
        case 4: return forward_windows<S, 4>(job, begin, end);
        default: return forward_windows<S, kBlock<Work<S>>>(job, begin, end);
      }
  if (job.blocks) return forward_blocks<S, D, K>(job, begin, end);
  for (int64_t task = begin; task < end; ++task)
    forward_group<S, D, K>(job, task / job.groups, task % job.groups);
}

}  // namespace
}  // namespace STN_ISA
