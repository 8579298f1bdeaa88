// The C interface: one struct of 8-byte fields, which `cpu.py` packs in this order.
//
// Axes are in the order of coordinates, x first; strides count elements. Memory belongs to the
// caller. Nothing here needs the headers of PyTorch or of Python.
#pragma once
#include <cstdint>

constexpr int64_t kAbi = 5;  // raise it with every change of `Call` or of what a field means

enum Dtype : int64_t { kFloat32, kFloat64, kFloat16, kBfloat16 };
enum Padding : int64_t { kZeros, kConstant, kBorder, kReflection, kWrap, kRenormalise };
enum Form : int64_t { kMatrix, kPerspective, kPoints };

using Body = void (*)(int64_t begin, int64_t end, void* context);
// Returns 0, and has then run `body` on ranges that cover [begin, end) once.
using ParallelFor = int32_t (*)(int64_t begin, int64_t end, int64_t grain, Body, void* context);

struct Strides {
  int64_t batch, channel, pixel;
};

struct Call {
  int64_t abi, isa;  // isa: an index of `stn_isa_name`, or -1 for the best that this machine has
  int64_t dtype, ndim, taps, padding, align_corners, form;
  int64_t batch, channels;
  int64_t source[3], target[3];
  Strides image, output;  // `output` is also of its gradient
  int64_t image_batch;        // divides `batch`: an image serves consecutive maps
  int64_t coordinates_batch;  // 1, or `batch`
  int64_t columns, functions;  // of M_θ; of B beyond the homogeneous coordinates
  // Of kernels of three taps and more, which may weigh the coefficients of a prefilter: how many of
  // these come before the image's first pixel, and whether all of an axis of ones are ones.
  int64_t degree, lead[3], plain;
  double factor[4][3], scale[4];  // by which M_θ maps to pixels: columns of axes, and the others
  double centre[3];
  double unit[3][3];  // per axis (add, scale, offset): the pixel of a point
  double max_shrink;  // how far kernels widen at most, in calls of those that do
  const void *image_data, *coordinates_data, *functions_data, *fill_data;
  // Per tap: two polynomials of the place between pixels, from -1 to 1, for the weight and its
  // slope; and the weights at both ends.
  const double* kernel_data;
  // Per axis, from as many pixels as there are taps before the first on, to as many after the last:
  // the pixel that is read there, or -1, and what is read there if the axis holds ones.
  const int32_t* read_data;
  const double* coverage_data;
  // Of kernels that widen: per affine map a `Stretch`, which `stn_stretch` writes; of other maps
  // (ndim² + 1, points) each, in the numbers of coordinates: whether a point's kernel widens, and
  // its P⁻¹. `kernel_data` then is that of `Pieces`.
  void* stretch_data;
  void* output_data;
  const void* grad_data;  // of the output
  // Gradients, in float64 if the image is and otherwise in float32; null where not wanted.
  void *grad_image, *grad_coordinates, *grad_functions, *grad_fill;
  void* grad_stretch;  // as `stretch_data`; of affine maps it is part of that to the coordinates
  ParallelFor parallel_for;
};

// A prefilter along one axis of (outer, length, inner) values: to (outer, written_length, inner),
// or back with `transposed`, added to values.
struct Filter {
  int64_t abi, isa, precise, transposed;
  int64_t outer, length, written_length, inner;
  int64_t buffer, poles;  // a line's values when it is filtered; of the filter, inside |z| = 1
  double pole[4];
  const int32_t *read, *written;  // where a line's values come from and go to, or -1
  const void* from;
  void* to;
  int32_t* failed;
  ParallelFor parallel_for;
};

// Points that follow a velocity which is affine on every simplex: see grid/families/cpab.py.
struct Flow {
  int64_t abi, isa, precise;
  int64_t ndim, batch, points, start_batch;  // a batch of 1 serves all
  int64_t steps, simplices, cells[3];
  int64_t parts;     // of a sample's points, which are followed at a time
  const void* rows;  // (batch, simplices, ndim + ndim²)
  const void* start;  // (start_batch, ndim, points), in cells
  const void* grad;   // of `moved`; null: forward
  void* moved;        // (batch, ndim, points); backward: the gradient to `start`, or null
  double* sums;       // backward: the gradient to `rows`, per sample and part; zeros, or null
  int32_t* failed;
  ParallelFor parallel_for;
};

#define STN_API extern "C" __attribute__((visibility("default")))

STN_API int64_t stn_abi();
STN_API int64_t stn_call_size();
STN_API const char* stn_isa_name(int64_t isa);  // null: there is none, or this machine lacks it
STN_API int32_t stn_forward(const Call*);       // 0, or 1: out of memory, 2: another interface
STN_API int32_t stn_backward(const Call*);
// Of kernels that widen, which is written or added for the points where they do. Images, outputs and
// their gradients are planes of the numbers that are computed with.
STN_API int32_t stn_stretch(const Call*);
STN_API int32_t stn_antialias(const Call*);
STN_API int32_t stn_antialias_backward(const Call*);
STN_API int32_t stn_flow(const Flow*);
STN_API int32_t stn_filter(const Filter*);  // 3 too: a result is not finite
