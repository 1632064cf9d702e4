// attentionGrad: gradients of q, k, v and the mask. Probabilities are computed again from the
// scores and the saved log-sum-exp of each row, in two parts: Dao et al., "FlashAttention" (2022),
// algorithm 4.
// With P the probabilities and dS = P * (dy v^T - rowsum(dy * y)):
//   dv += P^T dy    dk += scale * dS^T q    dq += scale * dS k    dmask += dS
// Three passes, so that nothing is added by two blocks: the row sums; dq by blocks of queries,
// which go through the keys; dk and dv by blocks of keys, which go through the queries. A block has
// 64 numbers of each gradient; wider heads take several, each of which computes the scores again.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/ops/attention.h"
#include "cuda/device/attention_grad.cuh"
#include "cuda/device/fold.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/half_attention.h"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

constexpr int kColumns = kAttentionDepth;  // of a gradient, in a block
constexpr int kTile = kAttentionRows * kAlongStride;

/// A factor as the products have it.
template <Arithmetic kind>
TANDEM_DEVICE float rounded(float x) {
  if constexpr (kind == Arithmetic::kBfloat16) {
    return __bfloat162float(__float2bfloat16_rn(x));
  } else if constexpr (kind == Arithmetic::kFloat16) {
    return __half2float(__float2half_rn(x));
  } else {
    return x;
  }
}

/// The sums of dy y by query: a warp each. Of dy rounded to 16 bits where products round it: the
/// gradients of a query's scores have a sum of zero then, but for the rounding of sums.
template <Arithmetic kind>
__global__ void __launch_bounds__(kAttentionThreads) delta_kernel(AttentionGradient g) {
  const AttentionLayout& p = g.forward.layout;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (kAttentionThreads / 32) + threadIdx.x / 32;
  if (i >= p.batch * p.heads * p.time) return;
  const int64_t matrix = i / p.time;
  const HeadRows y = head_rows(g.y, p.y, matrix, p.heads, p.time, p.value_depth);
  const HeadRows dy = head_rows(g.dy, p.y, matrix, p.heads, p.time, p.value_depth);
  const int64_t at = i % p.time * y.stride;
  float sum = 0.0F;
  for (int64_t column = threadIdx.x % 32; column < p.value_depth; column += 32)
    sum = fmaf(y.data[at + column], rounded<kind>(dy.data[at + column]), sum);
  sum = fold_warp(sum, Add{});
  if (threadIdx.x % 32 == 0) g.delta[i] = sum;
}

/// What a block has: blocks of rows in a head, and pieces of their numbers.
struct Part {
  int64_t chunk, block, matrix;
};
TANDEM_DEVICE Part part_of(int64_t chunks, int64_t blocks) {
  return {blockIdx.x % chunks, blockIdx.x / chunks % blocks, blockIdx.x / chunks / blocks};
}

template <Arithmetic kind>
__global__ void __launch_bounds__(kAttentionThreads) queries_kernel(AttentionGradient g) {
  float* const left = dynamic_shared();
  float* const right = left + kTile;
  float* const graded = right + kTile;
  float* const across = graded + kTile;
  const Attention& a = g.forward;
  const AttentionLayout& p = a.layout;
  const Part part = part_of((p.depth + kColumns - 1) / kColumns, blocks_of(p.time));
  const GradientHead h = gradient_head(g, part.matrix);
  const int64_t query = part.block * kAttentionRows;
  const int64_t column = part.chunk * kColumns;
  Accumulators<kColumns / kTileColumns> dq;
  dq.clear();
  const int64_t end = a.causal && query + kAttentionRows < p.keys ? query + kAttentionRows : p.keys;
  for (int64_t key = 0; key < end; key += kAttentionRows) {
    Scores scores;
    Scores gradients;
    multiply_rows<kind>(scores, left, right, h.q, query, h.k, key, false, a.whole_quads);
    multiply_rows<kind>(gradients, left, right, h.dy, query, h.v, key, false, a.whole_quads);
    grade<false>(g, h, scores, gradients, query, key);
    store_scores(graded, gradients);
    load_tile<kColumns, kAcrossStride>(across, h.k, key, column, a.whole_quads);
    __syncthreads();
    add_rows<kind, kColumns>(dq, graded, across);
  }
  const HeadRows to = head_rows(g.dq.y, p.q, part.matrix, p.heads, p.time, p.depth);
  store_rows<kColumns>(dq, a.scale, to, const_cast<float*>(to.data), query, column);
}

template <Arithmetic kind>
__global__ void __launch_bounds__(kAttentionThreads)
    keys_kernel(AttentionGradient g, int64_t chunks) {
  float* const left = dynamic_shared();
  float* const right = left + kTile;
  float* const graded = right + kTile;
  float* const powers = graded + kTile;
  float* const across = powers + kTile;
  const Attention& a = g.forward;
  const AttentionLayout& p = a.layout;
  const Part part = part_of(chunks, blocks_of(p.keys));
  const GradientHead h = gradient_head(g, part.matrix);
  const int64_t key = part.block * kAttentionRows;
  const int64_t column = part.chunk * kColumns;
  Accumulators<kColumns / kTileColumns> dk;
  Accumulators<kColumns / kTileColumns> dv;
  dk.clear();
  dv.clear();
  // no query before a block's first key sees any of it
  for (int64_t query = a.causal ? key : 0; query < p.time; query += kAttentionRows) {
    Scores scores;
    Scores gradients;
    multiply_rows<kind>(scores, left, right, h.k, key, h.q, query, false, a.whole_quads);
    multiply_rows<kind>(gradients, left, right, h.v, key, h.dy, query, false, a.whole_quads);
    grade<true>(g, h, scores, gradients, query, key);
    store_scores(powers, scores);
    store_scores(graded, gradients);
    load_tile<kColumns, kAcrossStride>(across, h.dy, query, column, a.whole_quads);
    __syncthreads();
    add_rows<kind, kColumns>(dv, powers, across);
    __syncthreads();
    load_tile<kColumns, kAcrossStride>(across, h.q, query, column, a.whole_quads);
    __syncthreads();
    add_rows<kind, kColumns>(dk, graded, across);
  }
  const HeadRows to_k = head_rows(g.dk.y, p.k, part.matrix, p.heads, p.keys, p.depth);
  const HeadRows to_v = head_rows(g.dv.y, p.v, part.matrix, p.heads, p.keys, p.value_depth);
  store_rows<kColumns>(dk, a.scale, to_k, const_cast<float*>(to_k.data), key, column);
  store_rows<kColumns>(dv, 1.0F, to_v, const_cast<float*>(to_v.data), key, column);
}

template <Arithmetic kind>
void launch_delta(Launch& launch, const AttentionGradient& g) {
  const AttentionLayout& p = g.forward.layout;
  launch.kernel(delta_kernel<kind>, ceil_div(p.batch * p.heads * p.time, kAttentionThreads / 32),
                kAttentionThreads, g);
}

template <Arithmetic kind>
void launch_kind(Launch& launch, const AttentionGradient& g) {
  const AttentionLayout& p = g.forward.layout;
  const int64_t matrices = p.batch * p.heads;
  const int64_t wider = p.depth > p.value_depth ? p.depth : p.value_depth;
  launch_delta<kind>(launch, g);
  launch.kernel_with_shared(
      queries_kernel<kind>,
      matrices * ceil_div(p.time, kAttentionRows) * ceil_div(p.depth, kColumns), kAttentionThreads,
      attention_grad_shared_bytes(), g);
  const int64_t chunks = ceil_div(wider, kColumns);
  launch.kernel_with_shared(keys_kernel<kind>, matrices * ceil_div(p.keys, kAttentionRows) * chunks,
                            kAttentionThreads, attention_grad_shared_bytes(), g, chunks);
}

/// The same in 16 bits.
template <Arithmetic kind>
void launch_half(Launch& launch, const AttentionGradient& g, AttentionWay way) {
  constexpr bool kFloat16 = kind == Arithmetic::kFloat16;
  launch_delta<kind>(launch, g);
  if (way == AttentionWay::kWarpgroups) {
    launch_gradient_warpgroups(launch, g, kFloat16);
  } else {
    launch_half_gradients(launch, g, kFloat16);
  }
}

}  // namespace

std::vector<AttentionWay> gradient_ways(const Launch& launch) {
  if (launch.has_input(3) || !has_gradient_warpgroups(attention_of(launch)))
    return {AttentionWay::kWarps};
  return {AttentionWay::kWarps, AttentionWay::kWarpgroups};
}

void launch_gradients_by(Launch& launch, AttentionWay way) {
  const auto& attributes = launch.attributes<ops::AttentionAttributes>();
  AttentionGradient g{};
  g.forward = attention_of(launch);
  const AttentionLayout& p = g.forward.layout;
  g.y = launch.in(4);
  g.log_sums = reinterpret_cast<const float2*>(launch.in(5));
  g.dy = launch.in(6);
  g.delta = launch.workspace<float>(p.batch * p.heads * p.time);
  int next = 1;
  g.dq = launch.result();
  g.dk = p.k_apart ? Result{launch.out(next++)} : g.dq;
  g.dv = p.v_apart ? Result{launch.out(next++)} : g.dk;
  const Arithmetic kind = attention_arithmetic(launch, attributes.bf16, attributes.fp16);
  switch (kind) {
    case Arithmetic::kFloat32:
      launch_kind<Arithmetic::kFloat32>(launch, g);
      break;
    case Arithmetic::kTf32:
      launch_kind<Arithmetic::kTf32>(launch, g);
      break;
    case Arithmetic::kBfloat16:
      launch_half<Arithmetic::kBfloat16>(launch, g, way);
      break;
    case Arithmetic::kFloat16:
      launch_half<Arithmetic::kFloat16>(launch, g, way);
      break;
  }
  if (attributes.mask_gradient)
    launch_mask_gradient(launch, g, kind, launch.input(3), launch.out(next));
}

void launch_attentionGrad(Launch& launch) {
  launch_gradients_by(launch, chosen_way(gradient_ways(launch), kPreferredGradients));
}

}  // namespace tandem::cuda
