// Weights of quantized products as bytes, made once of a frozen parameter of floats or of bytes,
// and what a product's attributes say of its result.
#include "core/error.h"
#include "cuda/device/byte_product.cuh"
#include "cuda/device/fold.cuh"
#include "cuda/device/weight_source.cuh"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 128;

struct Packing {
  WeightSource weight;  ///< [out, channels, taps]
  int64_t channels, taps, k;
  float x_scale;
  int8_t* bytes;
  int32_t* sums;
  float* scales;  ///< of the weight first, then times x_scale
};

/// A block has a row.
__global__ void __launch_bounds__(kThreads) pack_kernel(Packing p) {
  const int64_t row = blockIdx.x;
  const float scale = p.scales[row];
  int32_t sum = 0;
  for (int64_t k = threadIdx.x; k < p.k; k += kThreads) {
    int8_t byte = 0;
    if (k < p.taps * p.channels) {
      const int64_t tap = k / p.channels;
      const int64_t channel = k - tap * p.channels;
      byte = p.weight.byte((row * p.channels + channel) * p.taps + tap, scale);
    }
    p.bytes[row * p.k + k] = byte;
    sum += byte;
  }
  sum = fold_threads<kThreads>(sum, Add{}, 0);
  if (threadIdx.x > 0) return;
  p.sums[row] = sum;
  p.scales[row] = scale * p.x_scale;
}

}  // namespace

ByteWeight byte_weight(Launch& launch, const ops::QuantizedProduct& product, int64_t channels,
                       int64_t taps) {
  const int64_t out = launch.input(1).dims[0];
  const int64_t k = ceil_div(checked_mul(channels, taps), kByteUnit) * kByteUnit;
  const int64_t words = ceil_div(out, 4) * 16;  // bytes of one number a row
  const int64_t bytes = checked_mul(out, k);
  const auto place = [&](std::byte* memory) {
    Packing p{};
    p.weight = weight_source(launch, 1);
    p.channels = channels;
    p.taps = taps;
    p.k = k;
    p.x_scale = product.mode == QuantizationMode::kStatic ? product.x_scale : 1.0F;
    p.bytes = reinterpret_cast<int8_t*>(memory);
    p.sums = reinterpret_cast<int32_t*>(memory + bytes);
    p.scales = reinterpret_cast<float*>(memory + bytes + words);
    return p;
  };
  std::byte* const memory =
      launch.frozen(1, product.index, bytes + 2 * words, [&](std::byte* fresh) {
        const Packing p = place(fresh);
        launch.copy_in(p.scales, product.weight_scales, out * 4);
        launch.kernel(pack_kernel, out, kThreads, p);
      });
  if (memory == nullptr) return {nullptr, nullptr, nullptr, k};
  const Packing p = place(memory);
  return {p.bytes, p.sums, p.scales, k};
}

ByteResult byte_result(Launch& launch, const ops::QuantizedProduct& product,
                       const ByteWeight& weight) {
  ByteResult r{};
  r.weight_sums = weight.sums;
  r.scales = weight.scales;
  r.bias = launch.in(2);
  r.y = launch.out<void>();
  r.columns = launch.input(1).dims[0];
  r.x_zero = product.mode == QuantizationMode::kStatic ? product.x_zero : 0;
  r.activation = product.activation;
  r.a = product.activation_attributes.a;
  r.b = product.activation_attributes.b;
  r.to_bytes = product.to_bytes;
  if (product.to_bytes) {
    r.inverse = 1.0F / product.y_scale;
    r.y_zero = product.y_zero;
  }
  return r;
}

}  // namespace tandem::cuda
