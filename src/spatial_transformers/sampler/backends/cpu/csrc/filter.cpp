// The prefilter of B-splines along one axis, as recursions, and its transpose, of one instruction
// set and for numbers STN_REAL.
//
// Sixteen lines are filtered side by side. They begin and end so far outside the image that what
// lies beyond has no weight, as the reference's filter of finite length does.
//
// Source: Unser, Splines: a perfect fit for signal and image processing, 1999, box 2.
#include "rows.h"

namespace STN_ISA {
namespace {

constexpr int64_t kLines = 16;

// The lines of a task, side by side in memory or each `inner` values or a line's length apart.
struct Lines {
  int64_t first, count;

  Lines(const Filter& filter, int64_t task) {
    if (filter.inner < kLines) {
      first = task * kLines;
      count = filter.outer * filter.inner - first;
    } else {
      const int64_t across = (filter.inner + kLines - 1) / kLines;
      first = task / across * filter.inner + task % across * kLines;
      count = filter.inner - task % across * kLines;
    }
    count = count < kLines ? count : kLines;
  }
};

template <class R>
class Panel {
 public:
  Panel(const Filter& filter, R* values) : filter_(filter), values_(values) {
    for (int64_t p = 0; p < filter.poles; ++p) {
      const double z = filter.pole[p];
      gain_ *= R((1 - z) * (1 - 1 / z));
    }
  }

  // Takes lines of values, the one at `place[k]` to k; 0 where that is none.
  void take(const Lines& lines, const R* from, int64_t length, const int32_t* place) {
    R* to = values_;
    for (int64_t k = 0; k < filter_.buffer; ++k, to += kLines) {
      if (place[k] < 0 || lines.count < kLines) __builtin_memset(to, 0, kLines * sizeof(R));
      if (place[k] < 0) continue;
      if (filter_.inner >= kLines) {
        const R* line = from + start(lines.first, length) + place[k] * filter_.inner;
        for (int64_t j = 0; j < lines.count; ++j) to[j] = line[j];
      } else {
        for (int64_t j = 0; j < lines.count; ++j)
          to[j] = from[start(lines.first + j, length) + place[k] * filter_.inner];
      }
    }
  }

  // The product of the recursions' transfer functions is the inverse filter's.
  void run() {
    for (int64_t p = 0; p < filter_.poles; ++p) {
      const R z = R(filter_.pole[p]), end = -z / (1 - z * z);
      Row<R, kLines> last, value;
      fill_row(last, R(0));
      R* at = values_;
      for (int64_t k = 0; k < filter_.buffer; ++k, at += kLines) {
        load_row(at, value);
        if (p == 0) value = scaled(value, gain_);
        add_scaled(value, last, z);
        store_row(value, at);
        last = value;
      }
      last = scaled(last, end);
      for (at -= kLines;; at -= kLines) {
        store_row(last, at);
        if (at == values_) break;
        load_row(at - kLines, value);
        Row<R, kLines> next = scaled(last, z);
        add_scaled(next, value, -z);
        last = next;
      }
    }
  }

  // Gives the values at k to `place[k]`, or adds them; whether all are finite.
  template <bool kAdds>
  bool give(const Lines& lines, int64_t length, const int32_t* place, R* to) const {
    R odd = 0;
    const R* from = values_;
    for (int64_t k = 0; k < filter_.buffer; ++k, from += kLines) {
      if (place[k] < 0) continue;
      for (int64_t j = 0; j < lines.count; ++j) {
        const int64_t line = filter_.inner >= kLines ? start(lines.first, length) + j
                                                     : start(lines.first + j, length);
        R& value = to[line + place[k] * filter_.inner];
        value = kAdds ? value + from[j] : from[j];
        odd += from[j] * 0;
      }
    }
    return odd == 0;
  }

 private:
  int64_t start(int64_t line, int64_t length) const {
    return line / filter_.inner * length * filter_.inner + line % filter_.inner;
  }

  static Row<R, kLines> scaled(const Row<R, kLines>& row, R by) {
    Row<R, kLines> result;
    STN_UNROLL
    for (int p = 0; p < Row<R, kLines>::kParts; ++p) result.part[p] = row.part[p] * by;
    return result;
  }

  const Filter& filter_;
  R* values_;
  R gain_ = 1;
};

template <class R>
void filter_lines(const Filter& filter, int64_t begin, int64_t end) {
  R* room = static_cast<R*>(__builtin_malloc(filter.buffer * kLines * sizeof(R)));
  if (!room) {
    __atomic_store_n(filter.failed, 1, __ATOMIC_RELAXED);
    return;
  }
  Panel<R> panel(filter, room);
  const R* from = static_cast<const R*>(filter.from);
  R* to = static_cast<R*>(filter.to);
  for (int64_t task = begin; task < end; ++task) {
    const Lines lines(filter, task);
    bool finite = true;
    if (filter.transposed) {
      panel.take(lines, from, filter.written_length, filter.written);
      panel.run();
      panel.template give<true>(lines, filter.length, filter.read, to);
    } else {
      panel.take(lines, from, filter.length, filter.read);
      panel.run();
      finite = panel.template give<false>(lines, filter.written_length, filter.written, to);
    }
    if (!finite) __atomic_store_n(filter.failed, 3, __ATOMIC_RELAXED);
  }
  __builtin_free(room);
}

}  // namespace

FilterRun filter_of(STN_REAL) { return filter_lines<STN_REAL>; }

}  // namespace STN_ISA
