// accumulateGradients, clipGradients, averageParameters: elementwise sweeps over arenas, in place.
#include "core/ops/arena_sweeps.h"

#include "cuda/device/scalar.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

TANDEM_DEVICE int64_t element_index() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

/// A micro-batch of weight 0 has nothing to say, not even NaN.
__global__ void __launch_bounds__(kThreads)
    accumulate_kernel(const StepState* state, float* means, const float* gradients, int64_t n) {
  const int64_t i = element_index();
  if (i >= n) return;
  const float weight = state->weight;
  if (state->part == 0) {
    means[i] = weight == 0.0F ? 0.0F : gradients[i];
  } else if (weight != 0.0F) {
    means[i] = fmaf(weight, gradients[i] - means[i], means[i]);
  }
}

/// NaN stays NaN.
__global__ void __launch_bounds__(kThreads) clip_kernel(float* gradients, float limit, int64_t n) {
  const int64_t i = element_index();
  if (i < n) gradients[i] = max_(min_(gradients[i], limit), -limit);
}

__global__ void __launch_bounds__(kThreads)
    average_kernel(const StepState* state, float* averages, const float* parameters, float weight,
                   int64_t n) {
  const int64_t i = element_index();
  if (i >= n || state->skip != 0) return;
  averages[i] =
      state->step <= 1 ? parameters[i] : fmaf(weight, parameters[i] - averages[i], averages[i]);
}

}  // namespace

void launch_accumulateGradients(Launch& launch) {
  const int64_t n = launch.input(0).numel;
  launch.kernel(accumulate_kernel, ceil_div(n, kThreads), kThreads, launch.state(), launch.in(0),
                launch.in(1), n);
}

void launch_clipGradients(Launch& launch) {
  const int64_t n = launch.input(0).numel;
  const auto limit =
      static_cast<float>(launch.attributes<ops::ClipGradients::Attributes>().max_value);
  launch.kernel(clip_kernel, ceil_div(n, kThreads), kThreads, launch.in(0), limit, n);
}

void launch_averageParameters(Launch& launch) {
  const int64_t n = launch.input(0).numel;
  const auto weight =
      static_cast<float>(1.0 - launch.attributes<ops::AverageParameters::Attributes>().decay);
  launch.kernel(average_kernel, ceil_div(n, kThreads), kThreads, launch.state(), launch.in(0),
                launch.in(1), weight, n);
}

}  // namespace tandem::cuda
