// out = f(x) and dx = f'(x or y) dy of every UNARY of elementwise.def, and the same behind a matrix
// product: launch_epilogue.
#include "cuda/device/map.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

enum Saved { kNone, kX, kY };

#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED)        \
  struct name##Function {                                                          \
    float a, b;                                                                    \
    TANDEM_DEVICE float operator()(float x) const { return forward; }              \
  };                                                                               \
  struct name##Derivative {                                                        \
    static constexpr bool kReads = SAVED != kNone;                                 \
    float a, b;                                                                    \
    TANDEM_DEVICE float operator()(float dy, [[maybe_unused]] float saved) const { \
      [[maybe_unused]] const float x = saved, y = saved;                           \
      return derivative;                                                           \
    }                                                                              \
  };
#include "core/elementwise.def"

template <typename F>
void map_forward(Launch& launch) {
  const auto& attributes = launch.attributes<ElementwiseAttributes>();
  const int64_t n = launch.output().numel;
  const F f{attributes.a, attributes.b};
  void (*const kernel)(F, const float*, Result, int64_t) = map_kernel<F>;
  launch.kernel(kernel, ceil_div(n, kMapBlock), kMapThreads, f, launch.in(0), launch.result(), n);
}

/// Derivatives that read nothing saved get dy twice.
template <typename F>
void map_gradient(Launch& launch) {
  const auto& attributes = launch.attributes<ElementwiseAttributes>();
  const int64_t n = launch.output().numel;
  const F f{attributes.a, attributes.b};
  void (*const kernel)(F, const float*, const float*, Result, int64_t) = map_kernel<F>;
  launch.kernel(kernel, ceil_div(n, kMapBlock), kMapThreads, f, launch.in(0),
                launch.in(F::kReads ? 1 : 0), launch.result(), n);
}

// ---- behind a product --------------------------------------------------------------------------

struct Identity {
  float a, b;
  TANDEM_DEVICE float operator()(float x) const { return x; }
};
struct Sum {
  TANDEM_DEVICE float operator()(float x, float y) const { return x + y; }
};

/// A block walks along a row; the bias is one number a column. Four neighbours of a row at once
/// where rows have whole fours.
template <typename F>
__global__ void __launch_bounds__(kMapThreads)
    epilogue_kernel(F f, const float* z, const float* bias, float* pre, Result y, int64_t columns,
                    int64_t n) {
  const int64_t first = map_index();
  int64_t column = first % columns;
  if (columns % 4 == 0) {
    if (first >= n) return;
    float4 v = *reinterpret_cast<const float4*>(z + first);
    if (bias != nullptr) v = apply4(Sum{}, v, *reinterpret_cast<const float4*>(bias + column));
    if (pre != nullptr) *reinterpret_cast<float4*>(pre + first) = v;
    store4(y, first, apply4(f, v));
    return;
  }
  for (int64_t i = first; i < first + 4 && i < n; ++i) {
    const float v = bias == nullptr ? z[i] : z[i] + bias[column];
    if (pre != nullptr) pre[i] = v;
    store(y, i, f(v));
    if (++column == columns) column = 0;
  }
}

template <typename F>
void run_epilogue(Launch& launch, const Epilogue& e) {
  const int64_t n = e.rows * e.columns;
  const F f{e.a, e.b};
  launch.kernel(epilogue_kernel<F>, ceil_div(n, kMapBlock), kMapThreads, f, e.z, e.bias, e.pre, e.y,
                e.columns, n);
}

template <typename F>
void run_derivative(Launch& launch, const Epilogue& e) {
  const int64_t n = e.rows * e.columns;
  const F f{e.a, e.b};
  void (*const kernel)(F, const float*, const float*, Result, int64_t) = map_kernel<F>;
  launch.kernel(kernel, ceil_div(n, kMapBlock), kMapThreads, f, e.z, F::kReads ? e.saved : e.z, e.y,
                n);
}

}  // namespace

#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED)   \
  void launch_##name(Launch& launch) { map_forward<name##Function>(launch); } \
  void launch_##name##Grad(Launch& launch) { map_gradient<name##Derivative>(launch); }
#include "core/elementwise.def"

void launch_epilogue(Launch& launch, const Epilogue& e) {
  switch (e.activation) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  case static_cast<int32_t>(Op::name):                                      \
    return run_epilogue<name##Function>(launch, e);                         \
  case static_cast<int32_t>(Op::name##Grad):                                \
    return run_derivative<name##Derivative>(launch, e);
#include "core/elementwise.def"
    default:
      return run_epilogue<Identity>(launch, e);
  }
}

}  // namespace tandem::cuda
