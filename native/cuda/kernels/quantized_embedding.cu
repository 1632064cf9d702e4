// quantizedEmbedding: rows of a table of signed bytes by number, times the scale of their row. A
// number out of range reads NaN, as in embedding.
#include "core/ops/quantized.h"

#include "core/error.h"
#include "cuda/device/bytes.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

struct Table {
  int64_t count, dim;
  int8_t* bytes;
  float* scales;
};

__global__ void __launch_bounds__(kThreads) pack_kernel(Table t, const float* weight) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < t.count * t.dim) t.bytes[i] = to_weight_byte(weight[i], t.scales[i / t.dim]);
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

}  // namespace

void launch_quantizedEmbedding(Launch& launch) {
  const auto& [number, scales] = launch.attributes<ops::QuantizedEmbedding::Attributes>();
  const Tensor& w = launch.input(1);
  if (launch.output().numel == 0) return;
  const int64_t table_bytes = ceil_div(w.numel, 16) * 16;
  const auto place = [&](std::byte* memory) {
    return Table{w.dims[0], w.dims[1], reinterpret_cast<int8_t*>(memory),
                 reinterpret_cast<float*>(memory + table_bytes)};
  };
  const int64_t bytes = table_bytes + w.dims[0] * 4;
  std::byte* const memory = launch.frozen(1, number, bytes, [&, from = scales](std::byte* fresh) {
    const Table t = place(fresh);
    launch.copy_in(t.scales, from, w.dims[0] * 4);
    launch.kernel(pack_kernel, ceil_div(w.numel, kThreads), kThreads, t, launch.in(1));
  });
  const Table table = memory == nullptr ? Table{} : place(memory);
  const int64_t n = launch.output().numel;
  launch.kernel(lookup_kernel, ceil_div(n, kThreads), kThreads, table, launch.in<int32_t>(0),
                launch.out(), n);
}

}  // namespace tandem::cuda
