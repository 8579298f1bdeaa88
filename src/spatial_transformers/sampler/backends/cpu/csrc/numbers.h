// Numbers as images store them, and as they are computed with.
#pragma once
#include "call.h"

namespace STN_ISA {
namespace {

struct Bfloat16 {
  uint16_t bits;
};

inline float widen(float v) { return v; }
inline double widen(double v) { return v; }
inline float widen(_Float16 v) { return float(v); }
inline float widen(Bfloat16 v) {
  const uint32_t bits = uint32_t(v.bits) << 16;
  float wide;
  __builtin_memcpy(&wide, &bits, sizeof wide);
  return wide;
}

inline void narrow(float v, float& out) { out = v; }
inline void narrow(double v, double& out) { out = v; }
inline void narrow(float v, _Float16& out) { out = _Float16(v); }
inline void narrow(float v, Bfloat16& out) {  // to nearest, halves to even
  uint32_t bits;
  __builtin_memcpy(&bits, &v, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  out.bits = uint16_t(v == v ? rounded : (bits >> 16 | 0x40));
}

inline Dtype dtype_of(float) { return kFloat32; }
inline Dtype dtype_of(double) { return kFloat64; }

template <class S>
using Work = decltype(widen(S()));

// Calls use(S()) for the type S in which a call's values are stored, of those computed with as R.
template <class R, class Use>
inline void as_stored(const Call& call, Use use) {
  if constexpr (sizeof(R) == sizeof(double))
    use(double());
  else if (call.dtype == kFloat16)
    use(_Float16());
  else if (call.dtype == kBfloat16)
    use(Bfloat16());
  else
    use(float());
}

template <class R>
constexpr R largest = R(3.4028234663852886e38);
template <>
constexpr double largest<double> = 1.7976931348623157e308;

#if defined(__SSE2__) && !defined(__SSE4_1__)  // which has no such instruction
inline float floor_of(float x) {
  const bool small = x < 8388608 && x > -8388608;
  const float whole = float(int32_t(small ? x : 0));
  return small ? (whole > x ? whole - 1 : whole) : x;
}
inline float even(float x) {
  const float size = x < 0 ? -x : x, whole = (size + 8388608) - 8388608;
  return size < 8388608 ? (x < 0 ? -whole : whole) : x;
}
#else
inline float floor_of(float x) { return __builtin_floorf(x); }
inline float even(float x) { return __builtin_rintf(x); }
#endif
inline double floor_of(double x) { return __builtin_floor(x); }
inline double even(double x) { return __builtin_rint(x); }

template <class R>
inline R magnitude(R x) {
  return x < 0 ? -x : x;
}

template <class R>
inline bool finite(R x) {
  return x - x == 0;
}

// The largest number in place of an infinite one; NaN stays.
template <class R>
inline R saturated(R x) {
  return x > largest<R> ? largest<R> : x < -largest<R> ? -largest<R> : x;
}

template <class R>
inline R nan() {
  return R(__builtin_nanf(""));
}

}  // namespace
}  // namespace STN_ISA
