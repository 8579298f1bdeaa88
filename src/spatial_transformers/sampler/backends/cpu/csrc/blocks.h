// Channels in planes that are brought side by side, a block at a time: one tap is one vector.
#pragma once
#include "job.h"
#include "read.h"
#include "scratch.h"
#include "transpose.h"

namespace STN_ISA {
namespace {

// W channels of one image, as a job of their own on scratch memory, which is taken once.
template <class R, int W>
class Part {
 public:
  Job job;

  Part(const Job& whole, bool backward)
      : job(whole),
        source_(whole, whole.pixels * W),
        target_(whole, (backward ? whole.points : kTile) * W),
        whole_(whole) {
    Call& call = job.call;
    job.path = Path::kTiles;
    job.width = W;
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
    for (int64_t c = 0; c < W; ++c) fill_[c] = c < channels ? fill_of<R>(call, first + c) : 0;
  }

  void read_image() {
    const Call& call = whole_.call;
    points_of<W>(call, address(call, call.image_data, call.image, n_, first), call.image.channel,
                 channels, job.pixels, source_.aligned());
  }

  void read_gradient() {
    const Call& call = whole_.call;
    points_of<W>(call, address(call, call.grad_data, call.output, n_, first), call.output.channel,
                 channels, job.points, target_.aligned());
  }

  // The values of a tile, summed by points at the beginning, in planes.
  void write_sums(Tile tile) {
    const Call& call = whole_.call;
    planes_of<W>(call, target_.aligned(), call.output.channel, channels, tile.count,
                 output_address(call, n_, first, tile));
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
