// lamb: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes"
// (2020), algorithm 2, for one parameter. Blocks move the moments on and compute Adam's direction
// with decoupled weight decay, and the squares of it and of the parameter; one block makes of these
// the factor that gives it the parameter's length, or 1 where either has none; blocks move the
// parameter. A skipped step changes nothing.
#include "core/ops/optimizer.h"

#include "cuda/device/fold.cuh"
#include "cuda/device/launch_bounds.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 512;

struct Lamb {
  int64_t n;
  ops::Lamb::Attributes attributes;
  float* parameters;
  const float* gradients;
  float *first, *second;  // moments
  float* squares;         // of the gradients by tile, or null where the norm is known before
  float* direction;
  double* sums;  // two by tile: squares of the parameter, and of the direction
  double* factor;
};

TANDEM_DEVICE bool skips(const Lamb& p, const StepState* state) {
  // with `squares` the norm is not known before, and nothing is clipped or skipped
  return p.squares == nullptr && state->skip != 0;
}

/// What all elements of a step share.
struct Step {
  float weight1, weight2, scale1, scale2, epsilon, decay, clip;

  TANDEM_DEVICE Step(const ops::Lamb::Attributes& a, const StepState& state)
      : weight1(static_cast<float>(1.0 - a.beta1)),
        weight2(static_cast<float>(1.0 - a.beta2)),
        epsilon(static_cast<float>(a.epsilon)),
        decay(static_cast<float>(a.weight_decay)),
        clip(state.clip) {
    const auto step = static_cast<double>(state.step);
    scale1 = static_cast<float>(1.0 / (1.0 - pow(a.beta1, step)));
    scale2 = static_cast<float>(1.0 / (1.0 - pow(a.beta2, step)));
  }
};

__global__ void TANDEM_LAUNCH_BOUNDS(kThreads) direct_kernel(Lamb p, const StepState* state) {
  if (skips(p, state)) return;
  const Step step(p.attributes, *state);
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * ops::kSweepTile;
  const int64_t end = begin + ops::kSweepTile < p.n ? begin + ops::kSweepTile : p.n;
  double of_parameter = 0.0;
  double of_direction = 0.0;
  double of_gradient = 0.0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const float raw = p.gradients[i];
    const float g = raw * step.clip;
    const float x = p.parameters[i];
    const float m = fmaf(step.weight1, g - p.first[i], p.first[i]);
    const float v = fmaf(step.weight2, g * g - p.second[i], p.second[i]);
    p.first[i] = m;
    p.second[i] = v;
    const float d = fmaf(step.decay, x, m * step.scale1 / (sqrtf(v * step.scale2) + step.epsilon));
    p.direction[i] = d;
    of_parameter += static_cast<double>(x * x);
    of_direction += static_cast<double>(d * d);
    of_gradient += static_cast<double>(raw * raw);
  }
  of_parameter = fold_threads<kThreads>(of_parameter, Add{}, 0.0);
  of_direction = fold_threads<kThreads>(of_direction, Add{}, 0.0);
  of_gradient = fold_threads<kThreads>(of_gradient, Add{}, 0.0);
  if (threadIdx.x != 0) return;
  p.sums[2 * static_cast<int64_t>(blockIdx.x)] = of_parameter;
  p.sums[2 * static_cast<int64_t>(blockIdx.x) + 1] = of_direction;
  if (p.squares != nullptr) p.squares[blockIdx.x] = static_cast<float>(of_gradient);
}

__global__ void __launch_bounds__(kThreads)
    factor_kernel(Lamb p, int64_t tiles, const StepState* state) {
  if (skips(p, state)) return;
  double parameter = 0.0;
  double direction = 0.0;
  for (int64_t i = threadIdx.x; i < tiles; i += kThreads) {
    parameter += p.sums[2 * i];
    direction += p.sums[2 * i + 1];
  }
  parameter = fold_threads<kThreads>(parameter, Add{}, 0.0);
  direction = fold_threads<kThreads>(direction, Add{}, 0.0);
  if (threadIdx.x != 0) return;
  const bool both = parameter > 0.0 && direction > 0.0;
  *p.factor = both ? sqrt(parameter / direction) : 1.0;
}

__global__ void __launch_bounds__(kThreads) move_kernel(Lamb p, const StepState* state) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.n || skips(p, state)) return;
  const auto factor =
      static_cast<float>(-(state->learning_rate * p.attributes.rate_factor) * *p.factor);
  p.parameters[i] = fmaf(factor, p.direction[i], p.parameters[i]);
}

}  // namespace

void launch_lamb(Launch& launch) {
  Lamb p{};
  p.n = launch.input(0).numel;
  p.attributes = launch.attributes<ops::Lamb::Attributes>();
  p.parameters = launch.in(0);
  p.gradients = launch.in(1);
  p.first = launch.in(2);
  p.second = launch.measuring() ? nullptr : p.first + p.n;
  p.squares = launch.in(3);
  const int64_t tiles = ops::sweep_tiles(p.n);
  p.direction = launch.workspace<float>(p.n);
  p.sums = launch.workspace<double>(2 * tiles);
  p.factor = launch.workspace<double>(1);
  launch.kernel(direct_kernel, tiles, kThreads, p, launch.state());
  launch.kernel(factor_kernel, 1, kThreads, p, tiles, launch.state());
  launch.kernel(move_kernel, ceil_div(p.n, kThreads), kThreads, p, launch.state());
}

}  // namespace tandem::cuda
