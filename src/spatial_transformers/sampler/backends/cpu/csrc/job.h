// A call as the compiled code runs it: which path it takes, and how it is cut into tasks.
#pragma once
#include "call.h"

constexpr int64_t kExact = 1 << 24;  // pixels along an axis that float32 can count
constexpr int kTile = 64;            // points that are computed side by side
constexpr int kLanes = 16;           // in which sums over points are kept
constexpr int64_t kGroup = 64;       // tiles in a task
constexpr int kMargin = 2;           // pixels around a copied image
constexpr int64_t kChunk = 4;        // channels whose gradients are summed in cells at once

// The compiled paths. `choose.cpp` chooses among them.
enum class Path {
  kTiles,    // points read and add where pixels lie
  kBlocks,   // channels in planes are brought side by side, a block at a time
  kWindows,  // forward: a window of the target reads a copy of the box that it needs
  kCells,    // backward: the image's gradient is summed in cells between pixels
  kMargins,  // backward: in cells, and a copy of the image with a margin is read
};

// Which pass of backward sums the gradients to coordinates and fill.
enum class Summed {
  kByGroup,    // one of its own, a group of an image's tiles per task
  kByOwner,    // one of its own, a group of all images' tiles per task
  kWithImage,  // that of the image's gradient
};

struct Range {
  int64_t low, high;  // of the slowest axis: pixels in [low, high)
};

struct Tile {
  int64_t start, count;  // consecutive points of the flattened target
};

// How the target is cut into windows of kGroup tiles.
struct Windows {
  int64_t count, across;  // of an image, and side by side
  int64_t width, step;    // points in a tile, and between the beginnings of two
};

// The memory that is read, in pixels of the source.
struct Memory {
  int64_t origin[3], extent[3];
  bool margin;  // it reaches beyond the source, so that every tap is a pixel of it
};

struct Job {
  Call call;
  Path path;
  Summed summed;
  int64_t width;                    // channels computed side by side where they lie: 1, 4, `kBlock`
  int64_t points, pixels;           // of the target, of the source
  Memory memory;
  int64_t tiles, groups;            // per image
  int64_t strips, strip_rows;       // of the source along its slowest axis, for its gradient
  int64_t block, blocks;            // channels brought side by side at a time; how often
  Windows windows;
  bool near;                        // an image is small enough for the nearest memory
  int64_t places;                   // where sums for an image are kept: one of a task each
  double *matrix_sums, *fill_sums;  // per image and place
  Range* ranges;                    // per image and tile: what it reads of the slowest axis
  int32_t* failed;                  // set to 1 where memory was lacking

  bool both() const { return summed == Summed::kWithImage; }

  int64_t last_tile(int64_t group) const {
    return (group + 1) * kGroup < tiles ? (group + 1) * kGroup : tiles;
  }

  int64_t rows() const { return call.ndim + (call.form == kPerspective); }

  Tile tile(int64_t t) const {
    const int64_t start = t * kTile;
    return {start, points - start < kTile ? points - start : kTile};
  }

  // Tile k of a window; one that begins after the last point has none.
  Tile tile(int64_t window, int64_t k) const {
    const int64_t left = window % windows.across * windows.width, rest = windows.step - left;
    const int64_t start = (window / windows.across * kGroup + k) * windows.step + left;
    int64_t count = windows.width < rest ? windows.width : rest;
    if (points - start < count) count = points - start;
    return {start, count};
  }
};

// Bytes of a value of the image.
inline int64_t size_of(const Call& call) {
  return call.dtype == kFloat64 ? 8 : call.dtype == kFloat32 ? 4 : 2;
}

// Channels whose gradients are summed in cells at once.
inline int64_t chunk_of(const Call& call) {
  return call.channels < kChunk ? call.channels : kChunk;
}

// Runs tasks [begin, end). What a task is, the passes say.
using Run = void (*)(const Job&, int64_t begin, int64_t end);

struct Backward {
  Run find_ranges, gather, scatter;
};

// Runs tasks of a filter: sixteen lines each, within one of `outer` where `inner` is as long.
using FilterRun = void (*)(const Filter&, int64_t begin, int64_t end);

// Follows parts [begin, end) of all samples' points.
using FlowRun = void (*)(const Flow&, int64_t begin, int64_t end);

struct WidePasses {
  Run pack, forward, gather, scatter, collect;
};

// A call of a kernel of three taps and more. A copy of the image with a margin is read, in which
// every tap of every point is a pixel, and channels lie side by side in blocks.
struct Wide : Job {
  int64_t side;            // channels of a block: 1, 4 or 16
  int64_t extent[3];       // of the copy in pixels: a margin as wide as there are taps on all sides
  int64_t room;            // values of a block
  int64_t images, first;   // copied at a time; the first of them
  int64_t slabs, slab_rows;  // in which a block is copied, along the slowest axis
  void *values, *grads;    // the copies, and their gradients
};
