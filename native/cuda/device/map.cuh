// Elementwise loops: four neighbouring elements a thread, read and written 16 bytes at a time, or
// 8 where they are rounded. Outputs may lie on an input: an element is read before its place is
// written.
#pragma once

#include "cuda/device/result.cuh"

namespace tandem::cuda {

inline constexpr unsigned kMapThreads = 256;
inline constexpr int64_t kMapBlock = int64_t{kMapThreads} * 4;  ///< elements of a block

/// The first of this thread's four elements.
TANDEM_DEVICE int64_t map_index() {
  return (static_cast<int64_t>(blockIdx.x) * kMapThreads + threadIdx.x) * 4;
}

template <typename F>
TANDEM_DEVICE float4 apply4(const F& f, float4 x) {
  return make_float4(f(x.x), f(x.y), f(x.z), f(x.w));
}
template <typename F>
TANDEM_DEVICE float4 apply4(const F& f, float4 x, float4 y) {
  return make_float4(f(x.x, y.x), f(x.y, y.y), f(x.z, y.z), f(x.w, y.w));
}

/// out[i] = f(x[i])
template <typename F>
__global__ void __launch_bounds__(kMapThreads)
    map_kernel(F f, const float* x, Result out, int64_t n) {
  const int64_t i = map_index();
  if (i + 4 <= n) {
    const float4 v = *reinterpret_cast<const float4*>(x + i);
    store4(out, i, apply4(f, v));
  } else {
    for (int64_t k = i; k < n; ++k) store(out, k, f(x[k]));
  }
}

/// out[i] = f(x[i], y[i])
template <typename F>
__global__ void __launch_bounds__(kMapThreads)
    map_kernel(F f, const float* x, const float* y, Result out, int64_t n) {
  const int64_t i = map_index();
  if (i + 4 <= n) {
    const float4 v = *reinterpret_cast<const float4*>(x + i);
    const float4 w = *reinterpret_cast<const float4*>(y + i);
    store4(out, i, apply4(f, v, w));
  } else {
    for (int64_t k = i; k < n; ++k) store(out, k, f(x[k], y[k]));
  }
}

}  // namespace tandem::cuda
