// Points that follow a velocity, affine on every simplex of Kuhn's tessellation, by the midpoint
// rule, and the gradients: of one instruction set and for numbers STN_REAL.
//
// Points are followed side by side. Backward keeps where the velocity was read on the way there.
#include "call.h"
#include "job.h"

namespace STN_ISA {
namespace {

constexpr int kSide = 32;  // points followed side by side

template <class R, int D>
struct Points {
  R at[D][kSide];
};

// Where points lie among the simplices: the first number of each one's row, and fractions of a cell.
template <class R, int D>
struct Place {
  int32_t row[kSide];
  R f[D][kSide];
};

template <class R, int D>
class Field {
 public:
  static constexpr int kRow = D + D * D;  // the velocity at a cell's first vertex; slopes along axes

  explicit Field(const Flow& flow) : flow_(flow) {}

  void find(const Points<R, D>& p, Place<R, D>& place) const {
    R cell[D][kSide];
    int32_t index[kSide] = {};
    for (int a = D - 1; a >= 0; --a) {
      const R end = R(flow_.cells[a]);
      const int32_t cells = int32_t(flow_.cells[a]);
      for (int j = 0; j < kSide; ++j) {
        const R x = p.at[a][j];
        const R known = x > 0 ? (x < end ? x : end) : R(0);  // 0 for NaN
        int32_t c = int32_t(known);
        c = c < cells - 1 ? c : cells - 1;
        cell[a][j] = R(c);
        index[j] = index[j] * cells + c;
      }
      for (int j = 0; j < kSide; ++j) {
        const R x = p.at[a][j];
        const R inside = x < 0 ? R(0) : x > end ? end : x;  // NaN stays
        place.f[a][j] = inside - cell[a][j];
      }
    }
    constexpr int kPairs = D * (D - 1) / 2;
    for (int j = 0; j < kSide; ++j) index[j] <<= kPairs;
    int bit = 0;
    for (int a = 0; a < D; ++a)
      for (int b = a + 1; b < D; ++b, ++bit)
        for (int j = 0; j < kSide; ++j)
          index[j] += int32_t(place.f[a][j] >= place.f[b][j]) << bit;
    for (int j = 0; j < kSide; ++j) place.row[j] = index[j] * kRow;
  }

  void read(const R* rows, const Place<R, D>& place, Points<R, D>& v) const {
    for (int a = 0; a < D; ++a) {
      for (int j = 0; j < kSide; ++j) v.at[a][j] = rows[place.row[j] + a];
      for (int b = 0; b < D; ++b)
        for (int j = 0; j < kSide; ++j)
          v.at[a][j] += place.f[b][j] * rows[place.row[j] + (b + 1) * D + a];
    }
  }

  // Adds the gradient `v` of what was read to `sums`, and returns that to the points.
  void add(const R* rows, const Points<R, D>& p, const Points<R, D>& v, double* sums,
           Points<R, D>& to) const {
    Place<R, D> place;
    find(p, place);
    for (int b = 0; b < D; ++b) {
      const R end = R(flow_.cells[b]);
      for (int j = 0; j < kSide; ++j) to.at[b][j] = 0;
      for (int a = 0; a < D; ++a)
        for (int j = 0; j < kSide; ++j)
          to.at[b][j] += v.at[a][j] * rows[place.row[j] + (b + 1) * D + a];
      for (int j = 0; j < kSide; ++j)
        to.at[b][j] = p.at[b][j] >= 0 && p.at[b][j] <= end ? to.at[b][j] : R(0);
    }
    for (int j = 0; sums && j < kSide; ++j) {
      double* sum = sums + place.row[j];
      for (int a = 0; a < D; ++a) sum[a] += v.at[a][j];
      for (int b = 0; b < D; ++b)
        for (int a = 0; a < D; ++a) sum[(b + 1) * D + a] += v.at[a][j] * place.f[b][j];
    }
  }

 private:
  const Flow& flow_;
};

template <class R, int D>
void plus(const Points<R, D>& a, const Points<R, D>& b, R share, Points<R, D>& to) {
  for (int k = 0; k < D; ++k)
    for (int j = 0; j < kSide; ++j) to.at[k][j] = a.at[k][j] + b.at[k][j] * share;
}

template <class R, int D>
void load(const R* from, int64_t stride, int64_t first, int64_t count, Points<R, D>& to) {
  for (int a = 0; a < D; ++a)
    for (int64_t j = 0; j < kSide; ++j)
      to.at[a][j] = j < count ? from[a * stride + first + j] : R(0);
}

template <class R, int D>
void store(const Points<R, D>& from, int64_t stride, int64_t first, int64_t count, R* to) {
  for (int a = 0; a < D; ++a)
    for (int64_t j = 0; j < count; ++j) to[a * stride + first + j] = from.at[a][j];
}

// Follows points; keeps where the velocity was read, if there is room.
template <class R, int D>
void follow(const Flow& flow, const R* rows, const Points<R, D>& start, Points<R, D>& moved,
            Points<R, D>* kept) {
  const Field<R, D> field(flow);
  Points<R, D> p, v;
  Place<R, D> place;
  for (int a = 0; a < D; ++a)
    for (int j = 0; j < kSide; ++j) moved.at[a][j] = 0;
  for (int64_t s = 0; s < flow.steps; ++s) {
    plus(start, moved, R(1), p);
    if (kept) kept[2 * s] = p;
    field.find(p, place);
    field.read(rows, place, v);
    plus(moved, v, R(0.5), p);
    plus(start, p, R(1), p);
    if (kept) kept[2 * s + 1] = p;
    field.find(p, place);
    field.read(rows, place, v);
    plus(moved, v, R(1), moved);
  }
}

// A task is a part of a sample's points.
template <class R, int D>
void flow_points(const Flow& flow, int64_t begin, int64_t end) {
  constexpr int kRow = Field<R, D>::kRow;
  const Field<R, D> field(flow);
  Points<R, D>* kept = nullptr;
  if (flow.grad) {
    kept = static_cast<Points<R, D>*>(__builtin_malloc(2 * flow.steps * sizeof(Points<R, D>)));
    if (!kept) {
      __atomic_store_n(flow.failed, 1, __ATOMIC_RELAXED);
      return;
    }
  }
  const int64_t K = flow.points, blocks = (K + kSide - 1) / kSide;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t n = task / flow.parts, part = task % flow.parts;
    const R* rows = static_cast<const R*>(flow.rows) + n * flow.simplices * kRow;
    const R* from = static_cast<const R*>(flow.start) + (flow.start_batch > 1 ? n * D * K : 0);
    double* sums = flow.sums ? flow.sums + task * flow.simplices * kRow : nullptr;
    for (int64_t block = blocks * part / flow.parts; block < blocks * (part + 1) / flow.parts;
         ++block) {
      const int64_t first = block * kSide, count = K - first < kSide ? K - first : kSide;
      Points<R, D> start, moved;
      load(from, K, first, count, start);
      follow(flow, rows, start, moved, kept);
      if (!flow.grad) {
        store(moved, K, first, count, static_cast<R*>(flow.moved) + n * D * K);
        continue;
      }
      Points<R, D> g, half, to, total;
      load(static_cast<const R*>(flow.grad) + n * D * K, K, first, count, g);
      for (int a = 0; a < D; ++a)
        for (int j = 0; j < kSide; ++j) total.at[a][j] = 0;
      for (int64_t s = flow.steps - 1; s >= 0; --s) {
        field.add(rows, kept[2 * s + 1], g, sums, to);
        plus(g, to, R(1), g);
        plus(total, to, R(1), total);
        for (int a = 0; a < D; ++a)
          for (int j = 0; j < kSide; ++j) half.at[a][j] = to.at[a][j] * R(0.5);
        field.add(rows, kept[2 * s], half, sums, to);
        plus(g, to, R(1), g);
        plus(total, to, R(1), total);
      }
      if (flow.moved) store(total, K, first, count, static_cast<R*>(flow.moved) + n * D * K);
    }
  }
  __builtin_free(kept);
}

}  // namespace

FlowRun flow_of(const Flow& flow, STN_REAL) {
  if (flow.ndim == 1) return flow_points<STN_REAL, 1>;
  return flow.ndim == 2 ? flow_points<STN_REAL, 2> : flow_points<STN_REAL, 3>;
}

}  // namespace STN_ISA
