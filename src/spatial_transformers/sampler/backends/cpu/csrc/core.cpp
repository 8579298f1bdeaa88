// One instruction set's code. STN_ISA names it, STN_INDEX is the type of an offset in a plane.
#include "passes.h"

namespace STN_ISA {
namespace {

using Run = void (*)(const Job&, int64_t, int64_t);

template <class S, int D, int K>
constexpr Core kCode{forward<S, D, K>, find_ranges<S, D, K>, gather<S, D, K>, scatter<S, D, K>};

template <class S, int D>
const Core& by_taps(const Call& call) {
  return call.taps == 1 ? kCode<S, D, 1> : call.taps == 2 ? kCode<S, D, 2> : kCode<S, D, 4>;
}

template <class S>
const Core& by_dimensions(const Call& call) {
  return call.ndim == 2 ? by_taps<S, 2>(call) : by_taps<S, 3>(call);
}

}  // namespace

const Core& code_of(const Call& call) {
  switch (call.dtype) {
    case kFloat64: return by_dimensions<double>(call);
    case kFloat16: return by_dimensions<_Float16>(call);
    case kBfloat16: return by_dimensions<Bfloat16>(call);
    default: return by_dimensions<float>(call);
  }
}

}  // namespace STN_ISA
