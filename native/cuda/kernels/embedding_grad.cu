// embeddingGrad: row i of the result is the sum of the rows of dy whose index is i, in their order,
// so that the sums are the same bits in every run: no atomics. A block has a position of `index`;
// the first position of each number takes all others after it, in pieces of as many as there are
// threads. To find them it reads all of `index`, from the L2 cache: quadratic in the number of
// positions, and less than the rows themselves up to tens of thousands of them.
#include "core/ops/embedding.h"

#include "cuda/device/fold.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / 32;

/// Puts the threads for which `hit` holds into `list`, in order; every thread gets their number.
TANDEM_DEVICE unsigned list_hits(bool hit, unsigned (&list)[kThreads], unsigned (&counts)[kWarps]) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned warp = threadIdx.x / 32;
  const unsigned hits = __ballot_sync(kAllLanes, hit);
  if (lane == 0) counts[warp] = __popc(hits);
  __syncthreads();
  unsigned before = 0;
  unsigned all = 0;
  for (unsigned i = 0; i < kWarps; ++i) {
    if (i < warp) before += counts[i];
    all += counts[i];
  }
  if (hit) list[before + __popc(hits & ((1U << lane) - 1))] = threadIdx.x;
  __syncthreads();
  return all;
}

__global__ void __launch_bounds__(kThreads)
    sum_kernel(const int32_t* index, const float* dy, float* dw, int64_t rows, int64_t count,
               int64_t dim) {
  __shared__ unsigned list[kThreads];
  __shared__ unsigned counts[kWarps];
  const int64_t first = blockIdx.x;
  const int64_t number = index[first];
  if (number < 0 || number >= count) return;
  bool seen = false;
  for (int64_t i = threadIdx.x; i < first; i += kThreads) seen = seen || index[i] == number;
  if (__syncthreads_or(seen) != 0) return;
  float* const sum = dw + number * dim;
  for (int64_t begin = first; begin < rows; begin += kThreads) {
    const int64_t i = begin + threadIdx.x;
    const unsigned hits = list_hits(i < rows && index[i] == number, list, counts);
    for (int64_t column = threadIdx.x; hits > 0 && column < dim; column += kThreads) {
      float total = begin == first ? 0.0F : sum[column];
      for (unsigned k = 0; k < hits; ++k) total += dy[(begin + list[k]) * dim + column];
      sum[column] = total;
    }
    __syncthreads();  // the next piece overwrites the list
  }
}

}  // namespace

void launch_embeddingGrad(Launch& launch) {
  const Tensor& dw = launch.output();
  launch.zero(launch.out(), dw.numel * 4);
  if (dw.numel == 0) return;
  launch.kernel(sum_kernel, launch.input(0).numel, kThreads, launch.in<int32_t>(0), launch.in(1),
                launch.out(), launch.input(0).numel, dw.dims[0], dw.dims[1]);
}

}  // namespace tandem::cuda
