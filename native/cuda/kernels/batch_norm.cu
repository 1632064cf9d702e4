// batchNorm: y = (x - mean) scale + b, scale = w / sqrt(variance + eps), by channel, and its
// gradient. With r = (variance + eps)^-1/2, by channel:
//   db = sum(dy), dw = r sum(dy (x - mean)),
//   dx = w r (dy - db / count - (x - mean) r dw / count) for the batch's own statistics,
//   dx = w r dy for given ones.
// The batch's statistics come from one walk over x: sums of the distances from the channel's first
// element, and of their squares, in double precision, where the square of a float is exact and
// nothing cancels that float results would show. y may lie on x, and dx (=) on dy or x.
#include "core/ops/batch_norm.h"

#include "cuda/device/channels.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

Channels channels_of(const Tensor& x) {
  const int64_t planes = x.dims[0] * x.dims[1];
  return Channels(
      cut_channels(x.numel == 0 ? 0 : x.dims[0], x.dims[1], x.numel == 0 ? 1 : x.numel / planes));
}

TANDEM_DEVICE double weight_at(const float* w, int64_t channel) {
  return w == nullptr ? 1.0 : static_cast<double>(w[channel]);
}

struct DistanceTerm {
  const float* x;
  int64_t l;
  TANDEM_DEVICE TwoSums operator()(int64_t at, int64_t /*sample*/, int64_t channel) const {
    const double d = static_cast<double>(x[at]) - static_cast<double>(x[channel * l]);
    return {d, d * d};
  }
};

/// The batch's statistics and what they make of w. Before x is overwritten.
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(Channels s, const double* sums, const float* x, const float* w, float epsilon,
                      float* mean, float* variance, float* scale) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (channel >= s.c) return;
  const TwoSums total = join_pieces(s, sums, channel);
  const double count = static_cast<double>(s.n) * static_cast<double>(s.l);
  const double distance = total.first / count;
  double spread = total.second / count - distance * distance;
  if (spread < 0.0) spread = 0.0;
  mean[channel] = static_cast<float>(static_cast<double>(x[channel * s.l]) + distance);
  variance[channel] = static_cast<float>(spread);
  scale[channel] =
      static_cast<float>(weight_at(w, channel) / sqrt(spread + static_cast<double>(epsilon)));
}

__global__ void __launch_bounds__(kThreads)
    scale_kernel(int64_t channels, const float* variance, const float* w, float epsilon,
                 float* scale) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (channel >= channels) return;
  scale[channel] = (w == nullptr ? 1.0F : w[channel]) / sqrtf(variance[channel] + epsilon);
}

__global__ void __launch_bounds__(kThreads)
    forward_kernel(Channels s, const float* x, const float* mean, const float* scale,
                   const float* b, const float* residual, float* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= s.n * s.c * s.l) return;
  const int64_t channel = s.channel_of(s.plane_of(i));
  const float v = fmaf(x[i] - mean[channel], scale[channel], b == nullptr ? 0.0F : b[channel]);
  y[i] = residual == nullptr ? v : v + residual[i];
}

// ---- gradient ----------------------------------------------------------------------------------

struct GradientTerm {
  const float *dy, *x, *mean;
  TANDEM_DEVICE TwoSums operator()(int64_t at, int64_t /*sample*/, int64_t channel) const {
    const float d = dy[at];
    return {static_cast<double>(d), static_cast<double>(d * (x[at] - mean[channel]))};
  }
};

/// What dx is computed with: scale (dy - shift - (x - mean) slope).
struct Numbers {
  float *scale, *shift, *slope;
};

__global__ void __launch_bounds__(kThreads)
    numbers_kernel(Channels s, const double* sums, const float* variance, const float* w,
                   float epsilon, bool by_batch, Numbers to, float* dw, float* db) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (channel >= s.c) return;
  const double r =
      1.0 / sqrt(static_cast<double>(variance[channel]) + static_cast<double>(epsilon));
  to.scale[channel] = static_cast<float>(weight_at(w, channel) * r);
  to.shift[channel] = to.slope[channel] = 0.0F;
  if (sums == nullptr) return;
  const TwoSums total = join_pieces(s, sums, channel);
  if (by_batch) {
    const double count = static_cast<double>(s.n) * static_cast<double>(s.l);
    to.shift[channel] = static_cast<float>(total.first / count);
    to.slope[channel] = static_cast<float>(total.second * r * r / count);
  }
  if (dw == nullptr) return;
  dw[channel] = static_cast<float>(total.second * r);
  db[channel] = static_cast<float>(total.first);
}

template <bool by_batch>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(Channels s, const float* dy, const float* x, const float* mean, Numbers of,
                    float* dx) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= s.n * s.c * s.l) return;
  const int64_t channel = s.channel_of(s.plane_of(i));
  float d = dy[i];
  if constexpr (by_batch) d = d - of.shift[channel] - (x[i] - mean[channel]) * of.slope[channel];
  dx[i] = d * of.scale[channel];
}

// ---- running statistics ------------------------------------------------------------------------

/// `correction` of the variance; 0: leave it as it is.
__global__ void __launch_bounds__(kThreads)
    update_kernel(const StepState* state, int64_t channels, float momentum, float correction,
                  float* running_mean, float* running_variance, const float* mean,
                  const float* variance) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= channels || state->skip != 0) return;
  running_mean[i] = fmaf(mean[i], momentum, running_mean[i] * (1.0F - momentum));
  if (correction > 0.0F) {
    running_variance[i] =
        fmaf(variance[i] * correction, momentum, running_variance[i] * (1.0F - momentum));
  }
}

}  // namespace

void launch_batchNorm(Launch& launch) {
  const Tensor& x = launch.input(0);
  if (x.numel == 0) return;
  const auto& attributes = launch.attributes<ops::BatchNormAttributes>();
  const Channels s = channels_of(x);
  const int64_t blocks = ceil_div(s.c, kThreads);
  auto* const scale = launch.workspace<float>(s.c);
  const float* mean = attributes.by_batch ? launch.out(1) : launch.in(3);
  if (attributes.by_batch) {
    auto* const sums = launch.workspace<double>(s.pieces * 2 * s.c);
    launch_sums(launch, s, DistanceTerm{launch.in(0), s.l}, sums);
    launch.kernel(statistics_kernel, blocks, kThreads, s, sums, launch.in(0), launch.in(1),
                  attributes.epsilon, launch.out(1), launch.out(2), scale);
  } else {
    launch.kernel(scale_kernel, blocks, kThreads, s.c, launch.in(4), launch.in(1),
                  attributes.epsilon, scale);
  }
  launch.kernel(forward_kernel, ceil_div(x.numel, kThreads), kThreads, s, launch.in(0), mean, scale,
                launch.in(2), launch.in(ops::BatchNorm::kResidual), launch.out(0));
  if (attributes.activation < 0) return;
  Epilogue epilogue{};
  epilogue.z = launch.out(0);
  epilogue.y.y = launch.out(0);
  epilogue.rows = 1;
  epilogue.columns = x.numel;
  epilogue.activation = attributes.activation;
  epilogue.a = attributes.activation_attributes.a;
  epilogue.b = attributes.activation_attributes.b;
  launch_epilogue(launch, epilogue);
}

void launch_batchNormGrad(Launch& launch) {
  const Tensor& x = launch.input(1);
  const auto& attributes = launch.attributes<ops::BatchNormGrad::Attributes>();
  const Channels s = channels_of(x);
  const float* const dy = launch.in(0);
  const float* const mean = launch.in(3);
  const Numbers numbers{launch.workspace<float>(s.c), launch.workspace<float>(s.c),
                        launch.workspace<float>(s.c)};
  double* sums = nullptr;
  if (attributes.by_batch || attributes.affine) {
    sums = launch.workspace<double>(s.pieces * 2 * s.c);
    launch_sums(launch, s, GradientTerm{dy, launch.in(1), mean}, sums);
  }
  float* const dw = attributes.affine ? launch.out(1) : nullptr;
  float* const db = attributes.affine ? launch.out(2) : nullptr;
  launch.kernel(numbers_kernel, ceil_div(s.c, kThreads), kThreads, s, sums, launch.in(4),
                launch.in(2), attributes.epsilon, attributes.by_batch, numbers, dw, db);
  const auto kernel = attributes.by_batch ? backward_kernel<true> : backward_kernel<false>;
  launch.kernel(kernel, ceil_div(x.numel, kThreads), kThreads, s, dy, launch.in(1), mean, numbers,
                launch.out(0));
}

void launch_batchNormUpdate(Launch& launch) {
  const auto& attributes = launch.attributes<ops::BatchNormUpdate::Attributes>();
  const int64_t channels = launch.input(0).numel;
  const auto count = static_cast<double>(attributes.count);
  const float correction = attributes.count > 1 ? static_cast<float>(count / (count - 1.0)) : 0.0F;
  launch.kernel(update_kernel, ceil_div(channels, kThreads), kThreads, launch.state(), channels,
                attributes.momentum, correction, launch.in<float>(0), launch.in<float>(1),
                launch.in(2), launch.in(3));
}

}  // namespace tandem::cuda
