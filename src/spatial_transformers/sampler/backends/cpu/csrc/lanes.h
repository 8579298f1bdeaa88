// Loops over the points of a tile, of one constant length, which compilers turn into vectors.
// Compiled once per instruction set; nothing of the standard library is instantiated, as a linker
// would keep one instruction set's copy for all.
#include "job.h"

#define each(i) for (int i = 0; i < kTile; ++i)

#define STN_UNROLL _Pragma("GCC unroll 8")  // loops over taps, whose numbers are constants

// Marks a function and its loop that must not become vectors.
#ifdef __clang__
#define STN_SCALAR inline
#define STN_SCALAR_LOOP _Pragma("clang loop vectorize(disable)")
#else
#define STN_SCALAR __attribute__((noinline, optimize("no-tree-vectorize")))
#define STN_SCALAR_LOOP
#endif

// For functions that only ask for memory: compilers drop calls of what has no result.
#define STN_ASK __attribute__((always_inline)) inline

namespace STN_ISA {
namespace {

template <class R>
struct alignas(64) Lanes {
  R at[kTile];
  R& operator[](int64_t i) { return at[i]; }
  const R& operator[](int64_t i) const { return at[i]; }
};

using Index = STN_INDEX;

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

// Channels side by side: 64 bytes of them, whatever the instruction set, or four.
template <class R, int W>
struct Vector {
  typedef R Type __attribute__((vector_size(W * sizeof(R))));
};
template <class R>
constexpr int kBlock = 64 / sizeof(R);
template <class R, int W = kBlock<R>>
using Block = typename Vector<R, W>::Type;
template <class R>
using Quad = Block<R, 4>;

template <class R, class B>
inline void load_block(const R* from, B& to) {
  __builtin_memcpy(&to, from, sizeof to);
}
template <class B>
inline void load_block(const _Float16* from, B& to) {
  Block<_Float16, sizeof(B) / 4> given;
  __builtin_memcpy(&given, from, sizeof given);
  to = __builtin_convertvector(given, B);
}
template <class B>
inline void load_block(const Bfloat16* from, B& to) {
  Block<uint16_t, sizeof(B) / 4> given;
  __builtin_memcpy(&given, from, sizeof given);
  const auto bits = __builtin_convertvector(given, Block<uint32_t, sizeof(B) / 4>) << 16;
  __builtin_memcpy(&to, &bits, sizeof to);
}
template <class B, class S>
inline void store_block(const B& from, S* to) {
  if constexpr (sizeof(Work<S>) == sizeof(S))
    __builtin_memcpy(to, &from, sizeof from);
  else
    for (unsigned c = 0; c < sizeof from / 4; ++c) narrow(from[c], to[c]);
}

inline Quad<float> fold(const Block<float>& block) {
  typedef float Half __attribute__((vector_size(32)));
  Half halves[2];
  __builtin_memcpy(halves, &block, sizeof block);
  halves[0] += halves[1];
  Quad<float> quads[2];
  __builtin_memcpy(quads, halves, sizeof quads);
  return quads[0] + quads[1];
}
inline Quad<double> fold(const Block<double>& block) {
  Quad<double> quads[2];
  __builtin_memcpy(quads, &block, sizeof block);
  return quads[0] + quads[1];
}

inline Quad<float> fold(const Quad<float>& four) { return four; }
inline Quad<double> fold(const Quad<double>& four) { return four; }

template <class R>
inline void transpose(Quad<R> (&row)[4]) {
  const Quad<R> a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const Quad<R> b = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const Quad<R> c = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const Quad<R> d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  row[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  row[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  row[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  row[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

// Asks for memory that is soon read or written.
template <bool kWrites, class S>
STN_ASK void ask(const S* from, int64_t count) {
  constexpr int64_t kStep = 64 / sizeof(S);  // values in a line
  for (int64_t k = 0; k < count; k += kStep) __builtin_prefetch(from + k, kWrites);
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
inline bool finite(R x) {
  return (x < 0 ? -x : x) <= largest<R>;
}

template <class R>
inline R nan() {
  return R(__builtin_nanf(""));
}

// Reads a tile's values, and zeros beyond its count.
template <class S, class R>
inline void load(const S* from, int64_t count, int64_t stride, Lanes<R>& to) {
  if (count == kTile && stride == 1) {
    each(i) to[i] = widen(from[i]);
  } else if (count == kTile && stride == 2) {
    each(i) to[i] = widen(from[2 * i]);
  } else if (count == kTile && stride == 3) {
    each(i) to[i] = widen(from[3 * i]);
  } else {
    each(i) to[i] = 0;
    for (int64_t i = 0; i < count; ++i) to[i] = widen(from[i * stride]);
  }
}

template <class S, class R>
inline void store(const Lanes<R>& from, int64_t count, int64_t stride, S* to) {
  if (count == kTile && stride == 1) {
    each(i) narrow(from[i], to[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) narrow(from[i], to[i * stride]);
  }
}

template <class R>
inline void add_products(const Lanes<R>& a, const Lanes<R>& b, R* sums) {
  for (int k = 0; k < kLanes; ++k) {
    R sum = 0;
    for (int i = 0; i < kTile; i += kLanes) sum += a[i + k] * b[i + k];
    sums[k] += sum;
  }
}

}  // namespace
}  // namespace STN_ISA
