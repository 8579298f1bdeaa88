// The one place that chooses among the compiled paths and cuts calls into tasks.
//
// Both depend on sizes and layouts only, never on the number of threads or the instruction set, so
// that sums have one order.
#include "choose.h"

#include <cmath>

namespace {

constexpr int64_t kNear = 1 << 18;         // bytes of an image that are not asked for ahead
constexpr int64_t kImages = 4;             // fewer are cut into strips, into kManyTasks in all
constexpr int64_t kManyTasks = 32;
constexpr int64_t kMostCells = 1 << 22;    // bytes of cells, which must be near
constexpr int64_t kStripPixels = 1 << 14;  // of the source, at least, in a strip
constexpr int64_t kSpread = 8;             // channels from which they are computed side by side
constexpr int64_t kCopied = 1 << 16;       // most pixels and channels of an image copied as a whole
constexpr int64_t kNarrow = 128;           // longer rows are cut into windows side by side
constexpr int64_t kFew = 8;                // channels that are taken by fours for wide kernels
constexpr int64_t kStrips = 8;             // of a block's gradient, where there are few blocks
constexpr int64_t kLeastStrip = 4;         // of its rows are a kernel's, at least
constexpr int64_t kMostCopied = 1 << 22;   // bytes of the images that wide kernels copy at a time
constexpr int64_t kTransposed = 1 << 17;   // most pixels of source and target that are transposed

int64_t product(const int64_t* sizes, int64_t count) {
  int64_t result = 1;
  for (int64_t k = 0; k < count; ++k) result *= sizes[k];
  return result;
}

int64_t up(int64_t count, int64_t each) { return (count + each - 1) / each; }

// Whether channels lie in planes.
bool in_planes(const Call& call) {
  return call.image.pixel == 1 && (call.image.channel != 1 || call.channels == 1);
}

// As many channels as fill vectors; `kBlock` in the code for them.
int64_t full_width(const Call& call) { return call.dtype == kFloat64 ? 8 : 16; }

// How many channels in planes are brought side by side.
int64_t brought_width(const Call& call) {
  if (call.channels < kSpread) return call.channels == 1 ? 1 : 4;
  return full_width(call);
}

// How many channels are computed side by side where they lie. Four have code of their own, for two
// taps in 2-D.
int64_t given_width(const Call& call) {
  if (call.image.channel != 1 || call.output.channel != 1) return 1;
  const bool stored = call.dtype == kFloat32 || call.dtype == kFloat64;
  if (call.channels == 4 && call.taps == 2 && call.ndim == 2 && stored) return 4;
  return call.channels >= kSpread ? full_width(call) : 1;
}

// What every path needs.
Job job_of(const Call& call) {
  Job job{};
  job.call = call;
  job.points = product(call.target, call.ndim);
  job.pixels = product(call.source, call.ndim);
  for (int a = 0; a < 3; ++a) job.memory.extent[a] = call.source[a];
  job.tiles = up(job.points, kTile);
  job.groups = up(job.tiles, kGroup);
  job.near = job.pixels * call.channels * 4 < kNear;
  job.strips = 1;
  job.width = given_width(call);
  job.block = brought_width(call);
  job.blocks = up(call.channels, job.block);
  return job;
}

// Whether channels in planes are transposed, in blocks: many of them, read at about as many points;
// in backward a few of many images as well.
bool has_blocks(const Job& job, bool backward) {
  const Call& call = job.call;
  const bool few = call.channels < kSpread;
  if (!in_planes(call) || call.image_batch < call.batch || job.points * 2 < job.pixels) return false;
  const bool fours = backward && call.taps == 2 && call.ndim == 2 && call.channels > 1;
  if (few && (!fours || call.batch < kImages)) return false;
  return job.points + job.pixels <= kTransposed;
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

// Whether backward keeps cells between pixels, and these are not too many.
bool has_cells(const Job& job) {
  const Call& call = job.call;
  const int64_t bits = 2 + call.ndim;
  const bool fits = (job.pixels / job.strips * chunk_of(call) << bits) <= kMostCells;
  return call.taps == 2 && call.padding != kWrap && given_width(call) == 1 && fits &&
         job.points * 4 >= job.pixels;
}

// Whether cells' backward copies images: small ones that are read at many points, but at few enough
// for one task.
bool has_margins(const Job& job) {
  const Call& call = job.call;
  const bool alike = job.points * 2 >= job.pixels && job.points <= kCopied;
  const bool fits = alike && job.pixels * call.channels <= kCopied;
  const bool outside = call.padding == kZeros || call.padding == kConstant;
  return job.both() && job.strips == 1 && !call.grad_fill && fits && in_planes(call) && outside &&
         call.image_batch == call.batch;
}

// Few images are cut into strips, at the price of a pass that finds which tiles reach them.
void cut_source(Job& job) {
  const Call& call = job.call;
  const int64_t rows = call.source[call.ndim - 1];
  if (job.path != Path::kBlocks && call.image_batch < kImages) {
    int64_t strips = job.pixels / kStripPixels;
    const int64_t wanted = up(kManyTasks, call.image_batch);
    strips = strips < wanted ? strips : wanted;
    strips = strips < rows ? strips : rows;
    job.strips = strips < 1 ? 1 : strips;
  }
  job.strip_rows = up(rows, job.strips);
  job.strips = up(rows, job.strip_rows);
}

// Cuts the target into runs of narrow rows, or into rectangles.
void cut_target(Job& job) {
  const int64_t length = job.call.target[0], rows = job.call.target[1];
  const int64_t across = length > kNarrow ? up(length, kTile) : 1;
  const int64_t down = across > 1 ? up(rows, kGroup) : job.groups;
  job.windows = {across * down, across, across > 1 ? up(length, across) : kTile,
                 across > 1 ? length : kTile};
}

// Where an image is one task, or some by strips, one pass gives the gradients to image and
// coordinates.
Summed summed_by(const Job& job) {
  const Call& call = job.call;
  const bool coordinates = call.grad_coordinates || call.grad_fill;
  const bool shared = call.coordinates_batch < call.batch || call.image_batch < call.batch;
  const bool whole = !shared && !call.grad_functions && call.grad_image && coordinates;
  const bool once = job.path == Path::kBlocks  ? call.form != kPoints
                    : job.path == Path::kCells ? call.channels <= kChunk
                                               : true;
  if (whole && once) return Summed::kWithImage;
  const bool owners = call.coordinates_batch < call.batch || call.grad_functions;
  return owners ? Summed::kByOwner : Summed::kByGroup;
}

// Few blocks of images are copied, and their gradients summed, in parts. None is copied where fewer
// pixels are read.
void cut_copy(Wide& wide) {
  const int64_t blocks = wide.images * wide.blocks, rows = wide.extent[wide.call.ndim - 1];
  const int64_t parts = blocks < kManyTasks ? up(kManyTasks, blocks) : 1;
  wide.slab_rows = up(rows, parts < rows ? parts : rows);
  wide.slabs = up(rows, wide.slab_rows);
  int64_t taps = wide.points * (wide.call.batch / wide.call.image_batch);
  for (int64_t a = 0; a < wide.call.ndim; ++a) taps *= wide.call.taps;
  if (taps < wide.pixels) wide.slabs = 0;
  const int64_t least = kLeastStrip * wide.call.taps;  // as taps reach beyond a strip
  const int64_t strips = blocks < kImages ? up(kStrips, blocks) : 1;
  wide.strip_rows = up(rows, strips) < least ? least : up(rows, strips);
  wide.strips = up(rows, wide.strip_rows);
}

}  // namespace

Wide wide_job(const Call& call) {
  Wide wide{};
  static_cast<Job&>(wide) = job_of(call);
  wide.side = call.channels == 1 ? 1 : call.channels <= kFew ? 4 : 16;
  wide.blocks = up(call.channels, wide.side);
  const int64_t together = wide.side == 1 ? (call.taps <= 4 ? 4 : call.taps <= 8 ? 8 : 16)
                           : wide.side == 4 ? up(call.taps, 4) * 4
                                            : call.taps;
  wide.room = wide.side;
  for (int a = 0; a < 3; ++a) {
    wide.extent[a] = a < call.ndim ? call.source[a] + 2 * call.taps : 1;
    if (a == 0) wide.extent[a] += together - call.taps;  // what vectors read beyond a row's taps
    wide.room *= wide.extent[a];
  }
  const int64_t bytes = wide.room * wide.blocks * (call.dtype == kFloat64 ? 8 : 4);
  const int64_t most = kMostCopied / bytes;
  wide.images = most < 1 ? 1 : most < call.image_batch ? most : call.image_batch;
  cut_copy(wide);
  const bool owners = call.coordinates_batch < call.batch || call.grad_functions;
  wide.summed = owners ? Summed::kByOwner : Summed::kByGroup;
  wide.places = wide.groups;
  return wide;
}

Antialias antialias_job(const Call& call) {
  Antialias job{};
  static_cast<Job&>(job) = job_of(call);
  job.affine = call.form == kMatrix && call.functions == 0;
  const double ndim = double(call.ndim);
  double span = job.affine ? 1 : 1 + (call.max_shrink - 1) * (1 + std::sqrt(ndim)) / 2;
  for (int64_t n = 0; n < (job.affine ? call.coordinates_batch : 0); ++n) {
    for (double each : job.stretch(n).span) span = each > span ? each : span;
    job.has_tables |= job.separable(n);
    job.has_points |= job.by_points(n);
  }
  job.has_points |= !job.affine;
  job.reach = int64_t(span * 1.0001 * double(call.taps) / 2) + 2;
  job.lines = call.target[0] > call.target[1] ? call.target[0] : call.target[1];
  job.taps = 2 * job.reach + 1;
  const int64_t rows = call.source[call.ndim - 1];
  const int64_t strips = call.image_batch < kImages ? up(kStrips, call.image_batch) : 1;
  job.strip_rows = up(rows, strips);
  job.strips = up(rows, job.strip_rows);
  const bool owners = call.coordinates_batch < call.batch || call.grad_functions;
  job.summed = owners ? Summed::kByOwner : Summed::kByGroup;
  job.places = job.groups;
  return job;
}

Job forward_job(const Call& call) {
  Job job = job_of(call);
  job.path = has_windows(job)         ? Path::kWindows
             : has_blocks(job, false) ? Path::kBlocks
                                      : Path::kTiles;
  if (job.path == Path::kWindows) cut_target(job);
  return job;
}

Job backward_job(const Call& call) {
  Job job = job_of(call);
  if (call.grad_image && has_blocks(job, true)) job.path = Path::kBlocks;
  cut_source(job);
  if (job.path != Path::kBlocks && has_cells(job)) job.path = Path::kCells;
  job.summed = summed_by(job);
  if (job.path == Path::kCells && has_margins(job)) job.path = Path::kMargins;
  job.places = !job.both()                  ? job.groups
               : job.path == Path::kBlocks ? job.blocks
                                           : job.strips;
  return job;
}
