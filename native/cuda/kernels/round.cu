// What products of 16 bits need around them: factors rounded, eight neighbours a thread, and
// results whose rows are moved together.
#include "cuda/device/result.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kEach = 8;

template <bool bfloat16>
__global__ void __launch_bounds__(kThreads) round_kernel(const float* x, uint16_t* y, int64_t n) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach;
  if (i + kEach <= n) {
    const float4 a = *reinterpret_cast<const float4*>(x + i);
    const float4 b = *reinterpret_cast<const float4*>(x + i + 4);
    *reinterpret_cast<uint4*>(y + i) =
        make_uint4(round_pair(a.x, a.y, bfloat16), round_pair(a.z, a.w, bfloat16),
                   round_pair(b.x, b.y, bfloat16), round_pair(b.z, b.w, bfloat16));
  } else {
    for (int64_t k = i; k < n; ++k) y[k] = round_to_16(x[k], bfloat16);
  }
}

/// Rows that end between two eights, and so begin anywhere.
template <bool bfloat16>
__global__ void __launch_bounds__(kThreads)
    round_rows_kernel(const float* x, uint16_t* y, int64_t rows, int64_t columns, int64_t along) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach;
  if (i >= rows * along) return;
  const int64_t row = i / along;
  const int64_t column = i - row * along;
  const float* const from = x + row * columns;
  uint32_t pairs[kEach / 2];
#pragma unroll
  for (int k = 0; k < kEach / 2; ++k) {
    const int64_t c = column + 2 * k;
    pairs[k] =
        round_pair(c < columns ? from[c] : 0.0F, c + 1 < columns ? from[c + 1] : 0.0F, bfloat16);
  }
  *reinterpret_cast<uint4*>(y + i) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
}

__global__ void __launch_bounds__(kThreads)
    pack_rows_kernel(const float* from, float* to, int64_t n, int64_t columns, int64_t along) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kEach + threadIdx.x;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int64_t i = first + static_cast<int64_t>(k) * kThreads;
    if (i < n) to[i] = from[i / columns * along + i % columns];
  }
}

template <bool bfloat16>
void launch_as(Launch& launch, const Rounding& r) {
  auto* const y = static_cast<uint16_t*>(r.y);
  const int64_t blocks = ceil_div(r.rows * r.along, int64_t{kThreads} * kEach);
  if (r.along == r.columns) {
    launch.kernel(round_kernel<bfloat16>, blocks, kThreads, r.x, y, r.rows * r.columns);
  } else {
    launch.kernel(round_rows_kernel<bfloat16>, blocks, kThreads, r.x, y, r.rows, r.columns,
                  r.along);
  }
}

}  // namespace

void launch_round(Launch& launch, const Rounding& rounding) {
  if (rounding.bfloat16) return launch_as<true>(launch, rounding);
  launch_as<false>(launch, rounding);
}

void launch_pack_rows(Launch& launch, const float* from, float* to, int64_t rows, int64_t columns,
                      int64_t along) {
  const int64_t n = rows * columns;
  launch.kernel(pack_rows_kernel, ceil_div(n, int64_t{kThreads} * kEach), kThreads, from, to, n,
                columns, along);
}

}  // namespace tandem::cuda
