// What quantizedLstm and quantizedGru multiply, as whole numbers in floats: a frozen weight, and
// the states before a step, by a warp for each row.
#include "cuda/device/byte_states.cuh"

#include "core/error.h"
#include "cuda/device/byte_rows.cuh"
#include "cuda/device/weight_source.cuh"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    weight_kernel(WholeRows w, WeightSource weight, int64_t columns, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) w.numbers[i] = static_cast<float>(weight.byte(i, w.scales[i / columns]));
}

/// `y` is that of the first row.
__global__ void __launch_bounds__(kThreads)
    states_kernel(WholeRows states, const float* y, int64_t row_step, int64_t units,
                  int64_t batch) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= batch) return;
  const float* const from = y + row * row_step;
  const RowSteps steps = unsigned_steps(extent_of_row(from, units));
  for (int64_t i = threadIdx.x % 32; i < units; i += 32) {
    const int32_t byte = to_unsigned_byte(from[i], steps.scale, steps.zero);
    states.numbers[row * units + i] = static_cast<float>(byte - steps.zero);
  }
  if (threadIdx.x % 32 == 0) states.scales[row] = steps.scale;
}

}  // namespace

WholeRows whole_weight(Launch& launch, const ops::ByteWeight& weight) {
  const Tensor& w = launch.input(1);
  const int64_t at_scales = ceil_div(w.numel, 4) * 4;  // floats
  const auto place = [&](std::byte* memory) {
    auto* const floats = reinterpret_cast<float*>(memory);
    return WholeRows{floats, floats + at_scales};
  };
  const int64_t bytes = checked_mul(at_scales + w.dims[0], 4);
  std::byte* const memory = launch.frozen(1, weight.index, bytes, [&](std::byte* fresh) {
    const WholeRows rows = place(fresh);
    launch.copy_in(rows.scales, weight.weight_scales, w.dims[0] * 4);
    launch.kernel(weight_kernel, ceil_div(w.numel, kThreads), kThreads, rows,
                  weight_source(launch, 1), w.dims[1], w.numel);
  });
  return memory == nullptr ? WholeRows{} : place(memory);
}

void launch_states(Launch& launch, const Recurrence& r, const float* y, int64_t t,
                   const WholeRows& states) {
  launch.kernel(states_kernel, ceil_div(r.batch, kThreads / 32), kThreads, states,
                y + (t - 1) * r.units, r.time * r.units, r.units, r.batch);
}

}  // namespace tandem::cuda
