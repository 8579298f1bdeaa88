// Small images with a margin, in which every tap of every point is a pixel, for the backward pass.
//
// Where taps are pixels, nothing asks whether they are. Images of which a copy costs little against
// reading them get a margin of what lies outside, and points are moved to its edge at most.
#pragma once
#include "job.h"
#include "read.h"
#include "scratch.h"

namespace STN_ISA {
namespace {

// Planes of one image after the other, as they are stored, in memory that keeps its margin.
class Margins {
 public:
  explicit Margins(const Job& job)
      : size_(size_of(job.call)),
        room_(job.path == Path::kMargins ? room(job) : 0),
        scratch_(job, room_ * job.call.channels * size_) {
    const Call& call = job.call;
    for (int64_t c = 0; room_ && ready() && c < call.channels; ++c) {
      const char* fill = static_cast<const char*>(call.fill_data);
      if (fill) fill += c * size_;
      char* to = scratch_.aligned() + c * room_ * size_;
      if (size_ == 8)
        set<int64_t>(fill, to);
      else if (size_ == 4)
        set<int32_t>(fill, to);
      else
        set<int16_t>(fill, to);
    }
  }

  bool ready() const { return scratch_.aligned(); }

  // Copies the planes of image n, and lets the job read them.
  void take(const Job& whole, int64_t n, Job& job) {
    const Call& call = whole.call;
    const int64_t width = call.source[0], rows = whole.pixels / width;
    const int64_t height = call.ndim > 2 ? call.source[1] : rows;
    const int64_t across = width + 2 * kMargin, down = across * (height + 2 * kMargin);
    const int64_t first = kMargin * (1 + across + (call.ndim > 2 ? down : 0));
    for (int64_t c = 0; c < call.channels; ++c) {
      const char* from = address(call, call.image_data, call.image, n, c);
      char* to = scratch_.aligned() + (c * room_ + first) * size_;
      for (int64_t row = 0; row < rows; ++row)
        __builtin_memcpy(to + (row / height * down + row % height * across) * size_,
                         from + row * width * size_, width * size_);
    }
    for (int64_t a = 0; a < call.ndim; ++a) {
      job.memory.origin[a] = -kMargin;
      job.memory.extent[a] = call.source[a] + 2 * kMargin;
    }
    job.memory.margin = true;
    job.call.image = {0, room_, 1};
    job.call.image_data = scratch_.aligned();
  }

 private:
  static int64_t room(const Job& job) {
    int64_t values = 1;
    for (int64_t a = 0; a < job.call.ndim; ++a) values *= job.call.source[a] + 2 * kMargin;
    return values;
  }

  // Sets a plane to the bits of the fill, or of 0.
  template <class Bits>
  void set(const char* fill, char* to) const {
    Bits bits = 0;
    if (fill) __builtin_memcpy(&bits, fill, sizeof bits);
    for (int64_t k = 0; k < room_; ++k) __builtin_memcpy(to + k * sizeof bits, &bits, sizeof bits);
  }

  int64_t size_, room_;  // bytes of a value, and values of a plane
  Scratch<char> scratch_;
};

}  // namespace
}  // namespace STN_ISA
