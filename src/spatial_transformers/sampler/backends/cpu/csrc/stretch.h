// How far kernels widen where an affine map shrinks: `sampler/antialias.py`, of one matrix.
#pragma once
#include "call.h"

// Of one map. Callers keep these numbers between passes, in this order.
struct Stretch {
  double shrinks;        // 1 or 0: whether kernels widen at all
  double separable;      // 1 or 0: whether the map keeps the axes, so that they widen along these
  double inverse[3][3];  // P⁻¹, which multiplies distances in source pixels
  double span[3];        // the sums of the rows of |P|
};

// J, the source pixels that a step of the target covers, of matrix `m` of a call.
struct Spacing {
  double at[3][3];
  bool finite;  // all of the matrix
};

template <class R>
Spacing spacing_of(const Call& call, const R* m) {
  Spacing spacing{};
  spacing.finite = true;
  for (int64_t r = 0; r < call.ndim; ++r)
    for (int64_t c = 0; c <= call.ndim; ++c) {
      const double entry = m[r * call.columns + c];
      spacing.finite &= entry - entry == 0;
      if (c < call.ndim) spacing.at[r][c] = entry * call.factor[r][c];
    }
  return spacing;
}

Stretch stretch_of(const Spacing&, int64_t ndim, double most);

// The gradient to J of that to P⁻¹ (ndim, ndim).
void spacing_gradient(const Spacing&, int64_t ndim, double most, const double* inverse_gradient,
                      double (&gradient)[3][3]);
