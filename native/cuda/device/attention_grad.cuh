// What the kernels of attention's gradients share: probabilities and the scores' gradients of a
// block of queries with a block of keys, computed again.
#pragma once

#include "cuda/device/attention.cuh"
#include "cuda/product_runner.h"

namespace tandem::cuda {

struct AttentionGradient {
  Attention forward;
  const float *y, *dy;
  const float2* log_sums;  // by query: the largest score, and the logarithm of the sum
  float* delta;            // by query: the sum of dy y
  Result dq, dk, dv;       // of floats by kernels that round no factors
};

/// The operands of one head.
struct GradientHead {
  HeadRows q, k, v, dy;
  const float* mask;
  const float2* log_sums;
  const float* delta;
};

TANDEM_DEVICE GradientHead gradient_head(const AttentionGradient& g, int64_t matrix) {
  const AttentionLayout& p = g.forward.layout;
  return {head_rows(g.forward.q, p.q, matrix, p.heads, p.time, p.depth),
          head_rows(g.forward.k, p.k, matrix, p.heads, p.keys, p.depth),
          head_rows(g.forward.v, p.v, matrix, p.heads, p.keys, p.value_depth),
          head_rows(g.dy, p.y, matrix, p.heads, p.time, p.value_depth),
          head_mask(g.forward, matrix),
          g.log_sums + matrix * p.time,
          g.delta + matrix * p.time};
}

/// Turns products of queries and keys into probabilities, and those of dy and values into the
/// gradients of scores. Rows are queries, columns keys, or the other way round when `transposed`.
template <bool transposed>
TANDEM_DEVICE void grade(const AttentionGradient& g, const GradientHead& h, Scores& scores,
                         Scores& gradients, int64_t query, int64_t key) {
  const int64_t first = static_cast<int64_t>(threadIdx.x / 32) * kTileRows;
#pragma unroll
  for (int i = 0; i < kAttentionRows / kTileColumns; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t row = first + row_of_element(e);
      const int64_t column = column_of_element(i, e);
      const int64_t at_query = query + (transposed ? column : row);
      const int64_t at_key = key + (transposed ? row : column);
      const float score = seen_score(g.forward, h.mask, scores.at[i][e], at_query, at_key);
      const bool seen = score != -INFINITY;
      float p = 0.0F;
      if (seen) {
        const float2 saved = h.log_sums[at_query];
        const float power = (score - saved.x) - saved.y;
        p = expf(power > 0.0F ? 0.0F : power);
      }
      scores.at[i][e] = p;
      gradients.at[i][e] = seen ? p * (gradients.at[i][e] - h.delta[at_query]) : 0.0F;
    }
  }
}

/// Blocks of rows of an axis.
TANDEM_DEVICE int64_t blocks_of(int64_t rows) {
  return (rows + kAttentionRows - 1) / kAttentionRows;
}

/// The gradient of the mask, by blocks of it: see kernels/attention_mask_grad.cu.
void launch_mask_gradient(Launch& launch, const AttentionGradient& g, Arithmetic kind,
                          const Tensor& mask, float* dmask);

/// Attention and the gradients of q, k and v in bfloat16 or float16: see kernels/attention_half.cu
/// and kernels/attention_half_grad.cu. The row sums of the gradients have to be there.
void launch_half_attention(Launch& launch, const Attention& a, bool float16);
void launch_half_gradients(Launch& launch, const AttentionGradient& g, bool float16);

/// How an attention multiplies.
inline Arithmetic attention_arithmetic(Launch& launch, bool bf16, bool fp16) {
  if (bf16) return Arithmetic::kBfloat16;
  if (fp16) return Arithmetic::kFloat16;
  return launch.products().type() == ProductType::kTf32 ? Arithmetic::kTf32 : Arithmetic::kFloat32;
}

/// Of `launch`, whose first four inputs are q, k, v and mask. `y`, `dy` and what is written have
/// rows like those.
Attention attention_of(const Launch& launch);

}  // namespace tandem::cuda
