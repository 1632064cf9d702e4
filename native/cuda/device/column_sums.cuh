// Sums over the rows of a matrix. Rows are cut into pieces by the shape alone; each piece has sums
// of its own in memory, which join_columns_kernel adds in order.
#pragma once

#include "cuda/device/fold.cuh"
#include "cuda/launch.h"

namespace tandem::cuda {

inline constexpr unsigned kJoinThreads = 1024;
inline constexpr unsigned kJoinColumns = 32;  ///< of a block

/// Where sums go: those of the first `split` columns, and of those behind; null for neither.
struct JoinedColumns {
  float* first = nullptr;
  int64_t split = 0;
  float* second = nullptr;
};

/// The sums of partial[piece, column] over the pieces.
template <typename T>
__global__ void __launch_bounds__(kJoinThreads)
    join_columns_kernel(const T* partial, int64_t pieces, int64_t columns, JoinedColumns to) {
  constexpr unsigned kRows = kJoinThreads / kJoinColumns;
  __shared__ double sums[kRows][kJoinColumns + 1];
  const unsigned lane = threadIdx.x % kJoinColumns;
  const unsigned row = threadIdx.x / kJoinColumns;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kJoinColumns + lane;
  double sum = 0.0;
  for (int64_t piece = row; column < columns && piece < pieces; piece += kRows)
    sum += static_cast<double>(partial[piece * columns + column]);
  sums[row][lane] = sum;
  __syncthreads();
  // a warp has a column now, and its lanes the rows
  const int64_t folded = static_cast<int64_t>(blockIdx.x) * kJoinColumns + row;
  const double total = fold_warp(sums[lane][row], Add{});
  if (lane != 0 || folded >= columns) return;
  float* const out = folded < to.split ? to.first : to.second;
  if (out != nullptr)
    out[folded < to.split ? folded : folded - to.split] = static_cast<float>(total);
}

/// Starts it.
template <typename T>
void launch_join_columns(Launch& launch, const T* partial, int64_t pieces, int64_t columns,
                         const JoinedColumns& to) {
  const int64_t blocks = ceil_div(columns, int64_t{kJoinColumns});
  launch.kernel(join_columns_kernel<T>, blocks, kJoinThreads, partial, pieces, columns, to);
}

}  // namespace tandem::cuda
