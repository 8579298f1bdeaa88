// The backward pass of one instruction set, for images that are computed with as STN_REAL. STN_ISA
// names the set, STN_INDEX is the type of an offset in a plane.
#include "job.h"
#include "passes.h"

namespace STN_ISA {
namespace {

template <class R, int D, int K>
constexpr Backward kPasses{find_ranges<R, D, K>, gather<R, D, K>, scatter<R, D, K>};

template <class R, int D>
const Backward& by_taps(const Call& call) {
  return call.taps == 1 ? kPasses<R, D, 1> : kPasses<R, D, 2>;
}

}  // namespace

Backward backward_of(const Call& call, STN_REAL) {
  return call.ndim == 2 ? by_taps<STN_REAL, 2>(call) : by_taps<STN_REAL, 3>(call);
}

}  // namespace STN_ISA
