// out = f(a, b) with NumPy's broadcasting, for every BINARY of elementwise.def. Operands of one
// shape are mapped; others are walked, four elements of the innermost dimension a thread where its
// length allows: along it an operand is contiguous or repeats one element.
#include "cuda/device/index.cuh"
#include "cuda/device/map.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

#define BINARY(name, forward, gradient_a, gradient_b)                                          \
  struct name##Function {                                                                      \
    TANDEM_DEVICE float operator()([[maybe_unused]] float a, [[maybe_unused]] float b) const { \
      return forward;                                                                          \
    }                                                                                          \
  };
#include "core/elementwise.def"

/// Four elements along the innermost dimension from `x` on, whose stride is 1 or 0.
TANDEM_DEVICE float4 load4(const float* x, int64_t stride) {
  if (stride == 1) return *reinterpret_cast<const float4*>(x);
  const float value = *x;
  return make_float4(value, value, value, value);
}

template <typename F, bool small, bool vector>
__global__ void __launch_bounds__(kMapThreads)
    broadcast_kernel(Walk<2> walk, const float* a, const float* b, float* out, int64_t n) {
  const F f{};
  int64_t at[2];
  if constexpr (vector) {
    const int64_t i = map_index();
    if (i >= n) return;
    locate<small>(walk, i, at);
    const int last = walk.rank - 1;
    const float4 x = load4(a + at[0], walk.strides[0][last]);
    const float4 y = load4(b + at[1], walk.strides[1][last]);
    *reinterpret_cast<float4*>(out + i) = apply4(f, x, y);
  } else {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kMapThreads + threadIdx.x;
    if (i >= n) return;
    locate<small>(walk, i, at);
    out[i] = f(a[at[0]], b[at[1]]);
  }
}

template <typename F, bool small>
void launch_walk(Launch& launch, const Walk<2>& walk, int64_t n) {
  if (walk.dims[walk.rank - 1] % 4 == 0) {
    launch.kernel(broadcast_kernel<F, small, true>, ceil_div(n, kMapBlock), kMapThreads, walk,
                  launch.in(0), launch.in(1), launch.out(), n);
  } else {
    launch.kernel(broadcast_kernel<F, small, false>, ceil_div(n, int64_t{kMapThreads}), kMapThreads,
                  walk, launch.in(0), launch.in(1), launch.out(), n);
  }
}

template <typename F>
void launch_binary(Launch& launch) {
  const Tensor& out = launch.output();
  const int64_t n = out.numel;
  if (n == 0) return;
  if (launch.input(0).numel == n && launch.input(1).numel == n) {
    void (*const kernel)(F, const float*, const float*, Result, int64_t) = map_kernel<F>;
    launch.kernel(kernel, ceil_div(n, kMapBlock), kMapThreads, F{}, launch.in(0), launch.in(1),
                  launch.result(), n);
    return;
  }
  Walk<2> walk;
  for (int32_t i = 0; i < out.rank; ++i) {
    const int64_t dim = out.dims[i];
    walk.add(dim, {broadcast_stride(launch.input(0), out.rank, i, dim),
                   broadcast_stride(launch.input(1), out.rank, i, dim)});
  }
  walk.finish();
  if (walk.is_small()) {
    launch_walk<F, true>(launch, walk, n);
  } else {
    launch_walk<F, false>(launch, walk, n);
  }
}

}  // namespace

#define BINARY(name, forward, gradient_a, gradient_b) \
  void launch_##name(Launch& launch) { launch_binary<name##Function>(launch); }
#include "core/elementwise.def"

}  // namespace tandem::cuda
