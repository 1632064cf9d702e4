// pad: a border of `value` around x, of any rank. A thread has an element of the result and reads
// from x what lies inside.
#include "core/ops/pad.h"

#include "cuda/device/index.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

struct Border {
  int32_t rank;
  int64_t out[kMaxRank];     // dimensions of the result
  int64_t before[kMaxRank];  // elements in front of x
  int64_t x[kMaxRank];       // dimensions of x
};

__global__ void __launch_bounds__(kThreads)
    pad_kernel(Border p, const uint32_t* x, uint32_t* out, uint32_t value, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  int64_t rest = i;
  int64_t from = 0;
  int64_t stride = 1;
  bool inside = true;
#pragma unroll
  for (int axis = kMaxRank - 1; axis >= 0; --axis) {
    if (axis >= p.rank) continue;
    const int64_t at = rest % p.out[axis] - p.before[axis];
    rest /= p.out[axis];
    inside = inside && at >= 0 && at < p.x[axis];
    from += at * stride;
    stride *= p.x[axis];
  }
  out[i] = inside ? x[from] : value;
}

}  // namespace

void launch_pad(Launch& launch) {
  const auto& attributes = launch.attributes<ops::PadAttributes>();
  const Tensor& x = launch.input(0);
  const int64_t n = launch.output().numel;
  Border p{};
  p.rank = x.rank;
  for (int32_t i = 0; i < x.rank; ++i) {
    p.out[i] = launch.output().dims[i];
    p.before[i] = attributes.before.values[i];
    p.x[i] = x.dims[i];
  }
  const auto number = static_cast<float>(attributes.value);
  const uint32_t value = x.dtype == DType::kFloat32
                             ? __builtin_bit_cast(uint32_t, number)
                             : static_cast<uint32_t>(static_cast<int32_t>(attributes.value));
  launch.kernel(pad_kernel, ceil_div(n, kThreads), kThreads, p, launch.in<uint32_t>(0),
                launch.out<uint32_t>(), value, n);
}

}  // namespace tandem::cuda
