// A kernel at any distance: polynomials of |d|, piece by piece, for kernels that are widened.
#pragma once
#include "rows.h"

namespace STN_ISA {
namespace {

constexpr int kAcross = 8;  // taps of a row that are weighed side by side
constexpr int kMostPieces = 6, kMostPieceTerms = 30;

template <class R>
using Taps8 = Row<R, kAcross>;

#define parts8(p) for (int p = 0; p < Taps8<R>::kParts; ++p)

// A kernel in the numbers that are computed with. `Call::kernel_data` has, per piece, the terms of
// the weight and of its slope; and last the weight at the end of the support.
template <class R>
struct Pieces {
  int64_t count, degree;
  R support, middle;  // middle: of the first piece; the others follow at a distance of 1 each
  bool closed;        // whether there is a weight at the end of the support itself
  R weight[kMostPieces][kMostPieceTerms], slope[kMostPieces][kMostPieceTerms];
  // Of one piece of degree 1, and of two of degree 3 that are smooth: the terms, of 2 and 3 or of 1,
  // that join at the end of each piece, of the distance to there.
  R outer[2], inner[2];

  explicit Pieces(const Call& call)
      : count((call.taps + 1) / 2),
        degree(call.degree),
        support(R(call.taps) / 2),
        middle(call.taps % 2 ? R(0) : R(0.5)) {
    const double* from = call.kernel_data;
    for (int64_t k = 0; k < count; ++k) {
      for (int64_t p = 0; p <= degree; ++p) weight[k][p] = R(*from++);
      for (int64_t p = 0; p <= degree; ++p) slope[k][p] = R(*from++);
    }
    closed = *from != 0;
    if (degree == 3) join(call.kernel_data);
    if (degree == 1) outer[0] = R(-call.kernel_data[1]);
  }

 private:
  void join(const double* terms) {
    double first[2], second[2], next[2];
    around(terms, 0.5, first);        // the first piece, and the second, at its end
    around(terms + 8, -0.5, second);
    around(terms + 8, 0.5, next);     // the second at its own
    for (int k = 0; k < 2; ++k) outer[k] = R(next[k]), inner[k] = R(first[k] - second[k]);
  }

  // The terms of degree 2 and 3 of p(at - t).
  static void around(const double* terms, double at, double (&to)[2]) {
    to[0] = terms[2] + 3 * terms[3] * at;
    to[1] = -terms[3];
  }
};

// The code for so many pieces of such a degree; 0: of any.
template <int Count, int Degree>
struct Form {
  static constexpr int kCount = Count, kDegree = Degree;
};

// Calls use(form) for a kernel.
template <class R, class Use>
STN_INLINE void with_form(const Pieces<R>& kernel, Use use) {
  if (kernel.count == 1 && kernel.degree == 1) return use(Form<1, 1>());
  if (kernel.count == 2 && kernel.degree == 3) return use(Form<2, 3>());
  return use(Form<0, 0>());
}

// The polynomials of all pieces at their places |d|, without an end.
template <class F, class R, class P>
STN_INLINE P piecewise(const Pieces<R>& kernel, const R (&terms)[kMostPieces][kMostPieceTerms],
                       const P& size) {
  const int64_t count = F::kCount ? F::kCount : kernel.count;
  const int64_t degree = F::kDegree ? F::kDegree : kernel.degree;
  P result = {};
  for (int64_t k = 0; k < count; ++k) {
    const R middle = kernel.middle + R(k);
    const P place = size - middle;
    P total = P{} + terms[k][degree];
    for (int64_t p = degree - 1; p >= 0; --p) total = total * place + terms[k][p];
    result = k ? (size >= middle - R(0.5) ? total : result) : total;
  }
  return result;
}

template <class P>
STN_INLINE P size_of_each(const P& d) {
  using Bits = decltype(d < d);
  const P sign = -P{};
  return P(Bits(d) & ~Bits(sign));
}

template <class P>
STN_INLINE P above_zero(const P& d) {
  return d > P{} ? d : P{};
}

// The weights at distances from 0 on.
template <class F, class R, class P>
STN_INLINE P weight_at(const Pieces<R>& kernel, const P& size) {
  if constexpr (F::kDegree == 1) {
    return above_zero(R(1) - size) * kernel.outer[0];
  } else if constexpr (F::kDegree == 3) {
    const P t = above_zero(R(2) - size), s = above_zero(R(1) - size);
    return t * t * (t * kernel.outer[1] + kernel.outer[0]) +
           s * s * (s * kernel.inner[1] + kernel.inner[0]);
  } else {
    const P found = piecewise<F>(kernel, kernel.weight, size), none = {};
    return kernel.closed ? (size <= kernel.support ? found : none)
                         : (size < kernel.support ? found : none);
  }
}

// And their slopes: the right-hand ones at kinks.
template <class F, class R, class P>
STN_INLINE P slope_at(const Pieces<R>& kernel, const P& size) {
  if constexpr (F::kDegree == 3) {
    const P t = above_zero(R(2) - size), s = above_zero(R(1) - size);
    return -(t * (t * (3 * kernel.outer[1]) + 2 * kernel.outer[0]) +
             s * (s * (3 * kernel.inner[1]) + 2 * kernel.inner[0]));
  } else {
    const P found = piecewise<F>(kernel, kernel.slope, size), none = {};
    return size <= kernel.support ? found : none;
  }
}

template <class F, class R>
STN_INLINE Taps8<R> weights_at(const Pieces<R>& kernel, const Taps8<R>& distance) {
  Taps8<R> result;
  STN_UNROLL
  parts8(p) result.part[p] = weight_at<F>(kernel, size_of_each(distance.part[p]));
  return result;
}

template <class F, class R>
STN_INLINE Taps8<R> slopes_at(const Pieces<R>& kernel, const Taps8<R>& distance) {
  Taps8<R> result;
  STN_UNROLL
  parts8(p) {
    const auto d = distance.part[p], slope = slope_at<F>(kernel, size_of_each(d));
    result.part[p] = d < R(0) ? -slope : slope;
  }
  return result;
}

// 0, 1, …, 7, from a number on, times a factor.
template <class R>
STN_INLINE Taps8<R> steps_from(R first, R step) {
  alignas(64) R at[kAcross];
  for (int i = 0; i < kAcross; ++i) at[i] = first + step * R(i);
  Taps8<R> row;
  load_row(at, row);
  return row;
}

// The same for one number after the other.
template <class F, class R>
STN_INLINE void weights_along(const Pieces<R>& kernel, R first, R step, int64_t count, R* weights,
                              R* slopes) {
  for (int64_t k = 0; k < count; k += kAcross) {
    const Taps8<R> distance = steps_from(first + step * R(k), step);
    store_row(weights_at<F>(kernel, distance), weights + k);
    if (slopes) store_row(slopes_at<F>(kernel, distance), slopes + k);
  }
}

#undef parts8

}  // namespace
}  // namespace STN_ISA
