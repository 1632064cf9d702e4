// groupNorm and its gradient over x [n, groups, channels of a group, l]. A group is one row in
// memory; its weights belong to channels. With r the inverse deviation, count the elements of a
// group, g = dy w:
//   y = (x - mean) r w + b
//   dx = r (g - sum(g) / count - (x - mean) r^2 sum(g (x - mean)) / count)
//   dw = sum(dy (x - mean) r), db = sum(dy), by channel over all samples, in order.
// y may lie on x, and dx (=) on dy or x: all sums are there before it is written.
#include "core/ops/group_norm.h"

#include "cuda/device/channels.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kWarpIsEnough = 1024;  // elements of a group

struct GroupNorm {
  Channels s;  // a piece for each sample
  int64_t groups, channels;
  float epsilon;
  const float *w, *b;  // may be null
};

TANDEM_DEVICE float number_at(const float* numbers, int64_t i, float otherwise) {
  return numbers == nullptr ? otherwise : numbers[i];
}

/// `threads` threads a group: a warp, or the block.
template <unsigned threads>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(GroupNorm p, const float* x, float* y, float* mean, float* inverse) {
  constexpr unsigned kPerBlock = kThreads / threads;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * kPerBlock + threadIdx.x / threads;
  if (group >= p.s.n * p.groups) return;  // whole warps alike
  const unsigned first = threadIdx.x % threads;
  const int64_t size = p.channels * p.s.l;
  x += group * size;
  y += group * size;
  const auto count = static_cast<float>(size);
  float sum = 0.0F;
  for (int64_t i = first; i < size; i += threads) sum += x[i];
  const float center = fold_threads<threads>(sum, Add{}, 0.0F) / count;
  float squares = 0.0F;
  for (int64_t i = first; i < size; i += threads) {
    const float d = x[i] - center;
    squares = fmaf(d, d, squares);
  }
  squares = fold_threads<threads>(squares, Add{}, 0.0F);
  const float r = 1.0F / sqrtf(squares / count + p.epsilon);
  const int64_t channel = group % p.groups * p.channels;
  for (int64_t i = first; i < size; i += threads) {
    const int64_t c = channel + p.s.plane_of(i);
    y[i] = fmaf(x[i] - center, number_at(p.w, c, 1.0F) * r, number_at(p.b, c, 0.0F));
  }
  if (first != 0) return;
  mean[group] = center;
  inverse[group] = r;
}

GroupNorm group_norm(const Tensor& x, const ops::GroupNormAttributes& attributes) {
  GroupNorm p{};
  const int64_t planes = x.dims[0] * x.dims[1];
  p.s = Channels(
      each_sample(x.numel == 0 ? 0 : x.dims[0], x.dims[1], x.numel == 0 ? 1 : x.numel / planes));
  p.groups = attributes.groups;
  p.channels = x.dims[1] / p.groups;
  p.epsilon = attributes.epsilon;
  return p;
}

// ---- gradient ----------------------------------------------------------------------------------

/// The sums of dy and dy (x - mean) of a channel in a sample.
struct ChannelTerm {
  const float *dy, *x, *mean;
  int64_t groups, channels;
  TANDEM_DEVICE TwoSums operator()(int64_t at, int64_t sample, int64_t channel) const {
    const float d = dy[at];
    const float center = mean[sample * groups + channel / channels];
    return {static_cast<double>(d), static_cast<double>(d * (x[at] - center))};
  }
};

/// What dx is made of: r (g - shift - (x - mean) slope), a warp for each group.
__global__ void __launch_bounds__(kThreads)
    numbers_kernel(GroupNorm p, const double* sums, const float* inverse, float* shift,
                   float* slope) {
  const int64_t group = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (group >= p.s.n * p.groups) return;
  const int64_t sample = group / p.groups;
  const int64_t channel = group % p.groups * p.channels;
  double sum = 0.0;
  double products = 0.0;
  for (int64_t i = threadIdx.x % 32; i < p.channels; i += 32) {
    const auto weight = static_cast<double>(number_at(p.w, channel + i, 1.0F));
    const int64_t at = sums_at(p.s, sample, channel + i);
    sum += weight * sums[at];
    products += weight * sums[at + p.s.c];
  }
  sum = fold_warp(sum, Add{});
  products = fold_warp(products, Add{});
  if (threadIdx.x % 32 != 0) return;
  const auto count = static_cast<double>(p.channels * p.s.l);
  const auto r = static_cast<double>(inverse[group]);
  shift[group] = static_cast<float>(sum / count);
  slope[group] = static_cast<float>(products * r * r / count);
}

__global__ void __launch_bounds__(kThreads)
    weights_kernel(GroupNorm p, const double* sums, const float* inverse, float* dw, float* db) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (channel >= p.s.c) return;
  TwoSums total{0.0, 0.0};
  for (int64_t sample = 0; sample < p.s.n; ++sample) {
    const int64_t at = sums_at(p.s, sample, channel);
    total.first += sums[at];
    total.second +=
        sums[at + p.s.c] * static_cast<double>(inverse[sample * p.groups + channel / p.channels]);
  }
  dw[channel] = static_cast<float>(total.second);
  db[channel] = static_cast<float>(total.first);
}

__global__ void __launch_bounds__(kThreads)
    backward_kernel(GroupNorm p, const float* dy, const float* x, const float* mean,
                    const float* inverse, const float* shift, const float* slope, float* dx) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.s.n * p.s.c * p.s.l) return;
  const int64_t plane = p.s.plane_of(i);
  const int64_t group = plane / p.channels;
  const float g = dy[i] * number_at(p.w, p.s.channel_of(plane), 1.0F);
  dx[i] = (g - shift[group] - (x[i] - mean[group]) * slope[group]) * inverse[group];
}

}  // namespace

void launch_groupNorm(Launch& launch) {
  const Tensor& x = launch.input(0);
  if (x.numel == 0) return;
  GroupNorm p = group_norm(x, launch.attributes<ops::GroupNormAttributes>());
  p.w = launch.in(1);
  p.b = launch.in(2);
  const int64_t groups = p.s.n * p.groups;
  if (p.channels * p.s.l <= kWarpIsEnough) {
    launch.kernel(forward_kernel<32>, ceil_div(groups, kThreads / 32), kThreads, p, launch.in(0),
                  launch.out(0), launch.out(1), launch.out(2));
  } else {
    launch.kernel(forward_kernel<kThreads>, groups, kThreads, p, launch.in(0), launch.out(0),
                  launch.out(1), launch.out(2));
  }
}

void launch_groupNormGrad(Launch& launch) {
  const Tensor& x = launch.input(1);
  const auto& attributes = launch.attributes<ops::GroupNormAttributes>();
  GroupNorm p = group_norm(x, attributes);
  p.w = launch.in(2);
  const float* const dy = launch.in(0);
  const float* const mean = launch.in(3);
  const float* const inverse = launch.in(4);
  const int64_t groups = p.s.n * p.groups;
  auto* const sums = launch.workspace<double>(p.s.pieces * 2 * p.s.c);
  auto* const shift = launch.workspace<float>(groups);
  auto* const slope = launch.workspace<float>(groups);
  const ChannelTerm term{dy, launch.in(1), mean, p.groups, p.channels};
  launch_sums(launch, p.s, term, sums);
  launch.kernel(numbers_kernel, ceil_div(groups, kThreads / 32), kThreads, p, sums, inverse, shift,
                slope);
  if (attributes.affine) {
    launch.kernel(weights_kernel, ceil_div(p.s.c, kThreads), kThreads, p, sums, inverse,
                  launch.out(1), launch.out(2));
  }
  launch.kernel(backward_kernel, ceil_div(x.numel, kThreads), kThreads, p, dy, launch.in(1), mean,
                inverse, shift, slope, launch.out(0));
}

}  // namespace tandem::cuda
