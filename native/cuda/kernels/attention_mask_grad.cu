// The gradient of the mask of attention: the scores' gradients, summed over what the mask is
// broadcast to. A block owns a part of the mask, 64 by 64 numbers or what is broadcast there, and
// goes through all heads, queries and keys that add to it in rising order.
#include "cuda/device/attention_grad.cuh"
#include "cuda/device/launch_bounds.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr int kTile = kAttentionRows * kAlongStride;

/// Blocks along each axis of the mask: 1 where it is broadcast.
struct MaskGrid {
  int64_t batch, heads, query_blocks, key_blocks;
};

/// The axis [begin, end) that a block goes through: its own place, or all of them.
struct Span {
  int64_t begin, end;
};
TANDEM_DEVICE Span span_of(bool broadcast, int64_t own, int64_t all) {
  return broadcast ? Span{0, all} : Span{own, own + 1};
}

/// Adds up what a block has in registers over the queries, the keys, or both, as the mask wants it,
/// by way of shared memory, and writes it.
TANDEM_DEVICE void write_mask(const AttentionLayout& p, float* tile, const Scores& sums, float* to,
                              int64_t query, int64_t key) {
  __syncthreads();
  store_scores(tile, sums);
  __syncthreads();
  const bool all_queries = p.mask_strides[2] == 0;
  const bool all_keys = p.mask_strides[3] == 0;
  const int rows = all_queries ? 1 : kAttentionRows;
  const int columns = all_keys ? 1 : kAttentionRows;
  for (int i = static_cast<int>(threadIdx.x); i < rows * columns; i += kAttentionThreads) {
    const int row = i / columns;
    const int column = i % columns;
    if (query + row >= p.time || key + column >= p.keys) continue;
    float sum = 0.0F;
    for (int r = row; r < (all_queries ? kAttentionRows : row + 1); ++r) {
      for (int c = column; c < (all_keys ? kAttentionRows : column + 1); ++c)
        sum += tile[r * kAlongStride + c];
    }
    to[(query + row) * p.mask_strides[2] + (key + column) * p.mask_strides[3]] = sum;
  }
}

template <Arithmetic kind>
__global__ void TANDEM_LAUNCH_BOUNDS(kAttentionThreads)
    mask_kernel(AttentionGradient g, MaskGrid grid, float* dmask) {
  float* const left = dynamic_shared();
  float* const right = left + kTile;
  const Attention& a = g.forward;
  const AttentionLayout& p = a.layout;
  int64_t rest = blockIdx.x;
  const int64_t key_block = rest % grid.key_blocks;
  rest /= grid.key_blocks;
  const int64_t query_block = rest % grid.query_blocks;
  rest /= grid.query_blocks;
  const int64_t head = rest % grid.heads;
  const int64_t batch = rest / grid.heads;
  const Span batches = span_of(p.mask_strides[0] == 0, batch, p.batch);
  const Span heads = span_of(p.mask_strides[1] == 0, head, p.heads);
  const Span queries = span_of(p.mask_strides[2] == 0, query_block, blocks_of(p.time));
  const Span keys = span_of(p.mask_strides[3] == 0, key_block, blocks_of(p.keys));
  Scores sums;
  sums.clear();
  for (int64_t m = batches.begin * p.heads; m < batches.end * p.heads; ++m) {
    if (m % p.heads < heads.begin || m % p.heads >= heads.end) continue;
    const GradientHead h = gradient_head(g, m);
    for (int64_t q = queries.begin; q < queries.end; ++q) {
      for (int64_t k = keys.begin; k < keys.end; ++k) {
        const int64_t query = q * kAttentionRows;
        const int64_t key = k * kAttentionRows;
        if (a.causal && key >= query + kAttentionRows) continue;
        Scores scores;
        Scores gradients;
        multiply_rows<kind>(scores, left, right, h.q, query, h.k, key, false, a.whole_quads);
        multiply_rows<kind>(gradients, left, right, h.dy, query, h.v, key, false, a.whole_quads);
        grade<false>(g, h, scores, gradients, query, key);
#pragma unroll
        for (int i = 0; i < kAttentionRows / kTileColumns; ++i) {
#pragma unroll
          for (int e = 0; e < 4; ++e) sums.at[i][e] += gradients.at[i][e];
        }
      }
    }
  }
  float* const to = dmask + batch * p.mask_strides[0] + head * p.mask_strides[1];
  write_mask(p, left, sums, to, query_block * kAttentionRows, key_block * kAttentionRows);
}

}  // namespace

void launch_mask_gradient(Launch& launch, const AttentionGradient& g, Arithmetic kind,
                          const Tensor& mask, float* dmask) {
  const AttentionLayout& p = g.forward.layout;
  if (p.batch * p.heads == 0) return launch.zero(dmask, mask.numel * 4);
  const MaskGrid grid{p.mask_strides[0] == 0 ? 1 : p.batch, p.mask_strides[1] == 0 ? 1 : p.heads,
                      p.mask_strides[2] == 0 ? 1 : ceil_div(p.time, kAttentionRows),
                      p.mask_strides[3] == 0 ? 1 : ceil_div(p.keys, kAttentionRows)};
  const auto kernel = kind == Arithmetic::kFloat32   ? mask_kernel<Arithmetic::kFloat32>
                      : kind == Arithmetic::kTf32    ? mask_kernel<Arithmetic::kTf32>
                      : kind == Arithmetic::kFloat16 ? mask_kernel<Arithmetic::kFloat16>
                                                     : mask_kernel<Arithmetic::kBfloat16>;
  launch.kernel_with_shared(kernel, grid.batch * grid.heads * grid.query_blocks * grid.key_blocks,
                            kAttentionThreads, attention_grad_shared_bytes(), g, grid, dmask);
}

}  // namespace tandem::cuda
