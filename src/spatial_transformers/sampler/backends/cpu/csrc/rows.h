// Neighbours in memory, in as many vectors as an instruction set needs for them.
//
// Sums over neighbours have one order, whatever the width of vectors: halves are added until four
// are left.
#pragma once
#include "lanes.h"
#include "vectors.h"

namespace STN_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kNative = 64;  // bytes of the widest vectors
#elif defined(__AVX__)
constexpr int kNative = 32;
#else
constexpr int kNative = 16;
#endif

template <class R, int V>
struct Row {
  static constexpr int kBytes = int(V * sizeof(R)) < kNative ? int(V * sizeof(R)) : kNative;
  static constexpr int kParts = int(V * sizeof(R)) / kBytes, kLane = V / kParts;
  typedef R Part __attribute__((vector_size(kBytes)));
  Part part[kParts];
};

#define parts(p) for (int p = 0; p < Row<R, V>::kParts; ++p)

template <class R, int V>
STN_INLINE void load_row(const R* from, Row<R, V>& to) {
  STN_UNROLL
  parts(p) __builtin_memcpy(&to.part[p], from + p * Row<R, V>::kLane, Row<R, V>::kBytes);
}

template <class R, int V>
STN_INLINE void store_row(const Row<R, V>& from, R* to) {
  STN_UNROLL
  parts(p) __builtin_memcpy(to + p * Row<R, V>::kLane, &from.part[p], Row<R, V>::kBytes);
}

template <class R, int V>
STN_INLINE void add_scaled(Row<R, V>& sum, const Row<R, V>& row, R weight) {
  STN_UNROLL
  parts(p) sum.part[p] += row.part[p] * weight;
}

template <class R, int V>
STN_INLINE void add_product(Row<R, V>& sum, const Row<R, V>& a, const Row<R, V>& b) {
  STN_UNROLL
  parts(p) sum.part[p] += a.part[p] * b.part[p];
}

template <class R, int V>
STN_INLINE Row<R, V> product(const Row<R, V>& a, const Row<R, V>& b) {
  Row<R, V> result;
  STN_UNROLL
  parts(p) result.part[p] = a.part[p] * b.part[p];
  return result;
}

// A step of Horner's rule.
template <class R, int V>
STN_INLINE void step(Row<R, V>& total, const Row<R, V>& x, R next) {
  STN_UNROLL
  parts(p) total.part[p] = total.part[p] * x.part[p] + next;
}

template <class R, int V>
STN_INLINE void fill_row(Row<R, V>& row, R value) {
  STN_UNROLL
  parts(p) row.part[p] = typename Row<R, V>::Part{} + value;
}

// Adds halves until four numbers are left.
template <class R, int V>
STN_INLINE Quad<R> folded(const Row<R, V>& row) {
  if constexpr (V == 4) {
    Quad<R> four;
    __builtin_memcpy(&four, &row, sizeof four);
    return four;
  } else if constexpr (Row<R, V>::kParts > 1) {
    Row<R, V / 2> half;
    STN_UNROLL
    for (int p = 0; p < Row<R, V>::kParts / 2; ++p)
      half.part[p] = row.part[p] + row.part[p + Row<R, V>::kParts / 2];
    return folded(half);
  } else {
    Row<R, V / 2> half[2];
    __builtin_memcpy(half, &row, sizeof row);
    half[0].part[0] += half[1].part[0];
    return folded(half[0]);
  }
}

template <class R>
inline R sum_of(const Quad<R>& four) {
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// Each of four numbers four times: a weight per tap, for four channels. As many numbers are read as
// a vector holds: to bring fewer into a wide one, compilers store them.
template <class R>
STN_INLINE Row<R, 16> each_four_times(const R* from) {
  Row<R, 16> row;
  if constexpr (Row<R, 16>::kLane >= 8) {
    typename Row<R, 16>::Part q;
    __builtin_memcpy(&q, from, sizeof q);
    if constexpr (Row<R, 16>::kLane == 16) {
      row.part[0] = __builtin_shufflevector(q, q, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    } else {
      row.part[0] = __builtin_shufflevector(q, q, 0, 0, 0, 0, 1, 1, 1, 1);
      row.part[1] = __builtin_shufflevector(q, q, 2, 2, 2, 2, 3, 3, 3, 3);
    }
  } else {
    STN_UNROLL
    for (int p = 0; p < Row<R, 16>::kParts; ++p)
      row.part[p] = typename Row<R, 16>::Part{} + from[p * Row<R, 16>::kLane / 4];
  }
  return row;
}

// Four numbers, four times over: channels, for four taps.
template <class R>
STN_INLINE Row<R, 16> four_times(const R* from) {
  Row<R, 16> row;
  constexpr int kLane = Row<R, 16>::kLane;
  typename Row<R, 16>::Part q;
  if constexpr (kLane >= 8) __builtin_memcpy(&q, from, sizeof q);
  STN_UNROLL
  for (int p = 0; p < Row<R, 16>::kParts; ++p) {
    if constexpr (kLane == 16)
      row.part[p] = __builtin_shufflevector(q, q, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
    else if constexpr (kLane == 8)
      row.part[p] = __builtin_shufflevector(q, q, 0, 1, 2, 3, 0, 1, 2, 3);
    else
      __builtin_memcpy(&row.part[p], from + p * kLane % 4, sizeof q);
  }
  return row;
}

#undef parts

}  // namespace
}  // namespace STN_ISA
