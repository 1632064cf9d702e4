// rotary: turns pairs of numbers by angles that grow with the position. One kernel finds sines and
// cosines of every position, in double precision as far as the product of position and frequency
// goes, another turns; it may run in place, since a pair belongs to one thread.
#include "core/ops/rotary.h"

#include "cuda/device/scalar.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

struct Rotary {
  int64_t outer, time, width, depth, columns;
  double base, direction;
};

/// cosine and sine of [time, depth / 2]. `positions`: of each row, null where they count.
__global__ void __launch_bounds__(kThreads)
    angles_kernel(Rotary p, const int32_t* positions, float2* angles) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t half = p.depth / 2;
  if (i >= p.time * half) return;
  const int64_t row = i / half;
  const auto position = static_cast<double>(positions == nullptr ? row : positions[row]);
  const auto pair = static_cast<double>(i % half);
  const double angle = position * pow(p.base, -2.0 * pair / static_cast<double>(p.depth));
  angles[i] =
      make_float2(static_cast<float>(cos(angle)), static_cast<float>(p.direction * sin(angle)));
}

/// A thread has a pair, or a number beyond the columns that turn.
__global__ void __launch_bounds__(kThreads)
    turn_kernel(Rotary p, const float2* angles, const float* x, float* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t half = p.depth / 2;
  const int64_t pairs = p.columns / 2;
  const int64_t tasks = p.width - pairs;  // of a row
  const int64_t row = i / tasks;
  if (row >= p.outer * p.time) return;
  const int64_t task = i - row * tasks;
  if (task >= pairs) {
    const int64_t at = row * p.width + pairs + task;
    y[at] = x[at];
    return;
  }
  const int64_t head = task / half;
  const int64_t pair = task - head * half;
  const int64_t at = row * p.width + head * p.depth + pair;
  const float2 turn = angles[row % p.time * half + pair];
  const float a = x[at];
  const float b = x[at + half];
  y[at] = a * turn.x - b * turn.y;
  y[at + half] = a * turn.y + b * turn.x;
}

}  // namespace

void launch_rotary(Launch& launch) {
  const Tensor& x = launch.input(0);
  if (x.numel == 0) return;
  const auto& attributes = launch.attributes<ops::Rotary::Attributes>();
  Rotary p{};
  p.width = x.dims[x.rank - 1];
  p.time = launch.has_input(1) ? x.numel / p.width : x.dims[x.rank - 2];
  p.outer = x.numel / (p.width * p.time);
  p.depth = attributes.depth;
  p.columns = attributes.columns;
  p.base = attributes.base;
  p.direction = attributes.inverse ? -1.0 : 1.0;
  const int64_t angle_count = p.time * (p.depth / 2);
  auto* const angles = launch.workspace<float2>(angle_count);
  launch.kernel(angles_kernel, ceil_div(angle_count, kThreads), kThreads, p, launch.in<int32_t>(1),
                angles);
  const int64_t tasks = p.outer * p.time * (p.width - p.columns / 2);
  launch.kernel(turn_kernel, ceil_div(tasks, kThreads), kThreads, p, angles, launch.in(0),
                launch.out());
}

}  // namespace tandem::cuda
