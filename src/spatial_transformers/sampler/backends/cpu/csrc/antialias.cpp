// Kernels that widen, forward and backward, of one instruction set, for images that are computed
// with as STN_REAL. STN_ISA names the set, STN_INDEX is the type of an offset in a plane.
#include "antialias.h"

#include "coordinates.h"
#include "separable.h"
#include "widened.h"

namespace STN_ISA {
namespace {

template <class R>
R* planes_at(const void* data, const Strides& strides, int64_t n) {
  return const_cast<R*>(static_cast<const R*>(data)) + n * strides.batch;
}

// Calls use(i, lives) for the points of a tile whose kernels are widened: each is placed if it is
// finite and reads a pixel.
template <class R, int D, class W, class Use>
STN_INLINE void each_point(const Antialias& job, int64_t n, Tile tile,
                           const Lanes<R> (&pixel)[D], W& point, Use use) {
  Stretches<R, D> stretch(job, n, tile);
  for (int64_t i = 0; i < tile.count; ++i) {
    if (!stretch.take(i)) continue;
    R x[D];
    bool lives = true;
    for (int a = 0; a < D; ++a) {
      x[a] = pixel[a][i];
      lives &= finite(x[a]);
    }
    use(i, lives && point.place(stretch, x));
  }
}

template <class F, class R, int D>
STN_SHARED void forward_tile(Widened<F, R, D>& point, int64_t n, Tile tile,
                             const Lanes<R> (&pixel)[D], R* sums) {
  const Call& call = point.call;
  const R* image = planes_at<R>(call.image_data, call.image, n / served(call));
  R* out = planes_at<R>(call.output_data, call.output, n) + tile.start;
  each_point(point.job, n, tile, pixel, point, [&](int64_t i, bool lives) {
    const Totals<R> none{0, 0};
    const Shares<R> shares(call, lives ? point.template sum<false>(image, sums) : none);
    bool odd = false;
    for (int64_t c = 0; lives && c < call.channels; ++c) odd |= !finite(sums[c]);
    if (odd) point.template sum<true>(image, sums);
    for (int64_t c = 0; c < call.channels; ++c) {
      R value = lives && shares.scale != 0 ? sums[c] * shares.scale : R(0);
      if (shares.fill != 0) value += shares.fill * fill_of<R>(call, c);
      out[c * call.output.channel + i] = value;
    }
  });
}

// Calls use(form) with the code for a kernel, and what a task needs.
template <class R, int D, class Use>
void with_kernel(const Antialias& job, Use use) {
  const Pieces<R> kernel(job.call);
  Edges<R, D> edges(job);
  const Scratch<R> sums(job, job.call.channels);
  if (!edges.ready() || !sums.aligned()) return;
  with_form(kernel, [&](auto form) {
    Widened<decltype(form), R, D> point(job, kernel, edges);
    use(point, sums.aligned());
  });
}

template <class R, int D>
void forward(const Job& given, int64_t begin, int64_t end) {
  const Antialias& job = antialias_of(given);
  with_kernel<R, D>(job, [&](auto& point, R* sums) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / job.groups, group = task % job.groups;
      if (!job.by_points(n)) continue;
      const Frame<R> frame = frame_of<R>(job, n);
      for (int64_t t = group * kGroup; t < job.last_tile(group); ++t) {
        const Coordinates<R, D> coordinates(job, n, frame, job.tile(t));
        forward_tile(point, n, job.tile(t), coordinates.pixel, sums);
      }
    }
  });
}

// What a task of the gather pass adds to, beside the lanes of M_θ's gradient.
struct Place {
  double *stretch, *fill;
};

// Adds a point's gradient to P⁻¹.
template <class R, int D>
void give_inverse(const Antialias& job, int64_t n, int64_t at, const R (&inverse)[D][D],
                  const Place& place) {
  const Call& call = job.call;
  if (job.affine) {
    for (int k = 0; k < D * D; ++k) place.stretch[k] += inverse[k / D][k % D];
  } else if (call.grad_stretch) {
    const int64_t map = call.coordinates_batch > 1 ? n : 0;
    R* to = static_cast<R*>(call.grad_stretch) + map * (D * D + 1) * job.points + at;
    for (int k = 0; k < D * D; ++k) to[(k + 1) * job.points] += inverse[k / D][k % D];
  }
}

template <class F, class R, int D>
STN_SHARED void gather_tile(Widened<F, R, D>& point, int64_t n, Tile tile,
                            const Lanes<R> (&pixel)[D], const Place& place, Lanes<R> (&grad)[D]) {
  const Call& call = point.call;
  const R* image = planes_at<R>(call.image_data, call.image, n / served(call));
  const R* given = planes_at<R>(call.grad_data, call.output, n) + tile.start;
  for (auto& along : grad) each(i) along[i] = 0;
  each_point(point.job, n, tile, pixel, point, [&](int64_t i, bool lives) {
    const Totals<R> none{0, 0};
    const bool border = call.padding == kConstant || call.padding == kRenormalise;
    R filled = 0;
    if (!lives || (border && !point.print.inside)) {
      const Shares<R> shares(call, lives ? point.weights() : none);
      for (int64_t c = 0; c < call.channels; ++c) {
        const R g = given[c * call.output.channel + i], fill = fill_of<R>(call, c);
        if (place.fill) place.fill[c] += g * shares.fill;
        if (finite(fill) || shares.fill != 0) filled += g * fill;
      }
      if (!lives || shares.scale == 0) return;
    }
    if (!call.grad_coordinates) return;
    const Slopes<F, R, D> slopes(point, image, given + i, call.output.channel, filled);
    for (int a = 0; a < D; ++a) grad[a][i] = slopes.pixel[a];
    give_inverse<R, D>(point.job, n, tile.start + i, slopes.inverse, place);
  });
}

// A task is a group of an image's tiles, or of all images' where they share what is summed.
template <class R, int D>
void gather(const Job& given, int64_t begin, int64_t end) {
  const Antialias& job = antialias_of(given);
  const Call& call = job.call;
  const int64_t entries = call.form == kPoints ? 0 : job.rows() * call.columns;
  const int64_t tasks = call.batch * job.groups;
  const int64_t step = job.summed == Summed::kByOwner ? job.groups : tasks;
  R* lanes = static_cast<R*>(__builtin_alloca(sizeof(R) * (entries * kLanes + 1)));
  for (int64_t k = 0; k < entries * kLanes; ++k) lanes[k] = 0;
  with_kernel<R, D>(job, [&](auto& point, R*) {
    for (int64_t task = begin; task < end; ++task)
      for (int64_t at = task; at < tasks; at += step) {
        const int64_t n = at / job.groups, group = at % job.groups;
        if (job.affine && !job.shrinks(n)) continue;
        const Place place{job.stretch_sums ? job.stretch_sums + at * D * D : nullptr,
                          job.fill_sums ? job.fill_sums + at * call.channels : nullptr};
        const Frame<R> frame = frame_of<R>(job, n);
        for (int64_t t = group * kGroup; t < job.last_tile(group); ++t) {
          Coordinates<R, D> coordinates(job, n, frame, job.tile(t));
          Lanes<R> grad[D];
          gather_tile(point, n, job.tile(t), coordinates.pixel, place, grad);
          if (call.grad_coordinates) coordinates.transpose(job, n, frame, grad, lanes);
        }
        add_lanes(lanes, entries, job.matrix_sums ? job.matrix_sums + at * entries : nullptr);
      }
  });
}

// A task is a strip of an image, of all its channels.
template <class R, int D>
void scatter(const Job& given, int64_t begin, int64_t end) {
  const Antialias& job = antialias_of(given);
  const Call& call = job.call;
  with_kernel<R, D>(job, [&](auto& point, R*) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / job.strips, low = task % job.strips * job.strip_rows;
      const int64_t high = low + job.strip_rows, rows = call.source[D - 1];
      const Range strip{low, high < rows ? high : rows};
      R* grads = planes_at<R>(call.grad_image, call.image, b);
      for (int64_t n = b * served(call); n < (b + 1) * served(call); ++n) {
        if (!job.by_points(n)) continue;
        const Frame<R> frame = frame_of<R>(job, n);
        for (int64_t t = 0; t < job.tiles; ++t) {
          const Tile tile = job.tile(t);
          const Coordinates<R, D> coordinates(job, n, frame, tile);
          const R* from = planes_at<R>(call.grad_data, call.output, n) + tile.start;
          each_point(job, n, tile, coordinates.pixel, point, [&](int64_t i, bool lives) {
            if (lives) point.add(from + i, call.output.channel, strip, grads);
          });
        }
      }
    }
  });
}

template <class R, int D>
constexpr AntialiasPasses kPasses{prepare<R>,      forward_rows<R>, forward<R, D>,
                                  gather<R, D>, scatter_rows<R>, scatter<R, D>};

}  // namespace

AntialiasPasses antialias_passes(const Call& call, STN_REAL) {
  return call.ndim == 2 ? kPasses<STN_REAL, 2> : kPasses<STN_REAL, 3>;
}

}  // namespace STN_ISA
