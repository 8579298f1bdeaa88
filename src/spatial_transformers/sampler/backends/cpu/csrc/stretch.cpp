// P = max(√(JJᵀ), 1) by the eigenvalues of JJᵀ, and its slopes after Daleckii and Krein.
#include "stretch.h"

#include <cmath>

namespace {

constexpr double kSteepest = 1000;   // source pixels per step; more is beyond every cap
constexpr double kShrinks = 1.001;   // eigenvalues below may be 1 but for rounding
constexpr double kEqual = 1e-3;      // eigenvalues so near count as one
constexpr int kSweeps = 8;           // of rotations

using Matrix = double[3][3];

struct Eigen {
  double values[3];
  Matrix vectors;  // in columns
};

double limited(double x) {
  return !(x - x == 0) ? (x < 0 ? -kSteepest : kSteepest)
                       : x > kSteepest ? kSteepest : x < -kSteepest ? -kSteepest : x;
}

double clamped(double x, double most) { return x < 1 ? 1 : x > most ? most : x; }

void rotate(Matrix& a, Matrix& vectors, int64_t ndim, int64_t i, int64_t j) {
  if (a[i][j] == 0) return;
  const double slope = (a[j][j] - a[i][i]) / (2 * a[i][j]);
  const double steep = std::fabs(slope) + std::sqrt(slope * slope + 1);
  const double t = slope < 0 ? -1 / steep : 1 / steep, c = 1 / std::sqrt(t * t + 1), s = t * c;
  for (int64_t k = 0; k < ndim; ++k) {
    const double p = a[k][i], q = a[k][j];
    a[k][i] = c * p - s * q;
    a[k][j] = s * p + c * q;
  }
  for (int64_t k = 0; k < ndim; ++k) {
    const double p = a[i][k], q = a[j][k];
    a[i][k] = c * p - s * q;
    a[j][k] = s * p + c * q;
    const double v = vectors[k][i], w = vectors[k][j];
    vectors[k][i] = c * v - s * w;
    vectors[k][j] = s * v + c * w;
  }
}

// Of JJᵀ, J limited.
Eigen eigen_of(const Spacing& spacing, int64_t ndim) {
  Matrix a = {};
  Eigen eigen{};
  for (int64_t r = 0; r < ndim; ++r) {
    eigen.vectors[r][r] = 1;
    for (int64_t c = 0; c < ndim; ++c)
      for (int64_t k = 0; k < ndim; ++k)
        a[r][c] += limited(spacing.at[r][k]) * limited(spacing.at[c][k]);
  }
  for (int sweep = 0; sweep < kSweeps; ++sweep)
    for (int64_t i = 0; i < ndim; ++i)
      for (int64_t j = i + 1; j < ndim; ++j) rotate(a, eigen.vectors, ndim, i, j);
  for (int64_t r = 0; r < ndim; ++r) eigen.values[r] = a[r][r];
  return eigen;
}

// V diag(f) Vᵀ.
void compose(const Eigen& eigen, int64_t ndim, const double (&f)[3], Matrix& to) {
  for (int64_t r = 0; r < ndim; ++r)
    for (int64_t c = 0; c < ndim; ++c) {
      to[r][c] = 0;
      for (int64_t k = 0; k < ndim; ++k)
        to[r][c] += eigen.vectors[r][k] * f[k] * eigen.vectors[c][k];
    }
}

// The divided difference f[a, b] of f(λ) = 1/√clamp(λ, 1, most).
double difference(double a, double b, double most) {
  const double within = clamped(a, most), other = clamped(b, most);
  const double slope = within == a ? 1 : 0;
  const double share = std::fabs(a - b) < kEqual ? slope : (within - other) / (a - b);
  return -share / (std::sqrt(within * other) * (std::sqrt(within) + std::sqrt(other)));
}

}  // namespace

Stretch stretch_of(const Spacing& spacing, int64_t ndim, double most) {
  Stretch stretch{};
  if (!spacing.finite) return stretch;  // such a map has no points
  const Eigen eigen = eigen_of(spacing, ndim);
  double root[3] = {}, inverse[3] = {};
  for (int64_t k = 0; k < ndim; ++k) {
    if (eigen.values[k] > kShrinks) stretch.shrinks = 1;
    root[k] = std::sqrt(clamped(eigen.values[k], most * most));
    inverse[k] = 1 / root[k];
  }
  Matrix wide;
  compose(eigen, ndim, root, wide);
  compose(eigen, ndim, inverse, stretch.inverse);
  stretch.separable = 1;
  for (int64_t r = 0; r < ndim; ++r)
    for (int64_t c = 0; c < ndim; ++c) {
      stretch.span[r] += std::fabs(wide[r][c]);
      if (r != c && spacing.at[r][c] != 0) stretch.separable = 0;
    }
  return stretch;
}

void spacing_gradient(const Spacing& spacing, int64_t ndim, double most,
                      const double* inverse_gradient, double (&gradient)[3][3]) {
  const Eigen eigen = eigen_of(spacing, ndim);
  const auto& v = eigen.vectors;
  Matrix turned = {}, squared = {};
  for (int64_t i = 0; i < ndim; ++i)
    for (int64_t j = 0; j < ndim; ++j) {
      for (int64_t a = 0; a < ndim; ++a)
        for (int64_t b = 0; b < ndim; ++b)
          turned[i][j] += v[a][i] * inverse_gradient[a * ndim + b] * v[b][j];
      turned[i][j] *= difference(eigen.values[i], eigen.values[j], most * most);
    }
  for (int64_t a = 0; a < ndim; ++a)
    for (int64_t b = 0; b < ndim; ++b)
      for (int64_t i = 0; i < ndim; ++i)
        for (int64_t j = 0; j < ndim; ++j) squared[a][b] += v[a][i] * turned[i][j] * v[b][j];
  for (int64_t a = 0; a < ndim; ++a)
    for (int64_t c = 0; c < ndim; ++c) {
      gradient[a][c] = 0;
      for (int64_t b = 0; b < ndim; ++b)
        gradient[a][c] += (squared[a][b] + squared[b][a]) * limited(spacing.at[b][c]);
      if (std::fabs(spacing.at[a][c]) > kSteepest) gradient[a][c] = 0;
    }
}
