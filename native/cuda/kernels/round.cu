// Floats rounded to 16 bits, eight neighbours a thread, for products that take such factors.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/device/scalar.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kEach = 8;

struct ToBfloat16 {
  TANDEM_DEVICE uint16_t operator()(float x) const {
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
  }
};
struct ToFloat16 {
  TANDEM_DEVICE uint16_t operator()(float x) const { return __half_as_ushort(__float2half_rn(x)); }
};

template <typename Round>
TANDEM_DEVICE uint32_t two(float low, float high) {
  return Round{}(low) | static_cast<uint32_t>(Round{}(high)) << 16;
}

template <typename Round>
__global__ void __launch_bounds__(kThreads) round_kernel(const float* x, uint16_t* y, int64_t n) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach;
  if (i + kEach <= n) {
    const float4 a = *reinterpret_cast<const float4*>(x + i);
    const float4 b = *reinterpret_cast<const float4*>(x + i + 4);
    *reinterpret_cast<uint4*>(y + i) = make_uint4(two<Round>(a.x, a.y), two<Round>(a.z, a.w),
                                                  two<Round>(b.x, b.y), two<Round>(b.z, b.w));
  } else {
    for (int64_t k = i; k < n; ++k) y[k] = Round{}(x[k]);
  }
}

}  // namespace

void launch_round(Launch& launch, const float* x, void* y, int64_t n, bool bfloat16) {
  auto* const to = static_cast<uint16_t*>(y);
  const int64_t blocks = ceil_div(n, int64_t{kThreads} * kEach);
  if (bfloat16) {
    launch.kernel(round_kernel<ToBfloat16>, blocks, kThreads, x, to, n);
  } else {
    launch.kernel(round_kernel<ToFloat16>, blocks, kThreads, x, to, n);
  }
}

}  // namespace tandem::cuda
