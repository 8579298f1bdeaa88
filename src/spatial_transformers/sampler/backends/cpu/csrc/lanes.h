// Loops over the points of a tile, of one constant length, which compilers turn into vectors.
// Compiled once per instruction set; nothing of the standard library is instantiated, as a linker
// would keep one instruction set's copy for all.
#pragma once
#include "job.h"
#include "numbers.h"

#define each(i) for (int i = 0; i < kTile; ++i)

#define STN_UNROLL _Pragma("GCC unroll 8")  // loops over taps, whose numbers are constants

// Marks what is called once per tile or less often from many places: one copy serves them all.
#ifdef __clang__
#define STN_SHARED __attribute__((noinline))
#else
#define STN_SHARED __attribute__((noinline, noclone))
#endif

// Marks a function and its loop that must not become vectors.
#ifdef __clang__
#define STN_SCALAR inline
#define STN_SCALAR_LOOP _Pragma("clang loop vectorize(disable)")
#else
#define STN_SCALAR __attribute__((noinline, optimize("no-tree-vectorize")))
#define STN_SCALAR_LOOP
#endif

#define STN_INLINE __attribute__((always_inline)) inline

// For functions that only ask for memory: compilers drop calls of what has no result.
#define STN_ASK STN_INLINE

namespace STN_ISA {
namespace {

template <class R>
struct alignas(64) Lanes {
  R at[kTile];
  R& operator[](int64_t i) { return at[i]; }
  const R& operator[](int64_t i) const { return at[i]; }
};

using Index = STN_INDEX;

// Asks for memory that is soon read or written.
template <bool kWrites>
STN_ASK void ask(const void* from, int64_t bytes) {
  constexpr int64_t kLine = 64;
  const char* at = static_cast<const char*>(from);
  for (int64_t k = 0; k < bytes; k += kLine) __builtin_prefetch(at + k, kWrites);
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

// Writes a tile's values, and returns whether all are finite: to ask in the same loop costs least.
template <class S, class R>
inline bool store(const Lanes<R>& from, int64_t count, int64_t stride, S* to) {
  Index all = -1;
  if (count == kTile && stride == 1) {
    each(i) {
      all &= -Index(finite(from[i]));
      narrow(from[i], to[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      all &= -Index(finite(from[i]));
      narrow(from[i], to[i * stride]);
    }
  }
  return all == -1;
}

template <class R>
inline void add_products(const Lanes<R>& a, const Lanes<R>& b, R* sums) {
  for (int k = 0; k < kLanes; ++k) {
    R sum = 0;
    STN_UNROLL
    for (int i = 0; i < kTile; i += kLanes) sum += a[i + k] * b[i + k];
    sums[k] += sum;
  }
}

// Adds lanes to sums, if these are wanted, and sets them to 0.
template <class R>
STN_SHARED void add_lanes(R* lanes, int64_t count, double* sums) {
  for (int64_t e = 0; sums && e < count; ++e) {
    double sum = 0;
    for (int k = 0; k < kLanes; ++k) sum += lanes[e * kLanes + k];
    for (int k = 0; k < kLanes; ++k) lanes[e * kLanes + k] = 0;
    sums[e] += sum;
  }
}

}  // namespace
}  // namespace STN_ISA
