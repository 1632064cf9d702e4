// Sums and extremes over the threads of a block, in an order that the number of threads fixes.
#pragma once

#include "cuda/device/scalar.cuh"

namespace tandem::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffU;

struct Add {
  template <typename T>
  TANDEM_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
/// A NaN wins.
struct Largest {
  template <typename T>
  TANDEM_DEVICE T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};
struct Smallest {
  template <typename T>
  TANDEM_DEVICE T operator()(T a, T b) const {
    return a < b || a != a ? a : b;
  }
};

/// Folds the values of a warp; every lane gets the result.
template <typename T, typename Fold>
TANDEM_DEVICE T fold_warp(T value, Fold fold) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2)
    value = fold(value, __shfl_xor_sync(kAllLanes, value, lane));
  return value;
}

/// Folds the values of `threads` threads, the first of which is a block's, or of each warp when
/// `threads` is 32; every thread gets the result. A block of 2 to 32 whole warps.
template <unsigned threads, typename T, typename Fold>
TANDEM_DEVICE T fold_threads(T value, Fold fold, T neutral) {
  value = fold_warp(value, fold);
  if constexpr (threads > 32) {
    __shared__ T parts[32];
    const unsigned warp = threadIdx.x / 32;
    const unsigned lane = threadIdx.x % 32;
    __syncthreads();  // a fold before this one may still be reading
    if (lane == 0) parts[warp] = value;
    __syncthreads();
    value = fold_warp(lane < threads / 32 ? parts[lane] : neutral, fold);
  }
  return value;
}

/// The fold of one value of each thread of a single block of `threads`, for the last kernel of an
/// op.
template <unsigned threads>
TANDEM_DEVICE double sum_all(const double* values, int64_t n) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < n; i += threads) sum += values[i];
  return fold_threads<threads>(sum, Add{}, 0.0);
}

}  // namespace tandem::cuda
