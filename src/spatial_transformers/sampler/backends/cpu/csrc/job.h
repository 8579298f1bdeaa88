// How a call is cut into tasks. It depends on sizes only, never on the number of threads, so that
// sums have one order.
#pragma once
#include "call.h"

constexpr int64_t kExact = 1 << 24;        // pixels along an axis that float32 can count
constexpr int kTile = 64;                  // points that are computed side by side
constexpr int kLanes = 16;                 // in which sums over points are kept
constexpr int64_t kGroup = 64;             // tiles in a task
constexpr int64_t kImages = 4;             // fewer are cut into strips, into kManyTasks in all
constexpr int64_t kManyTasks = 32;
constexpr int64_t kCells = 1 << 22;        // most bytes of cells, which must be near
constexpr int64_t kStripPixels = 1 << 14;  // of the source, at least, in a strip
constexpr int64_t kSpread = 8;             // channels from which they are computed side by side
constexpr int kMargin = 2;                 // pixels around a copied image
constexpr int64_t kCopied = 1 << 16;       // most pixels and channels of an image copied as a whole
constexpr int64_t kChunk = 4;              // channels whose gradients are summed in cells at once
constexpr int64_t kNarrow = 128;           // longer rows are cut into windows side by side
constexpr int64_t kTransposed = 1 << 17;   // most pixels of source and target that are transposed

struct Range {
  int64_t low, high;  // of the slowest axis: pixels in [low, high)
};

struct Tile {
  int64_t start, count;  // consecutive points of the flattened target
};

// How the target is cut into windows of kGroup tiles.
struct Windows {
  int64_t count, across;  // of an image, and side by side; 0: there are none
  int64_t width, step;    // points in a tile, and between the beginnings of two
};

struct Job {
  Call call;
  int64_t points, pixels;           // of the target, of the source
  int64_t origin[3], extent[3];     // of the memory that is read, in pixels of the source
  int64_t tiles, groups;            // per image
  int64_t strips, strip_rows;       // of the source along its slowest axis, for its gradient
  int64_t blocks;                   // of channels that are brought side by side; 0: none are
  Windows windows;                  // how the target is cut, if copies of the source are read
  bool margins;                     // copies have a margin, so that every tap is a pixel
  bool near;                        // an image is small enough for the nearest memory
  bool cells;                       // the image's gradient is summed in cells
  bool owners;                      // a group of tiles is one task for all images
  bool both;                        // one pass gives the gradients to image and coordinates
  int64_t places;                   // where sums for an image are kept: one of a task each
  double *matrix_sums, *fill_sums;  // per image and place
  Range* ranges;                    // per image and tile: what it reads of the slowest axis
  int32_t* failed;                  // set to 1 where memory was lacking

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

// Channels whose gradients are summed in cells at once.
inline int64_t chunk_of(const Call& call) {
  return call.channels < kChunk ? call.channels : kChunk;
}

// Whether channels lie in planes.
inline bool in_planes(const Call& call) {
  return call.image.pixel == 1 && (call.image.channel != 1 || call.channels == 1);
}

// How many channels in planes are brought side by side; `kBlock` in the code for them.
inline int64_t side_width(const Call& call) {
  if (call.channels < kSpread) return call.channels == 1 ? 1 : 4;
  return call.dtype == kFloat64 ? 8 : 16;
}

// Whether four channels have code of their own, for two taps in 2-D.
inline bool by_four(const Call& call) {
  const bool wide = call.dtype == kFloat32 || call.dtype == kFloat64;
  return call.channels == 4 && call.taps == 2 && call.ndim == 2 && wide;
}

// Whether channels lie side by side in memory, and fill vectors.
inline bool side_by_side(const Call& call) {
  const bool fill = call.channels >= kSpread || by_four(call);
  return call.image.channel == 1 && call.output.channel == 1 && fill;
}

// One instruction set's code, for a range of tasks each.
struct Core {
  // A task is a group of an image's tiles; a block of its channels; with margins an image.
  void (*forward)(const Job&, int64_t begin, int64_t end);
  // A group of an image's tiles.
  void (*find_ranges)(const Job&, int64_t begin, int64_t end);
  // A group of an image's tiles, or if `owners` of all images'.
  void (*gather)(const Job&, int64_t begin, int64_t end);
  // A strip of an image of the source, or a block of its channels.
  void (*scatter)(const Job&, int64_t begin, int64_t end);
};
