// where(c, a, b): a where c is not zero (NaN is not), b elsewhere; the three broadcast and are
// walked together. c may be int32.
#include "cuda/device/index.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

/// `mask` leaves the sign out where c is a float: -0 is zero.
template <bool small>
__global__ void __launch_bounds__(kThreads)
    where_kernel(Walk<3> walk, const uint32_t* c, uint32_t mask, const float* a, const float* b,
                 float* out, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  int64_t at[3];
  locate<small>(walk, i, at);
  out[i] = (c[at[0]] & mask) != 0 ? a[at[1]] : b[at[2]];
}

}  // namespace

void launch_where(Launch& launch) {
  const Tensor& out = launch.output();
  const int64_t n = out.numel;
  if (n == 0) return;
  Walk<3> walk;
  for (int32_t i = 0; i < out.rank; ++i) {
    const int64_t dim = out.dims[i];
    walk.add(dim, {broadcast_stride(launch.input(0), out.rank, i, dim),
                   broadcast_stride(launch.input(1), out.rank, i, dim),
                   broadcast_stride(launch.input(2), out.rank, i, dim)});
  }
  walk.finish();
  const uint32_t mask = launch.input(0).dtype == DType::kFloat32 ? 0x7fffffffU : 0xffffffffU;
  const auto kernel = walk.is_small() ? where_kernel<true> : where_kernel<false>;
  launch.kernel(kernel, ceil_div(n, kThreads), kThreads, walk, launch.in<uint32_t>(0), mask,
                launch.in(1), launch.in(2), launch.out(), n);
}

}  // namespace tandem::cuda
