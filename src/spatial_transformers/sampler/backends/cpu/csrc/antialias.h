// A call of kernels that widen: what its passes need beside a job.
//
// Images are planes of numbers that are computed with. Of maps that keep the axes, the weights of
// every row and column are kept in tables, and images are read in two passes; of others every point
// weighs its own taps.
#pragma once
#include "job.h"
#include "stretch.h"

constexpr int kBand = 16;  // rows of the target that are computed side by side

struct Antialias : Job {
  bool affine;          // every map has one stretch; otherwise every point has one
  bool has_tables, has_points;  // whether some maps have tables, and whether some have not
  int64_t reach;        // pixels that a kernel reaches along an axis, at most
  int64_t lines, taps;  // of a table: rows or columns, and taps of one of them
  // Per map and axis: how many taps a line has, which pixels they read with what weight, the share
  // of the weights that read a pixel, and the first and one past the last of the pixels.
  int32_t *counts, *pixels_read, *bounds;
  void *weights, *shares;
  double* stretch_sums;  // per image and place, of the gradient to P⁻¹

  const Stretch& stretch(int64_t n) const {
    const int64_t map = call.coordinates_batch > 1 ? n : 0;
    return static_cast<const Stretch*>(call.stretch_data)[map];
  }
  bool shrinks(int64_t n) const { return stretch(n).shrinks != 0; }
  bool separable(int64_t n) const { return affine && shrinks(n) && stretch(n).separable != 0; }
  bool by_points(int64_t n) const { return !affine || (shrinks(n) && !stretch(n).separable); }
};

inline const Antialias& antialias_of(const Job& job) { return static_cast<const Antialias&>(job); }

struct AntialiasPasses {
  Run prepare, forward_rows, forward, gather, scatter_rows, scatter;
};
