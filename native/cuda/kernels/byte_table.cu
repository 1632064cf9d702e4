// Tables of signed bytes with a scale for each row, made once of a frozen weight.
// quantizedEmbedding: rows by number, as floats; a number out of range reads NaN, as in embedding.
// dequantizeWeight: all of it as floats.
#include "core/ops/quantized.h"

#include "core/error.h"
#include "cuda/device/weight_source.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

struct Table {
  int64_t count, dim;
  int8_t* bytes;
  float* scales;
};

__global__ void __launch_bounds__(kThreads) pack_kernel(Table t, WeightSource weight) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < t.count * t.dim) t.bytes[i] = weight.byte(i, t.scales[i / t.dim]);
}

__global__ void __launch_bounds__(kThreads)
    lookup_kernel(Table t, const int32_t* index, float* y, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t at = i / t.dim;
  const int64_t row = index[at];
  const bool there = row >= 0 && row < t.count;
  y[i] = there ? static_cast<float>(t.bytes[row * t.dim + (i - at * t.dim)]) * t.scales[row] : NAN;
}

__global__ void __launch_bounds__(kThreads) widen_kernel(Table t, float* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < t.count * t.dim) y[i] = static_cast<float>(t.bytes[i]) * t.scales[i / t.dim];
}

/// Input `input`, a weight of one element at least, by the scales of its outermost axis.
Table frozen_table(Launch& launch, int input, int32_t number, const float* scales) {
  const Tensor& w = launch.input(input);
  const int64_t table_bytes = ceil_div(w.numel, 16) * 16;
  const auto place = [&](std::byte* memory) {
    return Table{w.dims[0], w.numel / w.dims[0], reinterpret_cast<int8_t*>(memory),
                 reinterpret_cast<float*>(memory + table_bytes)};
  };
  const int64_t bytes = table_bytes + w.dims[0] * 4;
  std::byte* const memory = launch.frozen(input, number, bytes, [&](std::byte* fresh) {
    const Table t = place(fresh);
    launch.copy_in(t.scales, scales, w.dims[0] * 4);
    launch.kernel(pack_kernel, ceil_div(w.numel, kThreads), kThreads, t,
                  weight_source(launch, input));
  });
  return memory == nullptr ? Table{} : place(memory);
}

}  // namespace

void launch_dequantizeWeight(Launch& launch) {
  const auto& weight = launch.attributes<ops::DequantizeWeight::Attributes>();
  const int64_t n = launch.output().numel;
  if (n == 0) return;
  const Table table = frozen_table(launch, 0, weight.index, weight.weight_scales);
  launch.kernel(widen_kernel, ceil_div(n, kThreads), kThreads, table, launch.out());
}

void launch_quantizedEmbedding(Launch& launch) {
  const auto& [number, scales] = launch.attributes<ops::QuantizedEmbedding::Attributes>();
  if (launch.output().numel == 0) return;
  const Table table = frozen_table(launch, 1, number, scales);
  const int64_t n = launch.output().numel;
  launch.kernel(lookup_kernel, ceil_div(n, kThreads), kThreads, table, launch.in<int32_t>(0),
                launch.out(), n);
}

}  // namespace tandem::cuda
