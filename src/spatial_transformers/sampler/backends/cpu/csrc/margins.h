// Small images with a margin, in which every tap of every point is a pixel, for the backward pass.
//
// Where taps are pixels, nothing asks whether they are. Images of which a copy costs little against
// reading them get a margin of what lies outside, and points are moved to its edge at most.
#include "blocks.h"

namespace STN_ISA {
namespace {

// Planes of one image after the other, in memory that keeps its margin.
template <class S>
class Margins {
 public:
  explicit Margins(const Job& job)
      : scratch_(job, job.margins ? room(job) * job.call.channels : 0), size_(room(job)) {
    const Call& call = job.call;
    S* to = scratch_.aligned();
    for (int64_t c = 0; job.margins && to && c < call.channels; ++c) {
      const S fill = call.fill_data ? static_cast<const S*>(call.fill_data)[c] : S{};
      for (int64_t k = 0; k < size_; ++k) to[c * size_ + k] = fill;
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
      const S* from = plane<S>(call.image_data, call.image, n, c);
      S* to = scratch_.aligned() + c * size_ + first;
      for (int64_t row = 0; row < rows; ++row)
        __builtin_memcpy(to + row / height * down + row % height * across, from + row * width,
                         width * sizeof(S));
    }
    for (int64_t a = 0; a < call.ndim; ++a) {
      job.origin[a] = -kMargin;
      job.extent[a] = call.source[a] + 2 * kMargin;
    }
    job.call.image = {0, size_, 1};
    job.call.image_data = scratch_.aligned();
  }

 private:
  static int64_t room(const Job& job) {
    int64_t values = 1;
    for (int64_t a = 0; a < job.call.ndim; ++a) values *= job.call.source[a] + 2 * kMargin;
    return values;
  }

  Scratch<S> scratch_;
  int64_t size_;
};

}  // namespace
}  // namespace STN_ISA
