// Convolutions whose groups have one channel of x, and their gradients: no products, but a sum over
// the taps for every pixel, and one over the pixels for every weight, each with a thread or a block
// of its own.
#include "cuda/device/conv.cuh"
#include "cuda/device/fold.cuh"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    forward_kernel(ConvShape s, const float* x, const float* w, const float* bias, float* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t plane = i / y_pixels(s);
  if (plane >= s.batch * s.groups * s.out) return;
  const Pixel start = window_start(s, i - plane * y_pixels(s));
  const int64_t channel = plane % (s.groups * s.out);
  const float* const from = x + plane / s.out * x_pixels(s);  // image * groups + group
  const float* const own = w + channel * taps_of(s);
  float sum = 0.0F;
  for (int64_t tap = 0; tap < taps_of(s); ++tap) {
    const int64_t at = x_element(s, start, tap_offset(s, tap));
    if (at >= 0) sum = fmaf(own[tap], from[at], sum);
  }
  y[i] = bias == nullptr ? sum : sum + bias[channel];
}

__global__ void __launch_bounds__(kThreads)
    data_kernel(ConvShape s, const float* dy, const float* w, const float* bias, float* dx) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t plane = i / x_pixels(s);  // image * groups + group
  if (plane >= s.batch * s.groups) return;
  const Pixel padded = padded_pixel(s, i - plane * x_pixels(s));
  const int64_t group = plane % s.groups;
  float sum = 0.0F;
  for (int64_t o = 0; o < s.out; ++o) {
    const float* const from = dy + (plane * s.out + o) * y_pixels(s);
    const float* const own = w + (group * s.out + o) * taps_of(s);
    for (int64_t tap = 0; tap < taps_of(s); ++tap) {
      const int64_t at = y_element(s, padded, tap_offset(s, tap));
      if (at >= 0) sum = fmaf(own[tap], from[at], sum);
    }
  }
  dx[i] = bias == nullptr ? sum : sum + bias[group];
}

/// A block for each weight.
__global__ void __launch_bounds__(kThreads)
    weight_kernel(ConvShape s, const float* x, const float* dy, float* dw) {
  const int64_t channel = blockIdx.x / taps_of(s);
  const Pixel offset = tap_offset(s, blockIdx.x % taps_of(s));
  const int64_t channels = s.groups * s.out;
  const int64_t group = channel / s.out;
  double sum = 0.0;
  for (int64_t image = 0; image < s.batch; ++image) {
    const float* const gradients = dy + (image * channels + channel) * y_pixels(s);
    const float* const plane = x + (image * s.groups + group) * x_pixels(s);
    // unrolled, its divisions would take more registers than there are
#pragma unroll 1
    for (int64_t pixel = threadIdx.x; pixel < y_pixels(s); pixel += kThreads) {
      const int64_t at = x_element(s, window_start(s, pixel), offset);
      if (at >= 0) sum += static_cast<double>(gradients[pixel] * plane[at]);
    }
  }
  sum = fold_threads<kThreads>(sum, Add{}, 0.0);
  if (threadIdx.x == 0) dw[blockIdx.x] = static_cast<float>(sum);
}

}  // namespace

void launch_depthwise(Launch& launch, const ConvShape& shape, const float* x, const float* w,
                      const float* bias, float* y) {
  const int64_t elements = shape.batch * shape.groups * shape.out * y_pixels(shape);
  launch.kernel(forward_kernel, ceil_div(elements, kThreads), kThreads, shape, x, w, bias, y);
}

void launch_depthwise_data(Launch& launch, const ConvShape& shape, const float* dy, const float* w,
                           const float* bias, float* dx) {
  const int64_t elements = shape.batch * shape.groups * x_pixels(shape);
  launch.kernel(data_kernel, ceil_div(elements, kThreads), kThreads, shape, dy, w, bias, dx);
}

void launch_depthwise_weight(Launch& launch, const ConvShape& shape, const float* x,
                             const float* dy, float* dw) {
  launch.kernel(weight_kernel, shape.groups * shape.out * taps_of(shape), kThreads, shape, x, dy,
                dw);
}

}  // namespace tandem::cuda
