// sum, mean, max, min, variance over any axes. Where the innermost axes are reduced ("rows"), the
// threads of a warp or of a block run along what an output takes in; where they are kept
// ("columns"), neighbouring threads have neighbouring outputs. Few outputs with much to reduce are
// cut into pieces, whose partial results a kernel of its own combines in order. Sums are in double
// precision: memory is the limit, not the adders. Those of 16-bit numbers begin as floats, of some
// ten rows a thread.
#include "cuda/device/column_sums.cuh"
#include "cuda/device/index.cuh"
#include "cuda/device/result.cuh"
#include "cuda/kernels.h"

#include <algorithm>

#include "core/ops/reduce.h"

namespace tandem::cuda {
namespace {

enum class Kind { kSum, kMax, kMin, kSquares };  // kSquares: of the distances from the mean

constexpr unsigned kThreads = 256;
constexpr unsigned kColumns = 32;       // outputs of a block of columns
constexpr int64_t kMinPiece = 2048;     // elements
constexpr int64_t kEnoughBlocks = 528;  // four for each multiprocessor of the largest devices
constexpr int64_t kWarpIsEnough = 512;  // elements that one warp reduces as fast as a block

struct Shape {
  Walk<1> kept, reduced;
  int64_t outputs, count;  // count: elements that an output takes in
  int64_t pieces, piece;   // elements of a piece
  bool small;              // positions fit the quick division
};

/// Where results go: to `out`, divided, or with `partial` as they are.
struct Target {
  double* partial;
  float* out;
  double divisor;
};

template <Kind kind>
TANDEM_DEVICE double neutral() {
  return kind == Kind::kMax   ? -static_cast<double>(INFINITY)
         : kind == Kind::kMin ? static_cast<double>(INFINITY)
                              : 0.0;
}

template <Kind kind>
TANDEM_DEVICE double take(double sum, float x, double mean) {
  if constexpr (kind == Kind::kSquares) {
    const double d = static_cast<double>(x) - mean;
    return sum + d * d;
  }
  if constexpr (kind == Kind::kMax) return Largest{}(sum, static_cast<double>(x));
  if constexpr (kind == Kind::kMin) return Smallest{}(sum, static_cast<double>(x));
  return sum + static_cast<double>(x);
}

template <Kind kind>
struct Join : Add {};
template <>
struct Join<Kind::kMax> : Largest {};
template <>
struct Join<Kind::kMin> : Smallest {};

TANDEM_DEVICE int64_t offset_of(const Walk<1>& walk, int64_t index, bool small) {
  if (walk.rank == 1) return index * walk.strides[0][0];
  int64_t at[1];
  if (small) {
    locate<true>(walk, index, at);
  } else {
    locate<false>(walk, index, at);
  }
  return at[0];
}

TANDEM_DEVICE void put(const Shape& s, const Target& to, int64_t output, int64_t piece,
                       double value) {
  if (to.partial != nullptr) {
    to.partial[piece * s.outputs + output] = value;
  } else {
    to.out[output] = static_cast<float>(value / to.divisor);
  }
}

/// `threads` threads an output: a warp, or the block.
template <Kind kind, unsigned threads>
__global__ void __launch_bounds__(kThreads)
    rows_kernel(Shape s, const float* x, const double* means, Target to) {
  constexpr unsigned kPerBlock = kThreads / threads;
  const int64_t task = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / threads;
  if (task >= s.outputs * s.pieces) return;  // whole warps alike
  const int64_t output = task % s.outputs;
  const int64_t piece = task / s.outputs;
  const float* const row = x + offset_of(s.kept, output, s.small);
  const double mean = kind == Kind::kSquares ? means[output] : 0.0;
  const int64_t begin = piece * s.piece;
  const int64_t end = begin + s.piece < s.count ? begin + s.piece : s.count;
  double sum = neutral<kind>();
  for (int64_t i = begin + threadIdx.x % threads; i < end; i += threads)
    sum = take<kind>(sum, row[offset_of(s.reduced, i, s.small)], mean);
  sum = fold_threads<threads>(sum, Join<kind>{}, neutral<kind>());
  if (threadIdx.x % threads == 0) put(s, to, output, piece, sum);
}

/// A block has kColumns outputs and kThreads / kColumns threads for each.
template <Kind kind>
__global__ void __launch_bounds__(kThreads)
    columns_kernel(Shape s, const float* x, const double* means, Target to) {
  constexpr unsigned kRows = kThreads / kColumns;
  __shared__ double sums[kRows][kColumns];
  const int64_t strips = (s.outputs + kColumns - 1) / kColumns;
  const int64_t piece = blockIdx.x / strips;
  const unsigned column = threadIdx.x % kColumns;
  const unsigned row = threadIdx.x / kColumns;
  const int64_t output = (blockIdx.x % strips) * kColumns + column;
  double sum = neutral<kind>();
  if (output < s.outputs) {
    const float* const top = x + offset_of(s.kept, output, s.small);
    const double mean = kind == Kind::kSquares ? means[output] : 0.0;
    const int64_t begin = piece * s.piece;
    const int64_t end = begin + s.piece < s.count ? begin + s.piece : s.count;
    for (int64_t i = begin + row; i < end; i += kRows)
      sum = take<kind>(sum, top[offset_of(s.reduced, i, s.small)], mean);
  }
  sums[row][column] = sum;
  __syncthreads();
  if (row != 0 || output >= s.outputs) return;
  for (unsigned i = 1; i < kRows; ++i) sum = Join<kind>{}(sum, sums[i][column]);
  put(s, to, output, piece, sum);
}

/// Joins the pieces of each output; with `means` the quotients stay in double precision.
template <Kind kind>
__global__ void __launch_bounds__(kThreads)
    combine_kernel(Shape s, const double* partial, double divisor, float* out, double* means) {
  const int64_t output = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (output >= s.outputs) return;
  double sum = neutral<kind>();
  for (int64_t piece = 0; piece < s.pieces; ++piece)
    sum = Join<kind>{}(sum, partial[piece * s.outputs + output]);
  if (means != nullptr) {
    means[output] = sum / divisor;
  } else {
    out[output] = static_cast<float>(sum / divisor);
  }
}

bool is_reduced(const IntList& axes, int32_t axis) {
  for (int i = 0; i < axes.count; ++i) {
    if (axes.values[i] == axis) return true;
  }
  return false;
}

Shape shape_of(const Tensor& x, const IntList& axes, bool& rows) {
  Shape s{};
  rows = true;
  for (int32_t i = 0; i < x.rank; ++i) {
    const bool reduced = is_reduced(axes, i);
    (reduced ? s.reduced : s.kept).add(x.dims[i], {stride_of(x, i)});
    if (x.dims[i] != 1) rows = reduced;
  }
  s.kept.finish();
  s.reduced.finish();
  s.outputs = s.kept.count();
  s.count = s.reduced.count();
  s.small = s.kept.is_small() && s.reduced.is_small();
  const int64_t blocks = rows ? s.outputs : ceil_div(s.outputs, kColumns);
  const int64_t wanted = blocks > 0 ? ceil_div(kEnoughBlocks, blocks) : 1;
  const int64_t most = ceil_div(s.count, kMinPiece);
  s.pieces = wanted < most ? wanted : most;
  if (s.pieces < 1) s.pieces = 1;
  s.piece = ceil_div(s.count, s.pieces);
  if (s.piece > 0) s.pieces = ceil_div(s.count, s.piece);
  return s;
}

template <Kind kind>
void reduce_to(Launch& launch, const Shape& s, bool rows, const double* means, const Target& to) {
  const float* const x = launch.in(0);
  if (!rows) {
    launch.kernel(columns_kernel<kind>, ceil_div(s.outputs, kColumns) * s.pieces, kThreads, s, x,
                  means, to);
  } else if (s.count <= kWarpIsEnough) {
    launch.kernel(rows_kernel<kind, 32>, ceil_div(s.outputs * s.pieces, kThreads / 32), kThreads, s,
                  x, means, to);
  } else {
    launch.kernel(rows_kernel<kind, kThreads>, s.outputs * s.pieces, kThreads, s, x, means, to);
  }
}

/// Sums and extremes: one fold over the input, straight into the output unless it is cut.
template <Kind kind>
void launch_fold(Launch& launch, bool is_mean) {
  bool rows = false;
  const Shape s = shape_of(launch.input(0), launch.attributes<ops::ReduceAttributes>().axes, rows);
  if (s.outputs == 0) return;
  const double divisor = is_mean ? static_cast<double>(s.count) : 1.0;
  if (s.pieces == 1) {
    reduce_to<kind>(launch, s, rows, nullptr, {nullptr, launch.out(), divisor});
    return;
  }
  auto* const partial = launch.workspace<double>(s.pieces * s.outputs);
  reduce_to<kind>(launch, s, rows, nullptr, {partial, nullptr, 1.0});
  launch.kernel(combine_kernel<kind>, ceil_div(s.outputs, kThreads), kThreads, s, partial, divisor,
                launch.out(), static_cast<double*>(nullptr));
}

// ---- sums of the columns of a matrix of 16 bits ------------------------------------------------

constexpr unsigned kEights = 8;                     // of neighbouring columns, in a block
constexpr unsigned kStrip = 8 * kEights;            // columns of a block
constexpr unsigned kHalfRows = kThreads / kEights;  // that a block reads at once
constexpr int64_t kHalfBlocks = 2 * kEnoughBlocks;  // all of a device at once
constexpr int64_t kMostRows = 1024;                 // of a piece: few enough to add up as floats

struct HalfColumns {
  const uint16_t* x;
  int64_t rows, columns, along;  // along: from row to row, a multiple of 8
  int64_t piece;                 // rows of a piece
  double* partial;
};

template <bool bfloat16>
__global__ void __launch_bounds__(kThreads) half_columns_kernel(HalfColumns s) {
  __shared__ float sums[kHalfRows][kStrip + 1];
  const int64_t strips = (s.columns + kStrip - 1) / kStrip;
  const int64_t piece = blockIdx.x / strips;
  const int64_t strip = (blockIdx.x % strips) * kStrip;
  const unsigned eight = 8 * (threadIdx.x % kEights);
  const unsigned row = threadIdx.x / kEights;
  const int64_t begin = piece * s.piece;
  const int64_t end = begin + s.piece < s.rows ? begin + s.piece : s.rows;
  float own[8] = {};
  if (strip + eight < s.columns) {
    const uint16_t* const x = s.x + strip + eight;
#pragma unroll 4
    for (int64_t i = begin + row; i < end; i += kHalfRows) {
      const uint4 pairs = *reinterpret_cast<const uint4*>(x + i * s.along);
      const uint32_t all[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float2 two = widen_pair(all[k], bfloat16);
        own[2 * k] += two.x;
        own[2 * k + 1] += two.y;
      }
    }
  }
#pragma unroll
  for (int k = 0; k < 8; ++k) sums[row][eight + k] = own[k];
  __syncthreads();
  const unsigned column = threadIdx.x;
  if (column >= kStrip || strip + column >= s.columns) return;
  double sum = 0.0;
  for (unsigned i = 0; i < kHalfRows; ++i) sum += static_cast<double>(sums[i][column]);
  s.partial[piece * s.columns + strip + column] = sum;
}

void launch_half_columns(Launch& launch) {
  const Tensor& x = launch.input(0);
  HalfColumns s{};
  s.x = launch.in<uint16_t>(0);
  s.rows = x.dims[0];
  s.columns = x.dims[1];
  s.along = s.columns + x.padding;
  if (s.columns == 0) return;
  const int64_t strips = ceil_div(s.columns, kStrip);
  int64_t pieces = std::max(ceil_div(kHalfBlocks, strips), ceil_div(s.rows, kMostRows));
  s.piece = std::max(ceil_div(s.rows, pieces), int64_t{kHalfRows});
  pieces = std::max(ceil_div(s.rows, s.piece), int64_t{1});
  s.partial = launch.workspace<double>(pieces * s.columns);
  if (x.dtype == DType::kBFloat16) {
    launch.kernel(half_columns_kernel<true>, strips * pieces, kThreads, s);
  } else {
    launch.kernel(half_columns_kernel<false>, strips * pieces, kThreads, s);
  }
  launch_join_columns<double>(launch, s.partial, pieces, s.columns,
                              {launch.out(), s.columns, nullptr});
}

}  // namespace

void launch_sum(Launch& launch) {
  if (is_half(launch.input(0).dtype)) return launch_half_columns(launch);
  launch_fold<Kind::kSum>(launch, false);
}
void launch_mean(Launch& launch) { launch_fold<Kind::kSum>(launch, true); }
void launch_max(Launch& launch) { launch_fold<Kind::kMax>(launch, false); }
void launch_min(Launch& launch) { launch_fold<Kind::kMin>(launch, false); }

void launch_variance(Launch& launch) {
  bool rows = false;
  const Shape s = shape_of(launch.input(0), launch.attributes<ops::ReduceAttributes>().axes, rows);
  if (s.outputs == 0) return;
  const auto count = static_cast<double>(s.count);
  auto* const means = launch.workspace<double>(s.outputs);
  double* const partial = launch.workspace<double>(s.pieces * s.outputs);
  reduce_to<Kind::kSum>(launch, s, rows, nullptr, {partial, nullptr, 1.0});
  launch.kernel(combine_kernel<Kind::kSum>, ceil_div(s.outputs, kThreads), kThreads, s, partial,
                count, launch.out(), means);
  reduce_to<Kind::kSquares>(launch, s, rows, means, {partial, nullptr, 1.0});
  launch.kernel(combine_kernel<Kind::kSquares>, ceil_div(s.outputs, kThreads), kThreads, s, partial,
                count, launch.out(), static_cast<double*>(nullptr));
}

}  // namespace tandem::cuda
