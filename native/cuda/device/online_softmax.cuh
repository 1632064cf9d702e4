// The maximum of a row and the sum of exp(x - maximum), in one pass: the sum is scaled whenever the
// maximum grows. Equal numbers count as exp(0) even where they are infinite, so that rows that
// begin with -infinity, as masked ones do, come out right; a NaN makes both NaN.
#pragma once

#include "cuda/device/fold.cuh"

namespace tandem::cuda {

struct OnlineSum {
  float largest = -INFINITY;
  float sum = 0.0F;

  TANDEM_DEVICE static float power(float x, float largest) {
    return x == largest ? 1.0F : expf(x - largest);
  }
  TANDEM_DEVICE void add(float x) {
    const float most = Largest{}(x, largest);
    sum = sum * power(largest, most) + power(x, most);
    largest = most;
  }
  TANDEM_DEVICE OnlineSum joined(const OnlineSum& other) const {
    OnlineSum both;
    both.largest = Largest{}(largest, other.largest);
    both.sum = sum * power(largest, both.largest) + other.sum * power(other.largest, both.largest);
    return both;
  }
};

/// As fold_threads().
template <unsigned threads>
TANDEM_DEVICE OnlineSum fold_online(OnlineSum value) {
  const auto fold = [](OnlineSum mine) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) {
      OnlineSum other;
      other.largest = __shfl_xor_sync(kAllLanes, mine.largest, lane);
      other.sum = __shfl_xor_sync(kAllLanes, mine.sum, lane);
      mine = mine.joined(other);
    }
    return mine;
  };
  value = fold(value);
  if constexpr (threads > 32) {
    __shared__ float largest[32];
    __shared__ float sums[32];
    const unsigned warp = threadIdx.x / 32;
    const unsigned lane = threadIdx.x % 32;
    __syncthreads();  // a fold before this one may still be reading
    if (lane == 0) {
      largest[warp] = value.largest;
      sums[warp] = value.sum;
    }
    __syncthreads();
    OnlineSum part;
    if (lane < threads / 32) {
      part.largest = largest[lane];
      part.sum = sums[lane];
    }
    value = fold(part);
  }
  return value;
}

}  // namespace tandem::cuda
