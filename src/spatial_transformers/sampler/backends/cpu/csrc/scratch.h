// The memory of a task.
#pragma once
#include "job.h"

namespace STN_ISA {
namespace {

// The memory of a task, taken once; null where there is none.
template <class R>
class Scratch {
 public:
  Scratch(const Job& job, int64_t values)
      : data(static_cast<R*>(__builtin_malloc(values * sizeof(R) + 64))) {
    if (!data) __atomic_store_n(job.failed, 1, __ATOMIC_RELAXED);
  }
  ~Scratch() { __builtin_free(data); }
  R* aligned() const {
    return data ? reinterpret_cast<R*>((reinterpret_cast<uintptr_t>(data) + 63) & ~uintptr_t(63))
                : nullptr;
  }

 private:
  R* data;
  Scratch(const Scratch&) = delete;
  void operator=(const Scratch&) = delete;
};

}  // namespace
}  // namespace STN_ISA
