// How a call is cut into tasks. It depends on sizes only, never on the number of threads, so that
// sums have one order.
#pragma once
#include "call.h"

constexpr int64_t kExact = 1 << 24;    // pixels along an axis that float32 can count
constexpr int kTile = 64;        // points that are computed side by side
constexpr int kLanes = 16;       // in which sums over points are kept
constexpr int64_t kGroup = 64;   // tiles in a task
constexpr int64_t kImages = 4;   // fewer are cut into strips, into kManyTasks in all
constexpr int64_t kManyTasks = 32;
constexpr int64_t kCells = 1 << 22;         // most bytes of cells, which must be near
constexpr int64_t kStripPixels = 1 << 14;   // of the source, at least, in a strip
constexpr int64_t kSpread = 8;              // channels from which they are computed side by side
constexpr int kMargin = 2;                  // pixels around a copied image
constexpr int64_t kCopied = 1 << 16;        // most pixels and channels of an image that is copied
constexpr int64_t kChunk = 4;               // channels whose gradients are summed in cells at once
constexpr int64_t kTransposed = 1 << 17;    // most pixels of source and target that are transposed

struct Range {
  int64_t low, high;  // of the slowest axis: pixels in [low, high)
};

struct Tile {
  int64_t start, count;  // consecutive points of the flattened target
};

struct Job {
  Call call;
  int64_t points, pixels;      // of the target, of the source
  int64_t tiles, groups;       // per image
  int64_t strips, strip_rows;  // of the source along its slowest axis, for the image's gradient
  int64_t blocks;              // of channels that are transposed to lie side by side; 0: none are
  bool margins;                // an image is copied with a margin, so that every tap is a pixel
  bool near;                   // an image is small enough for the nearest memory
  bool cells;                  // the image's gradient is summed in cells
  bool owners;                 // a group of tiles is one task for all images
  bool both;                   // one pass gives the gradients to image and coordinates
  double *matrix_sums, *fill_sums;  // per image, group and block
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
};

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
