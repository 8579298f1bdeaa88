// What lies outside, for coordinates along one axis: `sampler/padding.py` in lanes.
#pragma once
#include "call.h"
#include "lanes.h"

namespace STN_ISA {
namespace {

inline bool fills(int64_t padding) {  // nothing is read outside
  return padding == kZeros || padding == kConstant || padding == kRenormalise;
}

template <class R>
inline R remainder_of(R x, R n) {
  const R rest = sizeof(R) == 4 ? R(__builtin_fmodf(float(x), float(n))) : R(__builtin_fmod(x, n));
  return rest < 0 ? rest + n : rest;
}

// Folds the axis at low and at low + span. The slope, if any, gets the sign of the fold's.
template <class R>
void reflect(Lanes<R>& x, R low, R span, Lanes<R>* slope) {
  if (span == 0) {
    each(i) x[i] = 0;
    if (slope) each(i) (*slope)[i] = 0;
    return;
  }
  each(i) {
    const R offset = x[i] - low, distance = offset < 0 ? -offset : offset;
    const R folds = floor_of(distance / span), rest = distance - folds * span;
    const bool odd = folds - 2 * floor_of(folds / 2) == 1;
    x[i] = (odd ? span - rest : rest) + low;
    if (slope) (*slope)[i] *= offset == 0 ? R(0) : ((offset < 0) != odd ? R(-1) : R(1));
  }
}

template <class R>
void wrap(Lanes<R>& x, R n) {
  bool inside = true;
  each(i) inside &= x[i] >= 0 && x[i] < n;
  if (!inside) each(i) x[i] = remainder_of(x[i], n);
}

template <class R>
void clip(Lanes<R>& x, R last, Lanes<R>* slope) {
  each(i) {
    const bool within = x[i] > 0 && x[i] < last;
    if (slope) (*slope)[i] = within ? (*slope)[i] : 0;
    x[i] = within ? x[i] : x[i] >= last ? last : 0;
  }
}

// Moves coordinates, of points or of pixels, to what is read in their place.
template <class R>
STN_SHARED void move_inside(const Call& call, int64_t length, Lanes<R>& x, Lanes<R>* slope) {
  const bool corners = call.align_corners;
  if (call.padding == kWrap) return wrap(x, R(length));
  if (call.padding == kReflection)
    reflect(x, corners ? R(0) : R(-0.5), R(corners ? length - 1 : length), slope);
  if (!fills(call.padding)) clip(x, R(length - 1), slope);
}

}  // namespace
}  // namespace STN_ISA
