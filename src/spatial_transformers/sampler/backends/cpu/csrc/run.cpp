// The C functions: choose the instruction set, run a call's tasks, add up their sums.
#include <cstdlib>

#include "call.h"
#include "choose.h"
#include "job.h"

// One instruction set's code, by the type that is computed with.
#define STN_DECLARE(isa)                       \
  namespace isa {                              \
  Run forward_of(const Call&, float);          \
  Run forward_of(const Call&, double);         \
  Backward backward_of(const Call&, float);    \
  Backward backward_of(const Call&, double);   \
  WidePasses wide_passes(const Call&, float);  \
  WidePasses wide_passes(const Call&, double); \
  AntialiasPasses antialias_passes(const Call&, float);  \
  AntialiasPasses antialias_passes(const Call&, double); \
  FilterRun filter_of(float);                  \
  FlowRun flow_of(const Flow&, float);         \
  FlowRun flow_of(const Flow&, double);        \
  FilterRun filter_of(double);                 \
  }
STN_DECLARE(stn_baseline)
#ifdef STN_X86
STN_DECLARE(stn_avx2)
STN_DECLARE(stn_avx512)
#else
STN_DECLARE(stn_narrow)
#endif

namespace {

constexpr int64_t kGrain = 1 << 15;  // values that make a thread worth waking

bool has_avx2() {
#ifdef STN_X86
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
#else
  return false;
#endif
}

bool has_avx512() {
#ifdef STN_X86
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

struct Isa {
  const char* name;
  bool available;
  Run (*forward[2])(const Call&);  // for what is computed with in float, and in double
  Backward (*backward[2])(const Call&);
  WidePasses (*wide[2])(const Call&);
  AntialiasPasses (*antialias[2])(const Call&);
  FilterRun (*filter[2])();
  FlowRun (*flow[2])(const Flow&);
};

#define STN_CODE(function, isa)                                     \
  {[](const Call& call) { return isa::function(call, float()); },   \
   [](const Call& call) { return isa::function(call, double()); }}
#define STN_SET(isa)                                                                      \
  STN_CODE(forward_of, isa), STN_CODE(backward_of, isa), STN_CODE(wide_passes, isa),      \
  STN_CODE(antialias_passes, isa),                                                        \
  {[] { return isa::filter_of(float()); }, [] { return isa::filter_of(double()); }},      \
  {[](const Flow& flow) { return isa::flow_of(flow, float()); },                          \
   [](const Flow& flow) { return isa::flow_of(flow, double()); }}

const Isa kIsas[] = {  // the best last
    {"baseline", true, STN_SET(stn_baseline)},  // runs anywhere, and large planes need it
#ifdef STN_X86
    {"avx2", has_avx2(), STN_SET(stn_avx2)},
    {"avx512", has_avx512(), STN_SET(stn_avx512)},
#else
    {"narrow", true, STN_SET(stn_narrow)},
#endif
};
constexpr int64_t kIsaCount = sizeof kIsas / sizeof *kIsas;

// The best one for -1.
const Isa& isa_of(int64_t isa) {
  if (isa < 0)
    for (int64_t k = 0; k < kIsaCount; ++k) isa = kIsas[k].available ? k : isa;
  return kIsas[isa];
}

const Isa& isa_of(const Job& job) {
  const bool large = job.pixels * job.call.image.pixel >= INT32_MAX / 2;
  return isa_of(large ? 0 : job.call.isa);
}

struct Loop {
  Run run;
  const Job* job;
};

void body(int64_t begin, int64_t end, void* context) {
  const Loop& loop = *static_cast<Loop*>(context);
  loop.run(*loop.job, begin, end);
}

int32_t spread(const Job& job, Run run, int64_t tasks) {
  const int64_t values = job.call.batch * job.points * (job.call.channels + 2);
  const int64_t each = values / (tasks ? tasks : 1) + 1, grain = kGrain / each + 1;
  Loop loop{run, &job};
  if (tasks <= grain) return run(job, 0, tasks), 0;
  return job.call.parallel_for(0, tasks, grain, body, &loop);
}

template <class R>
void add_up(const Job& job) {
  const Call& call = job.call;
  const int64_t columns = call.columns, rows = job.rows(), entries = rows * columns;
  R* matrix = static_cast<R*>(call.grad_coordinates);
  const int64_t images = call.coordinates_batch > 1 ? 1 : call.batch;  // per matrix
  const int64_t places = images * job.places;
  const double* sums = job.matrix_sums;
  for (int64_t b = 0; sums && b < call.coordinates_batch; ++b) {
    for (int64_t e = 0; e < entries; ++e) {
      double sum = 0;
      for (int64_t k = 0; k < places; ++k) sum += sums[k * entries + e];
      const int64_t r = e / columns, c = e % columns;
      matrix[b * entries + e] = R(sum * (c < call.ndim ? call.factor[r][c] : call.scale[r]));
    }
    sums += places * entries;
  }
  R* fill = static_cast<R*>(call.grad_fill);
  for (int64_t c = 0; fill && c < call.channels; ++c) {
    double sum = 0;
    for (int64_t k = 0; k < call.batch * job.places; ++k)
      sum += job.fill_sums[k * call.channels + c];
    fill[c] = R(sum);
  }
}

// Memory for what `images` of a call take.
void* room_of(const Wide& wide) {
  const int64_t size = wide.call.dtype == kFloat64 ? 8 : 4;
  return malloc(wide.images * wide.blocks * wide.room * size);
}

// The backward pass of the images that are copied.
int32_t wide_backward(const Wide& wide, const WidePasses& pass, int64_t images, bool copied) {
  const Call& call = wide.call;
  const int64_t maps = images * (call.batch / call.image_batch);
  const int64_t blocks = images * wide.blocks;
  int32_t failed = 0;
  if (call.grad_coordinates && copied) failed |= spread(wide, pass.pack, blocks * wide.slabs);
  if (call.grad_coordinates || call.grad_fill)
    failed |= spread(wide, pass.gather,
                     wide.summed == Summed::kByOwner ? wide.groups : maps * wide.groups);
  if (call.grad_image) {
    failed |= spread(wide, pass.scatter, blocks * wide.strips);
    failed |= spread(wide, pass.collect, blocks);
  }
  return failed;
}

// Kernels of three taps and more, as many images at a time as are copied.
int32_t run_wide(Wide& wide, bool backward) {
  const Call& call = wide.call;
  const WidePasses pass = isa_of(wide).wide[call.dtype == kFloat64](call);
  const bool copies = !backward || call.grad_coordinates, adds = backward && call.grad_image;
  wide.values = copies ? room_of(wide) : nullptr;
  wide.grads = adds ? room_of(wide) : nullptr;
  int32_t failed = (copies && !wide.values) || (adds && !wide.grads);
  for (wide.first = 0; !failed && wide.first < call.image_batch; wide.first += wide.images) {
    const int64_t left = call.image_batch - wide.first;
    const int64_t images = left < wide.images ? left : wide.images;
    if (backward) {
      failed |= wide_backward(wide, pass, images, copies);
    } else {
      failed |= spread(wide, pass.pack, images * wide.blocks * wide.slabs);
      failed |= spread(wide, pass.forward, images * (call.batch / call.image_batch) * wide.groups);
    }
  }
  free(wide.values);
  free(wide.grads);
  return failed;
}

// Memory for the tables of maps that keep the axes; whether there is enough.
bool take_tables(Antialias& job) {
  const Call& call = job.call;
  if (!job.has_tables) return true;
  const int64_t slots = call.coordinates_batch * 2, lines = slots * job.lines;
  const int64_t size = size_of(call);
  job.counts = static_cast<int32_t*>(malloc(lines * sizeof(int32_t)));
  job.bounds = static_cast<int32_t*>(malloc(slots * 2 * sizeof(int32_t)));
  job.pixels_read = static_cast<int32_t*>(malloc(lines * job.taps * sizeof(int32_t)));
  job.weights = malloc(lines * job.taps * size);
  job.shares = malloc(lines * size);
  return job.counts && job.bounds && job.pixels_read && job.weights && job.shares;
}

// Runs a job that has memory for its tables.
template <class Use>
int32_t with_tables(Antialias& job, Use use) {
  const Call& call = job.call;
  const AntialiasPasses pass = isa_of(job).antialias[call.dtype == kFloat64](call);
  int32_t failed = take_tables(job) ? 0 : 1;
  if (!failed && job.has_tables) failed |= spread(job, pass.prepare, call.coordinates_batch * 2);
  if (!failed) failed |= use(pass);
  free(job.counts);
  free(job.bounds);
  free(job.pixels_read);
  free(job.weights);
  free(job.shares);
  return failed;
}

// Adds the part of the gradient to affine maps that comes by P⁻¹.
template <class R>
void add_stretch(const Antialias& job) {
  const Call& call = job.call;
  const int64_t ndim = call.ndim, entries = ndim * ndim;
  const int64_t places = (call.coordinates_batch > 1 ? 1 : call.batch) * job.places;
  const double* sums = job.stretch_sums;
  for (int64_t b = 0; sums && b < call.coordinates_batch; ++b, sums += places * entries) {
    if (!job.shrinks(b)) continue;
    double total[9] = {}, gradient[3][3];
    for (int64_t k = 0; k < places * entries; ++k) total[k % entries] += sums[k];
    const int64_t first = b * job.rows() * call.columns;
    const R* m = static_cast<const R*>(call.coordinates_data) + first;
    spacing_gradient(spacing_of(call, m), ndim, call.max_shrink, total, gradient);
    R* to = static_cast<R*>(call.grad_coordinates) + first;
    for (int64_t r = 0; r < ndim; ++r)
      for (int64_t c = 0; c < ndim; ++c)
        to[r * call.columns + c] += R(gradient[r][c] * call.factor[r][c]);
  }
}

int32_t antialias_backward(Antialias& job) {
  const Call& call = job.call;
  const bool gathers = call.grad_coordinates || call.grad_fill;
  if (job.affine && call.grad_coordinates) {
    const int64_t sums = call.batch * job.places * call.ndim * call.ndim;
    job.stretch_sums = static_cast<double*>(calloc(sums, sizeof(double)));
    if (!job.stretch_sums) return 1;
  }
  const int32_t failed = with_tables(job, [&](const AntialiasPasses& pass) {
    int32_t failed = 0;
    if (gathers)
      failed |= spread(job, pass.gather,
                       job.summed == Summed::kByOwner ? job.groups : call.batch * job.groups);
    const int64_t strips = call.image_batch * job.strips;
    if (call.grad_image && job.has_tables)
      failed |= spread(job, pass.scatter_rows, strips * call.channels);
    if (call.grad_image && job.has_points) failed |= spread(job, pass.scatter, strips);
    return failed;
  });
  call.dtype == kFloat64 ? add_up<double>(job) : add_up<float>(job);
  call.dtype == kFloat64 ? add_stretch<double>(job) : add_stretch<float>(job);
  free(job.stretch_sums);
  return failed;
}

int32_t run_backward(const Job& job) {
  const Call& call = job.call;
  const Backward pass = isa_of(job).backward[call.dtype == kFloat64](call);
  int32_t failed = 0;
  if (call.grad_image && job.strips > 1)
    failed |= spread(job, pass.find_ranges, call.batch * job.groups);
  if ((call.grad_coordinates || call.grad_fill) && !job.both())
    failed |= spread(job, pass.gather,
                     job.summed == Summed::kByOwner ? job.groups : call.batch * job.groups);
  if (call.grad_image)
    failed |= spread(job, pass.scatter,
                     call.image_batch * (job.path == Path::kBlocks ? job.blocks : job.strips));
  if (call.dtype == kFloat64)
    add_up<double>(job);
  else
    add_up<float>(job);
  return failed;
}

struct FilterLoop {
  FilterRun run;
  const Filter* filter;
};

void filter_body(int64_t begin, int64_t end, void* context) {
  const FilterLoop& loop = *static_cast<FilterLoop*>(context);
  loop.run(*loop.filter, begin, end);
}

struct FlowLoop {
  FlowRun run;
  const Flow* flow;
};

void flow_body(int64_t begin, int64_t end, void* context) {
  const FlowLoop& loop = *static_cast<FlowLoop*>(context);
  loop.run(*loop.flow, begin, end);
}

// Runs a job that has memory for its sums.
template <class Use>
int32_t with_sums(Job& job, Use use) {
  const Call& call = job.call;
  int32_t failed = 0;
  job.failed = &failed;
  const int64_t places = call.batch * job.places, entries = job.rows() * call.columns;
  const bool matrix = call.grad_coordinates && call.form != kPoints;
  const bool ranges = call.grad_image && job.strips > 1 && call.taps < 3 && call.max_shrink == 0;
  if (matrix) job.matrix_sums = static_cast<double*>(calloc(places * entries, sizeof(double)));
  if (call.grad_fill)
    job.fill_sums = static_cast<double*>(calloc(places * call.channels, sizeof(double)));
  if (ranges)
    job.ranges = static_cast<Range*>(calloc(call.batch * job.tiles, sizeof(Range)));
  const bool enough = (job.matrix_sums || !matrix) && (job.fill_sums || !call.grad_fill) &&
                      (job.ranges || !ranges);
  failed |= enough ? use() : 1;
  free(job.matrix_sums);
  free(job.fill_sums);
  free(job.ranges);
  return failed;
}

}  // namespace

int64_t stn_abi() { return kAbi; }
int64_t stn_call_size() { return sizeof(Call); }

const char* stn_isa_name(int64_t isa) {
  return isa >= 0 && isa < kIsaCount && kIsas[isa].available ? kIsas[isa].name : nullptr;
}

int32_t stn_forward(const Call* call) {
  if (call->abi != kAbi) return 2;
  int32_t failed = 0;
  if (call->taps > 2) {
    Wide wide = wide_job(*call);
    wide.failed = &failed;
    return failed | run_wide(wide, false);
  }
  Job job = forward_job(*call);
  job.failed = &failed;
  const int64_t cuts = job.path == Path::kWindows  ? job.windows.count * job.blocks
                       : job.path == Path::kBlocks ? job.blocks
                                                   : job.groups;
  const Run run = isa_of(job).forward[call->dtype == kFloat64](*call);
  failed |= spread(job, run, call->batch * cuts);
  return failed;
}

int32_t stn_backward(const Call* call) {
  if (call->abi != kAbi) return 2;
  if (call->taps > 2) {
    Wide wide = wide_job(*call);
    return with_sums(wide, [&] {
      const int32_t failed = run_wide(wide, true);
      call->dtype == kFloat64 ? add_up<double>(wide) : add_up<float>(wide);
      return failed;
    });
  }
  Job job = backward_job(*call);
  return with_sums(job, [&] { return run_backward(job); });
}

int32_t stn_stretch(const Call* call) {
  if (call->abi != kAbi) return 2;
  Stretch* to = static_cast<Stretch*>(call->stretch_data);
  const int64_t entries = call->ndim * call->columns;
  for (int64_t b = 0; b < call->coordinates_batch; ++b) {
    const void* m = call->coordinates_data;
    const Spacing spacing = call->dtype == kFloat64
                                ? spacing_of(*call, static_cast<const double*>(m) + b * entries)
                                : spacing_of(*call, static_cast<const float*>(m) + b * entries);
    to[b] = stretch_of(spacing, call->ndim, call->max_shrink);
  }
  return 0;
}

int32_t stn_antialias(const Call* call) {
  if (call->abi != kAbi) return 2;
  Antialias job = antialias_job(*call);
  int32_t failed = 0;
  job.failed = &failed;
  return failed | with_tables(job, [&](const AntialiasPasses& pass) {
           const int64_t bands = (call->target[1] + kBand - 1) / kBand;
           if (job.has_tables) failed |= spread(job, pass.forward_rows, call->batch * bands);
           if (job.has_points) failed |= spread(job, pass.forward, call->batch * job.groups);
           return failed;
         });
}

int32_t stn_antialias_backward(const Call* call) {
  if (call->abi != kAbi) return 2;
  Antialias job = antialias_job(*call);
  return with_sums(job, [&] { return antialias_backward(job); });
}

int32_t stn_flow(const Flow* given) {
  if (given->abi != kAbi) return 2;
  Flow flow = *given;
  int32_t failed = 0;
  flow.failed = &failed;
  FlowLoop loop{isa_of(flow.isa).flow[flow.precise](flow), &flow};
  const int32_t stopped = flow.parallel_for(0, flow.batch * flow.parts, 1, flow_body, &loop);
  return stopped ? stopped : failed;
}

int32_t stn_filter(const Filter* given) {
  if (given->abi != kAbi) return 2;
  Filter filter = *given;
  int32_t failed = 0;
  filter.failed = &failed;
  constexpr int64_t kLines = 16;
  const int64_t lines = filter.inner < kLines ? filter.outer * filter.inner : filter.inner;
  const int64_t tasks = (lines + kLines - 1) / kLines * (filter.inner < kLines ? 1 : filter.outer);
  FilterLoop loop{isa_of(filter.isa).filter[filter.precise](), &filter};
  const int64_t grain = kGrain / (filter.buffer * kLines) + 1;
  const int32_t stopped = filter.parallel_for(0, tasks, grain, filter_body, &loop);
  return stopped ? stopped : failed;
}
