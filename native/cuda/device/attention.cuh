// What the kernels of attention share: tiles of operands in shared memory, scores of a block of
// queries with a block of keys in registers, and what they mean.
#pragma once

#include "cuda/device/fold.cuh"
#include "cuda/device/tile_product.cuh"
#include "cuda/host/attention_layout.h"
#include "cuda/launch.h"

namespace tandem::cuda {

struct Attention {
  AttentionLayout layout;
  const float *q, *k, *v, *mask;  // mask: null for none
  float scale;
  bool causal;
  bool whole_quads;  // rows of all operands may be read 16 bytes at a time
};

/// The scores of a warp's 16 rows with a block's columns.
using Scores = Accumulators<kAttentionRows / kTileColumns>;

/// Rows of one head.
struct HeadRows {
  const float* data;
  int64_t stride, rows, columns;
};

/// The first element of a head.
TANDEM_DEVICE int64_t head_start(const HeadView& view, int64_t matrix, int64_t heads) {
  return view.at + matrix / heads * view.batch + matrix % heads * view.head;
}

TANDEM_DEVICE HeadRows head_rows(const float* data, const HeadView& view, int64_t matrix,
                                 int64_t heads, int64_t rows, int64_t columns) {
  return {data + head_start(view, matrix, heads), view.row, rows, columns};
}

TANDEM_DEVICE const float* head_mask(const Attention& a, int64_t matrix) {
  if (a.mask == nullptr) return nullptr;
  return a.mask + matrix / a.layout.heads * a.layout.mask_strides[0] +
         matrix % a.layout.heads * a.layout.mask_strides[1];
}

/// Copies kAttentionRows rows from `row` on, `columns` of their numbers from `column` on, to shared
/// memory with `stride` floats between rows; zeros where there are none.
template <int columns, int stride>
TANDEM_DEVICE void load_tile(float* to, const HeadRows& from, int64_t row, int64_t column,
                             bool whole_quads) {
  if (whole_quads) {
    constexpr int kQuads = columns / 4;
    for (int i = static_cast<int>(threadIdx.x); i < kAttentionRows * kQuads;
         i += kAttentionThreads) {
      const int r = i / kQuads;
      const int c = i % kQuads * 4;
      float4 quad = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
      if (row + r < from.rows && column + c < from.columns)
        quad = *reinterpret_cast<const float4*>(from.data + (row + r) * from.stride + column + c);
      *reinterpret_cast<float4*>(to + r * stride + c) = quad;
    }
    return;
  }
  for (int i = static_cast<int>(threadIdx.x); i < kAttentionRows * columns;
       i += kAttentionThreads) {
    const int r = i / columns;
    const int c = i % columns;
    const bool there = row + r < from.rows && column + c < from.columns;
    to[r * stride + c] = there ? from.data[(row + r) * from.stride + column + c] : 0.0F;
  }
}

/// This warp's rows of a tile along.
TANDEM_DEVICE float* warp_rows(float* tile) {
  return tile + threadIdx.x / 32 * kTileRows * kAlongStride;
}

/// scores = a b^T for the block's rows of a from `a_row` on and of b from `b_row` on. `a_tile` and
/// `b_tile` are room for one tile along each; `keeps_a`: the last call had the same rows of a, and
/// nobody has used the room since. Begins and ends with all threads past what was there before.
template <Arithmetic kind>
TANDEM_DEVICE void multiply_rows(Scores& scores, float* a_tile, float* b_tile, const HeadRows& a,
                                 int64_t a_row, const HeadRows& b, int64_t b_row, bool keeps_a,
                                 bool whole_quads) {
  scores.clear();
  for (int64_t column = 0; column < a.columns; column += kAttentionDepth) {
    __syncthreads();
    if (!keeps_a || a.columns > kAttentionDepth)
      load_tile<kAttentionDepth, kAlongStride>(a_tile, a, a_row, column, whole_quads);
    load_tile<kAttentionDepth, kAlongStride>(b_tile, b, b_row, column, whole_quads);
    __syncthreads();
    add_product<kind, kAttentionDepth, kAlongStride, 1, 1, kAlongStride>(scores, warp_rows(a_tile),
                                                                         b_tile);
  }
}

/// What a lane knows of its two rows, above and below; the four lanes of a row know the same.
struct RowState {
  float largest = -INFINITY;
  float sum = 0.0F;
};

TANDEM_DEVICE float row_sum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  return value + __shfl_xor_sync(kAllLanes, value, 2);
}
/// A NaN only where all are.
TANDEM_DEVICE float row_largest(float value) {
  value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, 1));
  return fmaxf(value, __shfl_xor_sync(kAllLanes, value, 2));
}

/// Divides the sums of a warp's 16 rows from `query` on by what their exponentials add up to, and
/// leaves by query the largest score and the logarithm of the sum, unless `log_sums` is null.
template <int tiles>
TANDEM_DEVICE void end_rows(Accumulators<tiles>& sums, const RowState (&rows)[2], float2* log_sums,
                            int64_t query, int64_t time) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const RowState& row = rows[half];
    const bool nothing = row.sum == 0.0F;  // a row without any weight stays zero
    const float factor = nothing ? 0.0F : 1.0F / row.sum;
#pragma unroll
    for (int i = 0; i < tiles; ++i) {
      sums.at[i][2 * half] *= factor;
      sums.at[i][2 * half + 1] *= factor;
    }
    const int64_t at = query + row_of_element(2 * half);
    if (log_sums != nullptr && threadIdx.x % 4 == 0 && at < time)
      log_sums[at] =
          nothing ? make_float2(0.0F, INFINITY) : make_float2(row.largest, logf(row.sum));
  }
}

/// The score of a query and a key as the softmax sees it: -infinity where the query does not see
/// the key, or where there is no such query or key. Rounded, and never a part of what follows: a
/// difference of scores has to be 0 where they are equal, however large.
TANDEM_DEVICE float seen_score(const Attention& a, const float* mask, float product, int64_t query,
                               int64_t key) {
  const AttentionLayout& p = a.layout;
  if (query >= p.time || key >= p.keys || (a.causal && key > query)) return -INFINITY;
  if (mask == nullptr) return __fmul_rn(product, a.scale);
  return fmaf(product, a.scale, mask[query * p.mask_strides[2] + key * p.mask_strides[3]]);
}

/// Writes this warp's part of a score matrix to a tile along.
TANDEM_DEVICE void store_scores(float* tile, const Scores& scores) {
  float* const rows = warp_rows(tile);
#pragma unroll
  for (int i = 0; i < kAttentionRows / kTileColumns; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e)
      rows[row_of_element(e) * kAlongStride + column_of_element(i, e)] = scores.at[i][e];
  }
}

/// sums += scores x: this warp's rows of a score matrix times a tile across of `columns`.
template <Arithmetic kind, int columns>
TANDEM_DEVICE void add_rows(Accumulators<columns / kTileColumns>& sums, float* scores,
                            const float* across) {
  add_product<kind, kAttentionRows, kAlongStride, 1, columns + 8, 1>(sums, warp_rows(scores),
                                                                     across);
}

/// Writes this warp's sums, times `factor`, to rows from `row` and columns from `column` on.
template <int columns>
TANDEM_DEVICE void store_rows(const Accumulators<columns / kTileColumns>& sums, float factor,
                              const HeadRows& to, float* data, int64_t row, int64_t column) {
  const int64_t first = row + static_cast<int64_t>(threadIdx.x / 32) * kTileRows;
#pragma unroll
  for (int i = 0; i < columns / kTileColumns; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t r = first + row_of_element(e);
      const int64_t c = column + column_of_element(i, e);
      if (r < to.rows && c < to.columns) data[r * to.stride + c] = sums.at[i][e] * factor;
    }
  }
}

}  // namespace tandem::cuda
