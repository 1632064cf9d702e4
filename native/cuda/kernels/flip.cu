// flip: the other end of an axis first, of elements of 4 bytes. x is seen as [outer, length,
// inner]; a thread has an element of the result.
#include "core/ops/flip.h"

#include "cuda/device/index.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    flip_kernel(const uint32_t* x, uint32_t* out, int64_t length, int64_t inner, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t place = i / inner % length;
  out[i] = x[i + (length - 1 - 2 * place) * inner];
}

}  // namespace

void launch_flip(Launch& launch) {
  const Tensor& x = launch.input(0);
  if (x.numel == 0) return;
  const int64_t axis = launch.attributes<ops::Flip::Attributes>().axis;
  launch.kernel(flip_kernel, ceil_div(x.numel, kThreads), kThreads, launch.in<uint32_t>(0),
                launch.out<uint32_t>(), x.dims[axis], stride_of(x, axis), x.numel);
}

}  // namespace tandem::cuda
