// gradientNorm: the Euclidean norm of all gradients into StepState, the factor that clips it as
// torch.nn.utils.clip_grad_norm_ does, and, when asked to check, whether the step must be skipped.
// Blocks sum squares unless the optimizer has done so; one block adds the sums in order.
#include "core/ops/optimizer.h"

#include "cuda/device/fold.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kBlock = int64_t{kThreads} * 32;  // elements
constexpr unsigned kSumThreads = 1024;

struct Norm {
  double max_norm;
  bool check;
};

/// Gradients are a whole arena: aligned, and a multiple of four floats.
__global__ void __launch_bounds__(kThreads)
    squares_kernel(const float* gradients, double* sums, int64_t n) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kBlock;
  const int64_t end = begin + kBlock < n ? begin + kBlock : n;
  double sum = 0.0;
  for (int64_t i = begin + threadIdx.x * 4; i < end; i += kThreads * 4) {
    const float4 g = *reinterpret_cast<const float4*>(gradients + i);
    sum += static_cast<double>((g.x * g.x + g.y * g.y) + (g.z * g.z + g.w * g.w));
  }
  sum = fold_threads<kThreads>(sum, Add{}, 0.0);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <typename T>
__global__ void __launch_bounds__(kSumThreads)
    norm_kernel(Norm p, const T* sums, int64_t count, const float* loss, StepState* state) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < count; i += kSumThreads) sum += static_cast<double>(sums[i]);
  sum = fold_threads<kSumThreads>(sum, Add{}, 0.0);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(sum);
  state->gradient_norm = static_cast<float>(norm);
  state->clip = 1.0F;
  if (p.max_norm > 0.0) {
    const double factor = p.max_norm / (norm + 1e-6);
    state->clip = factor >= 1.0 ? 1.0F : static_cast<float>(factor);  // NaN stays NaN
  }
  if (p.check) {
    const bool finite = isfinite(static_cast<float>(norm)) && (loss == nullptr || isfinite(*loss));
    state->skip = finite ? 0 : 1;
  }
}

}  // namespace

void launch_gradientNorm(Launch& launch) {
  const auto& attributes = launch.attributes<ops::GradientNorm::Attributes>();
  const Norm norm{attributes.max_norm, attributes.check};
  const int64_t n = launch.input(0).numel;
  if (attributes.squared) {
    launch.kernel(norm_kernel<float>, 1, kSumThreads, norm, launch.in(0), n, launch.in(1),
                  launch.state());
    return;
  }
  const int64_t blocks = ceil_div(n, kBlock);
  auto* const sums = launch.workspace<double>(blocks + 1);
  launch.kernel(squares_kernel, blocks, kThreads, launch.in(0), sums, n);
  launch.kernel(norm_kernel<double>, 1, kSumThreads, norm, sums, blocks, launch.in(1),
                launch.state());
}

}  // namespace tandem::cuda
