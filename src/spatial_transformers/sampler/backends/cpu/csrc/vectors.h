// Channels side by side, as one vector.
#pragma once
#include "numbers.h"

namespace STN_ISA {
namespace {

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
  else {
    _Pragma("GCC unroll 16")
    for (unsigned c = 0; c < sizeof from / 4; ++c) narrow(from[c], to[c]);
  }
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

}  // namespace
}  // namespace STN_ISA
