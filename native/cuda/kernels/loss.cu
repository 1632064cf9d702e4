// The pointwise losses of elementwise.def: the mean of value(x, t) over all elements, and its
// gradients dx[i] = dy / n * gradient(x[i], t[i]). With weights, each of which holds for `inner`
// neighbouring elements, sum w value / (inner D) for the divisor D; what has a weight of 0 does not
// count, not even as NaN. Blocks sum up their elements in double
// precision; one block adds the blocks' sums in order. Of no elements the mean is NaN.
#include "cuda/device/fold.cuh"
#include "cuda/device/launch_bounds.cuh"
#include "cuda/device/map.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kBlock = int64_t{kThreads} * 16;  // elements of a block's sum

#define LOSS(name, A, a_default, value, gradient_x, gradient_t)                                \
  struct name##Value {                                                                         \
    float a;                                                                                   \
    TANDEM_DEVICE float operator()(float x, float t) const { return value; }                   \
  };                                                                                           \
  struct name##ByX {                                                                           \
    float a;                                                                                   \
    TANDEM_DEVICE float operator()([[maybe_unused]] float x, [[maybe_unused]] float t) const { \
      return gradient_x;                                                                       \
    }                                                                                          \
  };                                                                                           \
  struct name##ByTarget {                                                                      \
    float a;                                                                                   \
    TANDEM_DEVICE float operator()([[maybe_unused]] float x, [[maybe_unused]] float t) const { \
      return gradient_t;                                                                       \
    }                                                                                          \
  };
#include "core/elementwise.def"

struct Weights {
  const float* of;  // null: all ones, and the divisor is n
  const float* divisor;
  int64_t inner;

  TANDEM_DEVICE float weigh(int64_t i, float v) const {
    if (of == nullptr) return v;
    const float w = of[i / inner];
    return w == 0.0F ? 0.0F : w * v;
  }
  /// `number` by the divisor; 0 where nothing counts.
  TANDEM_DEVICE double share(double number, int64_t n) const {
    if (of == nullptr) return number / static_cast<double>(n);
    const double by = static_cast<double>(*divisor) * static_cast<double>(inner);
    return by == 0.0 ? 0.0 : number / by;
  }
};

template <typename F>
__global__ void __launch_bounds__(kThreads)
    sum_kernel(F f, const float* x, const float* t, Weights weights, double* sums, int64_t n) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kBlock;
  const int64_t end = begin + kBlock < n ? begin + kBlock : n;
  double sum = 0.0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads)
    sum += static_cast<double>(weights.weigh(i, f(x[i], t[i])));
  sum = fold_threads<kThreads>(sum, Add{}, 0.0);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads)
    mean_kernel(const double* sums, int64_t count, Weights weights, int64_t n, float* out) {
  const double sum = sum_all<kThreads>(sums, count);
  if (threadIdx.x == 0) *out = static_cast<float>(weights.share(sum, n));
}

template <typename F>
__global__ void TANDEM_LAUNCH_BOUNDS(kMapThreads)
    gradient_kernel(F f, const float* x, const float* t, const float* dy, Weights weights,
                    float* out, int64_t n) {
  const float scale = static_cast<float>(weights.share(static_cast<double>(*dy), n));
  const int64_t i = map_index();
  if (weights.of == nullptr && i + 4 <= n) {
    const float4 g =
        apply4(f, *reinterpret_cast<const float4*>(x + i), *reinterpret_cast<const float4*>(t + i));
    *reinterpret_cast<float4*>(out + i) =
        make_float4(scale * g.x, scale * g.y, scale * g.z, scale * g.w);
  } else {
    for (int64_t k = i; k < n && k < i + 4; ++k) out[k] = weights.weigh(k, scale * f(x[k], t[k]));
  }
}

/// `operand`: the number of the weights, if they are there.
Weights weights_of(const Launch& launch, int operand, int64_t n) {
  if (!launch.has_input(operand)) return {nullptr, nullptr, 1};
  const int64_t count = launch.input(operand).numel;
  return {launch.in(operand), launch.in(operand + 1), count == 0 ? 1 : n / count};
}

template <typename F>
void launch_mean(Launch& launch) {
  const int64_t n = launch.input(0).numel;
  const int64_t blocks = ceil_div(n, kBlock);
  auto* const sums = launch.workspace<double>(blocks > 0 ? blocks : 1);
  const F f{launch.attributes<ElementwiseAttributes>().a};
  const Weights weights = weights_of(launch, 2, n);
  launch.kernel(sum_kernel<F>, blocks, kThreads, f, launch.in(0), launch.in(1), weights, sums, n);
  launch.kernel(mean_kernel, 1, kThreads, sums, blocks, weights, n, launch.out());
}

template <typename F>
void launch_gradient(Launch& launch) {
  const int64_t n = launch.output().numel;
  const F f{launch.attributes<ElementwiseAttributes>().a};
  launch.kernel(gradient_kernel<F>, ceil_div(n, kMapBlock), kMapThreads, f, launch.in(0),
                launch.in(1), launch.in(2), weights_of(launch, 3, n), launch.out(), n);
}

}  // namespace

#define LOSS(name, A, a_default, value, gradient_x, gradient_t)                    \
  void launch_##name(Launch& launch) { launch_mean<name##Value>(launch); }         \
  void launch_##name##Grad(Launch& launch) { launch_gradient<name##ByX>(launch); } \
  void launch_##name##GradTarget(Launch& launch) { launch_gradient<name##ByTarget>(launch); }
#include "core/elementwise.def"

}  // namespace tandem::cuda
