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

// Planes (channels, points) to points (points, block); channels that are missing become 0.
template <class S, class R>
void to_points(const S* planes, const Strides& strides, int64_t channels, int64_t points, R* to) {
  constexpr int kWidth = kBlock<R>;
  Lanes<R> rows[kWidth];
  for (int64_t start = 0; start < points; start += kTile) {
    const int64_t count = points - start < kTile ? points - start : kTile;
    for (int c = 0; c < kWidth; ++c) {
      if (c < channels)
        load(planes + c * strides.channel + start, count, 1, rows[c]);
      else if (start == 0)
        each(i) rows[c][i] = 0;
    }
    for (int64_t i = 0; i < (count + 3) / 4 * 4; i += 4)
      for (int c = 0; c < kWidth; c += 4)
        transpose(&rows[c][i], kTile, to + (start + i) * kWidth + c, kWidth);
  }
}

template <class S, class R>
void to_planes(const R* from, const Strides& strides, int64_t channels, int64_t points, S* planes) {
  constexpr int kWidth = kBlock<R>;
  Lanes<R> rows[kWidth];
  for (int64_t start = 0; start < points; start += kTile) {
    const int64_t count = points - start < kTile ? points - start : kTile;
    for (int64_t i = 0; i < (count + 3) / 4 * 4; i += 4)
      for (int c = 0; c < kWidth; c += 4)
        transpose(from + (start + i) * kWidth + c, kWidth, &rows[c][i], kTile);
    for (int c = 0; c < channels; ++c)
      store(rows[c], count, 1, planes + c * strides.channel + start);
  }
}

// A block of the channels of one image, as a job of its own on scratch memory.
template <class S>
class Part {
 public:
  using R = Work<S>;
  static constexpr int64_t kWidth = kBlock<R>;
  Job job;
  bool ready;

  Part(const Job& whole, int64_t n, int64_t block, bool reads)
      : job(whole),
        source_(whole, (whole.pixels + 4) * kWidth),
        target_(whole, (whole.points + 4) * kWidth),
        whole_(whole.call),
        n_(n),
        first_(block * kWidth) {
    channels_ = whole_.channels - first_ < kWidth ? whole_.channels - first_ : kWidth;
    ready = source_.aligned() && target_.aligned();
    if (!ready) return;
    const S* fill = static_cast<const S*>(whole_.fill_data);
    for (int64_t c = 0; c < kWidth; ++c)
      fill_[c] = fill && c < channels_ ? widen(fill[first_ + c]) : 0;
    Call& call = job.call;
    call.image = call.output = {0, 1, kWidth};
    call.image_batch = 1;
    call.channels = kWidth;
    call.image_data = source_.aligned();
    call.grad_data = call.output_data = target_.aligned();
    call.fill_data = fill ? fill_ : nullptr;
    if (reads)
      to_points(plane<S>(whole_.image_data, whole_.image, n, first_), whole_.image, channels_,
                job.pixels, source_.aligned());
  }

  void read_gradient() {
    to_points(plane<S>(whole_.grad_data, whole_.output, n_, first_), whole_.output, channels_,
              job.points, target_.aligned());
  }

  void write_output() const {
    S* planes = static_cast<S*>(whole_.output_data) + n_ * whole_.output.batch;
    to_planes(target_.aligned(), whole_.output, channels_, job.points,
              planes + first_ * whole_.output.channel);
  }

  // The gradient to the image, summed by points, in planes.
  void write_gradient(const R* summed) const {
    R* planes = static_cast<R*>(whole_.grad_image) + n_ * whole_.image.batch;
    to_planes(summed, whole_.image, channels_, job.pixels, planes + first_ * whole_.image.channel);
  }

  int64_t first() const { return first_; }
  int64_t channels() const { return channels_; }

 private:
  Scratch<R> source_, target_;
  const Call& whole_;
  int64_t n_, first_, channels_;
  R fill_[kBlock<R>];
};

}  // namespace
}  // namespace STN_ISA
