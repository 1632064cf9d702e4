// Bytes of quantized inference on their way between products: quantize makes them, maxPoolBytes
// takes maxima of windows, moveChannels moves the channels of images. A thread has an element of
// the result.
#include "core/ops/quantized.h"

#include "cuda/device/bytes.cuh"
#include "cuda/host/windows.h"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

TANDEM_DEVICE int64_t thread_index() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

/// Images [channels][pixels] or [pixels][channels].
struct Images {
  int64_t count, channels, pixels;
};

/// Of a tensor whose channels are axis 1, or the last one.
Images images_of(const Tensor& tensor, bool channels_last) {
  const int64_t channels = tensor.dims[channels_last ? tensor.rank - 1 : 1];
  return {tensor.dims[0], channels, tensor.numel / (tensor.dims[0] * channels)};
}

/// The element of images with channels first that element `i` of those with channels last is.
TANDEM_DEVICE int64_t with_channels_first(const Images& s, int64_t i) {
  const int64_t pixel = i / s.channels;
  const int64_t image = pixel / s.pixels;
  return (image * s.channels + (i - pixel * s.channels)) * s.pixels + (pixel - image * s.pixels);
}

__global__ void __launch_bounds__(kThreads)
    quantize_kernel(const float* x, uint8_t* y, int64_t n, float scale, int32_t zero) {
  const int64_t i = thread_index();
  if (i < n) y[i] = to_unsigned_byte(x[i], scale, zero);
}

__global__ void __launch_bounds__(kThreads)
    quantize_images_kernel(Images s, const float* x, uint8_t* y, float scale, int32_t zero) {
  const int64_t i = thread_index();
  if (i < s.count * s.channels * s.pixels)
    y[i] = to_unsigned_byte(x[with_channels_first(s, i)], scale, zero);
}

template <bool to_last>
__global__ void __launch_bounds__(kThreads) move_kernel(Images s, const uint8_t* x, uint8_t* y) {
  const int64_t last = thread_index();
  if (last >= s.count * s.channels * s.pixels) return;
  const int64_t first = with_channels_first(s, last);
  y[to_last ? last : first] = x[to_last ? first : last];
}

struct BytePooling {
  int64_t rows, columns, channels, out_rows, out_columns, count;
  Window row_window, column_window;
};

__global__ void __launch_bounds__(kThreads)
    max_bytes_kernel(BytePooling p, const uint8_t* x, uint8_t* y) {
  const int64_t i = thread_index();
  if (i >= p.count) return;
  const int64_t pixel = i / p.channels;
  const int64_t row = pixel / p.out_columns;
  const int64_t image = row / p.out_rows;
  const Places rows = covered_by(p.row_window, row - image * p.out_rows, p.rows);
  const Places columns = covered_by(p.column_window, pixel - row * p.out_columns, p.columns);
  const uint8_t* const from =
      x + image * p.rows * p.columns * p.channels + (i - pixel * p.channels);
  uint8_t best = 0;
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    for (int64_t c = columns.begin; c < columns.end; ++c) {
      const uint8_t v = from[(r * p.columns + c) * p.channels];
      best = v > best ? v : best;
    }
  }
  y[i] = best;
}

}  // namespace

void launch_quantize(Launch& launch) {
  const auto& [scale, zero, channels_last] = launch.attributes<ops::Quantize::Attributes>();
  const Tensor& x = launch.input(0);
  if (x.numel == 0) return;
  const int64_t blocks = ceil_div(x.numel, kThreads);
  if (!channels_last || x.dims[1] == 1) {
    launch.kernel(quantize_kernel, blocks, kThreads, launch.in(0), launch.out<uint8_t>(), x.numel,
                  scale, zero);
    return;
  }
  launch.kernel(quantize_images_kernel, blocks, kThreads, images_of(x, false), launch.in(0),
                launch.out<uint8_t>(), scale, zero);
}

void launch_moveChannels(Launch& launch) {
  const Tensor& x = launch.input(0);
  if (x.numel == 0) return;
  const bool to_last = launch.attributes<ops::MoveChannels::Attributes>().to_last;
  launch.kernel(to_last ? move_kernel<true> : move_kernel<false>, ceil_div(x.numel, kThreads),
                kThreads, images_of(x, !to_last), launch.in<uint8_t>(0), launch.out<uint8_t>());
}

void launch_maxPoolBytes(Launch& launch) {
  const auto& [kernel, stride, padding, plane, save] = launch.attributes<ops::PoolAttributes>();
  const Tensor& x = launch.input(0);
  const Tensor& y = launch.output();
  const BytePooling p = {x.dims[1],
                         x.dims[2],
                         x.dims[3],
                         y.dims[1],
                         y.dims[2],
                         y.numel,
                         {kernel.height, stride.height, padding.height},
                         {kernel.width, stride.width, padding.width}};
  launch.kernel(max_bytes_kernel, ceil_div(y.numel, kThreads), kThreads, p, launch.in<uint8_t>(0),
                launch.out<uint8_t>());
}

}  // namespace tandem::cuda
