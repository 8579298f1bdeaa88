// Sums over the taps of one point: rows of the copy are added first, then their columns.
#pragma once
#include "padded.h"
#include "weights.h"

namespace STN_ISA {
namespace {

// How a row of taps is read: kSide channels of a tap side by side, kCount rows of kValues.
template <int Side, int Values, int Count>
struct Shape {
  static constexpr int kSide = Side, kValues = Values, kCount = Count;
};

// Calls use(shape) for a call's channels and taps.
template <class Use>
STN_INLINE void with_shape(const Wide& wide, Use use) {
  const int64_t taps = wide.call.taps;
  if (wide.side == 16) return use(Shape<16, 16, 1>());
  if (wide.side == 4) {
    if (taps <= 4) return use(Shape<4, 16, 1>());
    if (taps <= 8) return use(Shape<4, 16, 2>());
    return use(Shape<4, 16, 3>());
  }
  if (taps <= 4) return use(Shape<1, 4, 1>());
  if (taps <= 8) return use(Shape<1, 8, 1>());
  return use(Shape<1, 16, 1>());
}

// Of a point, how its taps lie in memory.
struct Steps {
  int64_t taps, row, plane;  // values from a row to the next, and from a plane

  Steps(const Wide& wide, int64_t width, int64_t height)
      : taps(wide.call.taps), row(width * wide.side), plane(width * height * wide.side) {}
  explicit Steps(const Wide& wide) : Steps(wide, wide.extent[0], wide.extent[1]) {}
};

template <class Axes>
STN_INLINE int64_t start_of(const Wide& wide, const Axes& axis, int64_t i) {
  const int64_t last = wide.call.ndim > 2 ? int64_t(axis[wide.call.ndim - 1].start[i]) : 0;
  const int64_t row = last * wide.extent[1] + axis[1].start[i];
  return (row * wide.extent[0] + axis[0].start[i]) * wide.side;
}

// What points read of a block of an image: its copy, or of few points the taps of one at a time.
template <class R>
class Source {
 public:
  Source(const Wide& wide, int64_t b, int64_t block, R* patch)
      : steps(copied(wide) ? Steps(wide) : Steps(wide, width(wide), wide.call.taps)),
        wide_(wide),
        copy_(copied(wide) ? block_of<R>(wide, wide.values, b, block) : nullptr),
        image_(address(wide.call, wide.call.image_data, wide.call.image, b, block * wide.side)),
        channels_(channels_in(wide, block)),
        patch_(patch) {}

  // Values of a patch.
  static int64_t room(const Wide& wide) {
    if (copied(wide)) return 0;
    const int64_t taps = wide.call.taps;
    return width(wide) * wide.side * taps * (wide.call.ndim > 2 ? taps : 1);
  }

  template <class Axes>
  const R* at(const Axes& axis, int64_t i) const {
    if (copy_) return copy_ + start_of(wide_, axis, i);
    take(axis, i);
    return patch_;
  }

  // Asks for the rows of a point that is read soon, if it is one of the tile.
  template <class Axes>
  STN_ASK void fetch(const Axes& axis, int64_t i) const {
    if (copy_ && i < kTile) ask_rows(copy_ + start_of(wide_, axis, i), steps);
  }

  STN_ASK static void ask_rows(const R* from, const Steps& steps) {
    for (int64_t k = 0; k < steps.taps; ++k, from += steps.row) {
      __builtin_prefetch(from);
      __builtin_prefetch(from + 16);
    }
  }

  const Steps steps;

 private:
  static bool copied(const Wide& wide) { return wide.slabs > 0; }

  // Pixels of a row, with those that vectors read beyond the taps.
  static int64_t width(const Wide& wide) {
    return wide.extent[0] - wide.call.source[0] - wide.call.taps;
  }

  template <class Axis, int D>
  STN_SHARED void take(const Axis (&axis)[D], int64_t i) const {
    const Call& call = wide_.call;
    constexpr bool deep = D > 2;
    const int32_t* xs = call.read_data + axis[0].start[i];
    const int32_t* ys = read_of(call, 1) + axis[1].start[i];
    const int32_t* zs = deep ? read_of(call, 2) + axis[D - 1].start[i] : nullptr;
    __builtin_memset(patch_, 0, room(wide_) * sizeof(R));
    for (int64_t z = 0; z < (deep ? steps.taps : 1); ++z)
      for (int64_t y = 0; y < steps.taps; ++y)
        for (int64_t x = 0; x < steps.taps; ++x) {
          const int64_t slice = deep ? zs[z] : 0;
          if (xs[x] < 0 || ys[y] < 0 || slice < 0) continue;
          const int64_t pixel = (slice * call.source[1] + ys[y]) * call.source[0] + xs[x];
          const char* from = image_ + pixel * call.image.pixel * size_of(call);
          R* to = patch_ + z * steps.plane + y * steps.row + x * wide_.side;
          as_stored<R>(call, [&](auto zero) {
            const auto* values = typed<decltype(zero)>(from);
            for (int64_t c = 0; c < channels_; ++c) to[c] = widen(values[c * call.image.channel]);
          });
        }
  }

  const Wide& wide_;
  const R* copy_;
  const char* image_;
  int64_t channels_;
  R* patch_;
};

// Σ over rows of weight × row; with kSlopes also of slope × row.
template <bool kSlopes, class R, int V, int N>
STN_INLINE void add_rows(const R* from, const Steps& steps, const R* weight, const R* slope,
                         Row<R, V> (&sum)[N], Row<R, V> (&change)[N]) {
  for (int64_t k = 0; k < steps.taps; ++k, from += steps.row) {
    const R w = weight[k * kTile], s = kSlopes ? slope[k * kTile] : 0;
    STN_UNROLL
    for (int n = 0; n < N; ++n) {
      Row<R, V> row;
      load_row(from + n * V, row);
      add_scaled(sum[n], row, w);
      if (kSlopes) add_scaled(change[n], row, s);
    }
  }
}

// The columns of a point: sums over all axes but x, of values, and with kSlopes of their slopes
// along every such axis.
template <bool kSlopes, int D, class R, int V, int N>
STN_INLINE void columns_of(const WideAxis<R, kSlopes> (&axis)[D], int64_t i, const Steps& steps,
                           const R* from, Row<R, V> (&sum)[D][N]) {
  STN_UNROLL
  for (int a = 0; a < (kSlopes ? D : 1); ++a) {
    STN_UNROLL
    for (int n = 0; n < N; ++n) fill_row(sum[a][n], R(0));
  }
  const R* slope = kSlopes ? &axis[1].slope[0][i] : nullptr;
  if constexpr (D == 2) {
    return add_rows<kSlopes>(from, steps, &axis[1].weight[0][i], slope, sum[0], sum[1]);
  } else {
    for (int64_t z = 0; z < steps.taps; ++z, from += steps.plane) {
      Row<R, V> plane[2][N];
      STN_UNROLL
      for (int n = 0; n < N; ++n) {
        fill_row(plane[0][n], R(0));
        fill_row(plane[1][n], R(0));
      }
      add_rows<kSlopes>(from, steps, &axis[1].weight[0][i], slope, plane[0], plane[1]);
      const R w = axis[2].weight[z][i];
      STN_UNROLL
      for (int n = 0; n < N; ++n) {
        add_scaled(sum[0][n], plane[0][n], w);
        if constexpr (kSlopes) {
          add_scaled(sum[1][n], plane[1][n], w);
          add_scaled(sum[2][n], plane[0][n], axis[2].slope[z][i]);
        }
      }
    }
  }
}

// Σ over columns of weight × column: of a tap's channels, or of one channel in four parts.
template <class S, class R, int V, int N>
STN_INLINE Quad<R> across(const Row<R, V> (&column)[N], const R* weight) {
  Row<R, V> total;
  fill_row(total, R(0));
  STN_UNROLL
  for (int n = 0; n < N; ++n) {
    if constexpr (S::kSide == 4) {
      add_product(total, column[n], each_four_times(weight + 4 * n));
    } else {
      Row<R, V> weights;
      load_row(weight, weights);
      add_product(total, column[n], weights);
    }
  }
  return folded(total);
}

// The sum over the taps of a point: all channels of a block.
template <class S, class R, int D>
STN_INLINE void sum_point(const WideTaps<R, D, false>& taps, int64_t i, const Steps& steps,
                          const R* from, R* out) {
  constexpr int V = S::kValues, N = S::kCount;
  Row<R, V> column[D][N];
  if constexpr (S::kSide == 16) {
    Row<R, V> total;
    fill_row(total, R(0));
    for (int64_t k = 0; k < steps.taps; ++k) {
      columns_of<false>(taps.axis, i, steps, from + k * 16, column);
      add_scaled(total, column[0][0], taps.axis[0].weight[k][i]);
    }
    store_row(total, out);
  } else {
    columns_of<false>(taps.axis, i, steps, from, column);
    const Quad<R> total = across<S>(column[0], taps.across[i]);
    if constexpr (S::kSide == 4)
      store_block(total, out);
    else
      *out = sum_of<R>(total);
  }
}

// Eq. 7 for the taps of a point: per axis, Σ over channels of gradient × slope, in four parts.
template <class S, class R, int D>
STN_INLINE void slopes_of(const WideTaps<R, D, true>& taps, int64_t i, const Steps& steps,
                          const R* from, const R* grad, Quad<R> (&slopes)[D]) {
  constexpr int V = S::kValues, N = S::kCount;
  Row<R, V> column[D][N];
  if constexpr (S::kSide == 16) {
    Row<R, V> total[D], g;
    STN_UNROLL
    for (int a = 0; a < D; ++a) fill_row(total[a], R(0));
    for (int64_t k = 0; k < steps.taps; ++k) {
      columns_of<true>(taps.axis, i, steps, from + k * 16, column);
      STN_UNROLL
      for (int a = 0; a < D; ++a) {
        const auto& along = a ? taps.axis[0].weight[k] : taps.axis[0].slope[k];
        add_scaled(total[a], column[a][0], along[i]);
      }
    }
    load_row(grad, g);
    STN_UNROLL
    for (int a = 0; a < D; ++a) slopes[a] += folded(product(total[a], g));
  } else {
    columns_of<true>(taps.axis, i, steps, from, column);
    Quad<R> g = Quad<R>{} + grad[0];
    if constexpr (S::kSide == 4) load_block(grad, g);
    slopes[0] += across<S>(column[0], taps.across_slope[i]) * g;
    STN_UNROLL
    for (int a = 1; a < D; ++a) slopes[a] += across<S>(column[a], taps.across[i]) * g;
  }
}

// Eq. 6 for the taps of a point: weight × gradient is added, in some rows of the slowest axis.
template <class S, class R, int D>
STN_INLINE void add_point(const WideTaps<R, D, false>& taps, int64_t i, const Steps& steps, R* to,
                          const R* grad, Range rows) {
  constexpr int V = S::kValues, N = S::kCount;
  const int64_t turns = S::kSide == 16 ? steps.taps : 1;
  for (int64_t k = 0; k < turns; ++k, to += 16) {
    Row<R, V> share[N], row;
    STN_UNROLL
    for (int n = 0; n < N; ++n) {
      fill_row(share[n], R(0));
      Row<R, V> g;
      if constexpr (S::kSide == 4) {
        add_product(share[n], each_four_times(taps.across[i] + 4 * n), four_times(grad));
      } else if constexpr (S::kSide == 16) {
        load_row(grad, g);
        add_scaled(share[n], g, taps.axis[0].weight[k][i]);
      } else {
        load_row(taps.across[i], g);
        add_scaled(share[n], g, grad[0]);
      }
    }
    const auto& slow = taps.axis[D - 1];
    for (int64_t z = rows.low; z < rows.high; ++z)
      for (int64_t y = 0; y < (D > 2 ? steps.taps : 1); ++y) {
        const R w = D > 2 ? slow.weight[z][i] * taps.axis[1].weight[y][i] : slow.weight[z][i];
        R* at = to + (D > 2 ? z * steps.plane + y * steps.row : z * steps.row);
        STN_UNROLL
        for (int n = 0; n < N; ++n) {
          load_row(at + n * V, row);
          add_scaled(row, share[n], w);
          store_row(row, at + n * V);
        }
      }
  }
}

}  // namespace
}  // namespace STN_ISA
