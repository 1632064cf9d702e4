// lossScale: x by the step's scale of losses. unscaleGradients: a whole arena by its inverse, in
// place.
#include "core/ops/loss_scale.h"

#include "cuda/device/scalar.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

TANDEM_DEVICE int64_t element_index() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

__global__ void __launch_bounds__(kThreads)
    scale_kernel(const StepState* state, const float* x, float* y, int64_t n) {
  const int64_t i = element_index();
  if (i < n) y[i] = x[i] * state->loss_scale;
}

__global__ void __launch_bounds__(kThreads)
    unscale_kernel(const StepState* state, float* gradients, int64_t n) {
  const int64_t i = element_index();
  if (i >= n) return;
  gradients[i] *= static_cast<float>(1.0 / static_cast<double>(state->loss_scale));
}

}  // namespace

void launch_lossScale(Launch& launch) {
  const int64_t n = launch.output().numel;
  launch.kernel(scale_kernel, ceil_div(n, kThreads), kThreads, launch.state(), launch.in(0),
                launch.out(), n);
}

void launch_unscaleGradients(Launch& launch) {
  const int64_t n = launch.input(0).numel;
  launch.kernel(unscale_kernel, ceil_div(n, kThreads), kThreads, launch.state(), launch.in(0), n);
}

}  // namespace tandem::cuda
