// The C functions: choose the instruction set, cut a call into tasks, run them, add up their sums.
#include <cstdlib>

#include "job.h"

#define STN_DECLARE(isa) namespace isa { const Core& code_of(const Call&); }
STN_DECLARE(stn_baseline)
STN_DECLARE(stn_wide)
#ifdef STN_X86
STN_DECLARE(stn_avx2)
STN_DECLARE(stn_avx512)
#endif

namespace {

constexpr int64_t kGrain = 1 << 15;  // values that make a thread worth waking
constexpr int64_t kNear = 1 << 18;   // bytes of an image that are not asked for ahead

using Choose = const Core& (*)(const Call&);

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
  Choose choose;
  bool available;
};

const Isa kIsas[] = {  // the best last
    {"wide", stn_wide::code_of, true},  // the baseline, which large planes need
    {"baseline", stn_baseline::code_of, true},
#ifdef STN_X86
    {"avx2", stn_avx2::code_of, has_avx2()},
    {"avx512", stn_avx512::code_of, has_avx512()},
#endif
};
constexpr int64_t kIsaCount = sizeof kIsas / sizeof *kIsas;

const Core& core_of(const Call& call, int64_t pixels) {
  if (pixels * call.image.pixel >= INT32_MAX / 2) return stn_wide::code_of(call);
  int64_t isa = call.isa;
  if (isa < 0)
    for (int64_t k = 0; k < kIsaCount; ++k) isa = kIsas[k].available ? k : isa;
  return kIsas[isa].choose(call);
}

int64_t product(const int64_t* sizes, int64_t count) {
  int64_t result = 1;
  for (int64_t k = 0; k < count; ++k) result *= sizes[k];
  return result;
}

Job job_of(const Call& call) {
  Job job{};
  job.call = call;
  job.points = product(call.target, call.ndim);
  job.pixels = product(call.source, call.ndim);
  for (int a = 0; a < 3; ++a) job.extent[a] = call.source[a];
  job.tiles = (job.points + kTile - 1) / kTile;
  job.groups = (job.tiles + kGroup - 1) / kGroup;
  job.near = job.pixels * call.channels * 4 < kNear;
  return job;
}

// Blocks of channels that are brought side by side.
int64_t count_wide(const Call& call) {
  const int64_t width = side_width(call);
  return (call.channels + width - 1) / width;
}

// Whether channels in planes are transposed, in blocks: many of them, read at about as many points;
// in backward a few of many images as well.
int64_t count_blocks(const Job& job, bool backward) {
  const Call& call = job.call;
  const bool few = call.channels < kSpread;
  if (!in_planes(call) || call.image_batch < call.batch || job.points * 2 < job.pixels) return 0;
  const bool fours = backward && call.taps == 2 && call.ndim == 2 && call.channels > 1;
  if (few && (!fours || call.batch < kImages)) return 0;
  return job.points + job.pixels > kTransposed ? 0 : count_wide(call);
}

// Whether backward copies images: small ones that are read at many points, but at few enough for
// one task.
bool has_margins(const Job& job) {
  const Call& call = job.call;
  const bool alike = job.points * 2 >= job.pixels && job.points <= kCopied;
  const bool fits = alike && job.pixels * call.channels <= kCopied;
  const bool outside = call.padding == kZeros || call.padding == kConstant;
  return fits && in_planes(call) && outside && call.taps == 2 && !job.blocks &&
         call.image_batch == call.batch;
}

// Whether forward copies what it reads by windows of the target. One channel of a large image is
// read as fast where it lies.
bool has_windows(const Job& job) {
  const Call& call = job.call;
  const bool worth = call.channels > 1 || job.pixels <= kCopied;
  const bool places = call.padding != kWrap && call.padding != kRenormalise;
  const bool counts = call.source[0] < kExact && call.source[1] < kExact;
  return call.ndim == 2 && call.taps == 2 && in_planes(call) && places && counts && worth;
}

// Cuts the target into runs of narrow rows, or into rectangles.
void cut_target(Job& job) {
  const Call& call = job.call;
  const int64_t length = call.target[0], rows = call.target[1];
  const int64_t across = length > kNarrow ? (length + kTile - 1) / kTile : 1;
  const int64_t down = across > 1 ? (rows + kGroup - 1) / kGroup : job.groups;
  job.windows = {across * down, across, across > 1 ? (length + across - 1) / across : kTile,
                 across > 1 ? length : kTile};
  job.blocks = count_wide(call);
}

// Few images are cut into strips, at the price of a pass that finds which tiles reach them.
// Where an image is one task, or some by strips, that pass gives both gradients.
void cut_source(Job& job) {
  const Call& call = job.call;
  const int64_t rows = call.source[call.ndim - 1];
  const bool coordinates = call.grad_coordinates || call.grad_fill;
  const bool shared = call.coordinates_batch < call.batch || call.image_batch < call.batch;
  job.owners = call.coordinates_batch < call.batch || call.grad_functions;
  job.blocks = call.grad_image ? count_blocks(job, true) : 0;
  const bool whole = !shared && !call.grad_functions && call.grad_image && coordinates;
  job.strips = 1;
  if (!job.blocks && call.image_batch < kImages) {
    int64_t strips = job.pixels / kStripPixels;
    const int64_t wanted = (kManyTasks + call.image_batch - 1) / call.image_batch;
    strips = strips < wanted ? strips : wanted;
    strips = strips < rows ? strips : rows;
    job.strips = strips < 1 ? 1 : strips;
  }
  job.strip_rows = (rows + job.strips - 1) / job.strips;
  job.strips = (rows + job.strip_rows - 1) / job.strip_rows;
  const int64_t bits = 2 + call.ndim;
  const bool fits = (job.pixels / job.strips * chunk_of(call) << bits) <= kCells;
  job.cells = call.taps == 2 && call.padding != kWrap && !side_by_side(call) && fits &&
              job.points * 4 >= job.pixels;
  job.both = whole && (job.blocks ? call.form != kPoints : !job.cells || call.channels <= kChunk);
  job.places = !job.both ? job.groups : job.blocks ? job.blocks : job.strips;
  job.margins = job.both && job.strips == 1 && job.cells && !call.grad_fill && has_margins(job);
}

struct Loop {
  void (*run)(const Job&, int64_t, int64_t);
  const Job* job;
};

void body(int64_t begin, int64_t end, void* context) {
  const Loop& loop = *static_cast<Loop*>(context);
  loop.run(*loop.job, begin, end);
}

int32_t spread(const Job& job, void (*run)(const Job&, int64_t, int64_t), int64_t tasks) {
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

int32_t run_backward(Job& job, const Core& core) {
  const Call& call = job.call;
  int32_t failed = 0;
  if (call.grad_image && job.strips > 1)
    failed |= spread(job, core.find_ranges, call.batch * job.groups);
  if ((call.grad_coordinates || call.grad_fill) && !job.both)
    failed |= spread(job, core.gather, job.owners ? job.groups : call.batch * job.groups);
  if (call.grad_image)
    failed |= spread(job, core.scatter, call.image_batch * (job.blocks ? job.blocks : job.strips));
  if (call.dtype == kFloat64)
    add_up<double>(job);
  else
    add_up<float>(job);
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
  Job job = job_of(*call);
  job.failed = &failed;
  if (has_windows(job))
    cut_target(job);
  else
    job.blocks = count_blocks(job, false);
  const int64_t cuts = job.windows.count ? job.windows.count * job.blocks
                       : job.blocks      ? job.blocks
                                         : job.groups;
  failed |= spread(job, core_of(*call, job.pixels).forward, call->batch * cuts);
  return failed;
}

int32_t stn_backward(const Call* call) {
  if (call->abi != kAbi) return 2;
  int32_t failed = 0;
  Job job = job_of(*call);
  job.failed = &failed;
  cut_source(job);
  const int64_t places = call->batch * job.places, entries = job.rows() * call->columns;
  const bool matrix = call->grad_coordinates && call->form != kPoints;
  const bool ranges = call->grad_image && job.strips > 1;
  if (matrix) job.matrix_sums = static_cast<double*>(calloc(places * entries, sizeof(double)));
  if (call->grad_fill)
    job.fill_sums = static_cast<double*>(calloc(places * call->channels, sizeof(double)));
  if (ranges)
    job.ranges = static_cast<Range*>(calloc(call->batch * job.tiles, sizeof(Range)));
  const bool enough = (job.matrix_sums || !matrix) && (job.fill_sums || !call->grad_fill) &&
                      (job.ranges || !ranges);
  failed |= enough ? run_backward(job, core_of(*call, job.pixels)) : 1;
  free(job.matrix_sums);
  free(job.fill_sums);
  free(job.ranges);
  return failed;
}
