// Channels in planes that are brought side by side, a block at a time: one tap is one vector.
#include "forward.h"

namespace STN_ISA {
namespace {

// The memory of a task, taken once; null where there is none.
template <class R>
class Scratch {
 public:
  Scratch(const Job& job, int64_t values)
      : data(static_cast<R*>(__builtin_malloc(values * sizeof(R) + 64))) {
    if (!data) __atomic_store_n(job.failed, 1, __ATOMIC_RELAXED);
  }
  ~Scratch() { __builtin_free(data); }
  R* aligned() const {
    return data ? reinterpret_cast<R*>((reinterpret_cast<uintptr_t>(data) + 63) & ~uintptr_t(63))
                : nullptr;
  }

 private:
  R* data;
  Scratch(const Scratch&) = delete;
  void operator=(const Scratch&) = delete;
};

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
void to_points(const S* planes, int64_t stride, int64_t channels, int64_t points, R* to) {
  const int64_t fours = points / 4 * 4;
  in_turn<W>(stride, fours, [&](auto width, int c, int64_t begin, int64_t end) {
    pack<width.kValue, W>(planes + c * stride, stride, channels - c, begin, end, to + c);
  });
  for (int64_t i = fours; i < points; ++i)
    for (int c = 0; c < W; ++c) to[i * W + c] = c < channels ? widen(planes[c * stride + i]) : 0;
}

template <int W, class S, class R>
void to_planes(const R* from, int64_t stride, int64_t channels, int64_t points, S* planes) {
  const int64_t fours = points / 4 * 4;
  in_turn<W>(stride, fours, [&](auto width, int c, int64_t begin, int64_t end) {
    unpack<width.kValue, W>(from + c, stride, channels - c, begin, end, planes + c * stride);
  });
  for (int64_t i = fours; i < points; ++i)
    for (int c = 0; c < channels; ++c) narrow(from[i * W + c], planes[c * stride + i]);
}

// W channels of one image, as a job of their own on scratch memory, which is taken once.
template <class S, int W>
class Part {
 public:
  using R = Work<S>;
  Job job;

  Part(const Job& whole, bool backward)
      : job(whole),
        source_(whole, whole.pixels * W),
        target_(whole, (backward ? whole.points : kTile) * W),
        whole_(whole) {
    Call& call = job.call;
    call.dtype = dtype_of(R());
    call.image = call.output = {0, 1, W};
    call.image_batch = 1;
    call.channels = W;
    call.image_data = source_.aligned();
    call.grad_data = call.output_data = target_.aligned();
    call.fill_data = call.fill_data ? fill_ : nullptr;
  }

  bool ready() const { return source_.aligned() && target_.aligned(); }

  // Begins with a block of the channels of image n.
  void take(int64_t n, int64_t block) {
    const Call& call = whole_.call;
    n_ = n;
    first = block * W;
    channels = call.channels - first < W ? call.channels - first : W;
    const S* fill = static_cast<const S*>(call.fill_data);
    for (int64_t c = 0; c < W; ++c) fill_[c] = fill && c < channels ? widen(fill[first + c]) : 0;
  }

  void read_image() {
    const Call& call = whole_.call;
    to_points<W>(plane<S>(call.image_data, call.image, n_, first), call.image.channel, channels,
                 job.pixels, source_.aligned());
  }

  void read_gradient() {
    const Call& call = whole_.call;
    to_points<W>(plane<S>(call.grad_data, call.output, n_, first), call.output.channel, channels,
                 job.points, target_.aligned());
  }

  // Sums all points, a tile after the other.
  template <int D, int K>
  void forward() {
    const Call& call = whole_.call;
    S* planes = static_cast<S*>(call.output_data) + n_ * call.output.batch;
    const Frame<R> frame = frame_of<R>(job, n_);
    for (int64_t t = 0; t < job.tiles; ++t) {
      const Tile tile = job.tile(t);
      const Coordinates<R, D> coordinates(job, n_, frame, tile);
      const Taps<R, D, K, false> taps(job, coordinates.pixel);
      sum_tile<R, K>(job.call, taps, n_, {0, tile.count});
      to_planes<W>(target_.aligned(), call.output.channel, channels, tile.count,
                   planes + first * call.output.channel + tile.start);
    }
  }

  // The gradient to the image, summed by points, in planes.
  void write_gradient(const R* summed) const {
    const Call& call = whole_.call;
    R* planes = static_cast<R*>(call.grad_image) + n_ * call.image.batch;
    planes += first * call.image.channel;
    to_planes<W>(summed, call.image.channel, channels, job.pixels, planes);
  }

  int64_t first, channels;  // of the block

 private:
  Scratch<R> source_, target_;
  const Job& whole_;
  int64_t n_;
  R fill_[W];
};

}  // namespace
}  // namespace STN_ISA
