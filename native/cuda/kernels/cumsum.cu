// cumsum: the sums of all elements up to each one along an axis, in double precision; from the
// other end when `reverse`. x is seen as [outer, axis, inner]. With inner == 1 a block has a row,
// which it takes in pieces of one element a thread; otherwise a thread has a row of its own and its
// neighbours the neighbouring ones. In place: whoever has a piece reads it before writing it.
#include "core/ops/cumsum.h"

#include "cuda/device/fold.cuh"
#include "cuda/device/index.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

/// The sum of the values of all threads up to this one; `total` gets that of the block.
TANDEM_DEVICE double scan_block(double value, double& total) {
  __shared__ double warps[kThreads / 32];
  const unsigned lane = threadIdx.x % 32;
  const unsigned warp = threadIdx.x / 32;
#pragma unroll
  for (unsigned step = 1; step < 32; step *= 2) {
    const double before = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += before;
  }
  __syncthreads();  // the scan before this one may still be reading
  if (lane == 31) warps[warp] = value;
  __syncthreads();
  total = 0.0;
  for (unsigned i = 0; i < kThreads / 32; ++i) {
    if (i == warp) value += total;
    total += warps[i];
  }
  return value;
}

__global__ void __launch_bounds__(kThreads)
    rows_kernel(const float* x, float* out, int64_t n, bool reverse) {
  x += blockIdx.x * n;
  out += blockIdx.x * n;
  double carry = 0.0;
  for (int64_t begin = 0; begin < n; begin += kThreads) {
    const int64_t i = begin + threadIdx.x;
    const int64_t at = reverse ? n - 1 - i : i;
    double total = 0.0;
    const double sum = scan_block(i < n ? static_cast<double>(x[at]) : 0.0, total);
    if (i < n) out[at] = static_cast<float>(carry + sum);
    carry += total;
  }
}

__global__ void __launch_bounds__(kThreads)
    columns_kernel(const float* x, float* out, int64_t columns, int64_t n, int64_t inner,
                   bool reverse) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= columns) return;
  const int64_t base = column / inner * n * inner + column % inner;
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = base + (reverse ? n - 1 - i : i) * inner;
    sum += static_cast<double>(x[at]);
    out[at] = static_cast<float>(sum);
  }
}

}  // namespace

void launch_cumsum(Launch& launch) {
  const auto& attributes = launch.attributes<ops::CumSum::Attributes>();
  const Tensor& x = launch.input(0);
  if (x.numel == 0) return;
  const int64_t n = x.dims[attributes.axis];
  const int64_t inner = stride_of(x, attributes.axis);
  const int64_t rows = x.numel / n;
  if (inner == 1) {
    launch.kernel(rows_kernel, rows, kThreads, launch.in(0), launch.out(), n, attributes.reverse);
  } else {
    launch.kernel(columns_kernel, ceil_div(rows, kThreads), kThreads, launch.in(0), launch.out(),
                  rows, n, inner, attributes.reverse);
  }
}

}  // namespace tandem::cuda
