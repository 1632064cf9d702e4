// attention: y = softmax(q k^T * scale + mask) v. A block has 64 queries of a head, 16 to a warp,
// and goes through the keys 64 at a time: scores in registers, their exponentials relative to the
// largest so far by way of shared memory into the product with the values; what y and the sums held
// before shrinks when a larger score turns up: Dao et al., "FlashAttention" (2022), and Milakov and
// Gimelshein, "Online normalizer calculation for softmax" (2018). No block writes a score to
// memory. Values of more than 128 numbers are cut into blocks that compute the scores once each.
#include "core/ops/attention.h"

#include "cuda/device/attention_grad.cuh"
#include "cuda/device/fold.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/half_attention.h"
#include "cuda/kernels.h"

namespace tandem::cuda {
namespace {

/// Turns scores into exponentials; `factors` is what the sums so far shrink by.
TANDEM_DEVICE void update(Scores& scores, RowState (&rows)[2], float (&factors)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    RowState& row = rows[half];
    float found = -INFINITY;
#pragma unroll
    for (int i = 0; i < kAttentionRows / kTileColumns; ++i)
      found = fmaxf(found, fmaxf(scores.at[i][2 * half], scores.at[i][2 * half + 1]));
    found = row_largest(found);
    const float before = row.largest;
    row.largest = fmaxf(before, found);
    // where all are -infinity, any finite shift makes them zeros
    const float shift = row.largest == -INFINITY ? 0.0F : row.largest;
    factors[half] = before == -INFINITY ? 0.0F : expf(before - shift);
    float more = 0.0F;
#pragma unroll
    for (int i = 0; i < kAttentionRows / kTileColumns; ++i) {
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        const float power = expf(scores.at[i][e] - shift);
        scores.at[i][e] = power;
        more += power;
      }
    }
    row.sum = row.sum * factors[half] + row_sum(more);
  }
}

struct Output {
  float* y;
  float2* log_sums;            // by query: the largest score, and the logarithm of the sum
  int64_t row_blocks, chunks;  // chunks: of a value's numbers
};

template <Arithmetic kind, int columns>
__global__ void __launch_bounds__(kAttentionThreads) attention_kernel(Attention a, Output out) {
  constexpr int kTiles = columns / kTileColumns;
  float* const queries = dynamic_shared();
  float* const keys = queries + kAttentionRows * kAlongStride;
  float* const powers = keys + kAttentionRows * kAlongStride;
  float* const values = powers + kAttentionRows * kAlongStride;
  const AttentionLayout& p = a.layout;
  const int64_t chunk = blockIdx.x % out.chunks;
  const int64_t block = blockIdx.x / out.chunks % out.row_blocks;
  const int64_t matrix = blockIdx.x / out.chunks / out.row_blocks;
  const int64_t query = block * kAttentionRows;
  const HeadRows q = head_rows(a.q, p.q, matrix, p.heads, p.time, p.depth);
  const HeadRows k = head_rows(a.k, p.k, matrix, p.heads, p.keys, p.depth);
  const HeadRows v = head_rows(a.v, p.v, matrix, p.heads, p.keys, p.value_depth);
  const float* const mask = head_mask(a, matrix);
  const int64_t own = query + static_cast<int64_t>(threadIdx.x / 32) * kTileRows;
  RowState rows[2];
  Accumulators<kTiles> sums;
  sums.clear();
  const int64_t end = a.causal && query + kAttentionRows < p.keys ? query + kAttentionRows : p.keys;
  for (int64_t key = 0; key < end; key += kAttentionRows) {
    __syncthreads();  // the values before are still being read
    load_tile<columns, columns + 8>(values, v, key, chunk * columns, a.whole_quads);
    Scores scores;
    multiply_rows<kind>(scores, queries, keys, q, query, k, key, key > 0, a.whole_quads);
#pragma unroll
    for (int i = 0; i < kAttentionRows / kTileColumns; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        scores.at[i][e] = seen_score(a, mask, scores.at[i][e], own + row_of_element(e),
                                     key + column_of_element(i, e));
      }
    }
    float factors[2];
    update(scores, rows, factors);
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums.at[i][e] *= factors[e / 2];
    }
    store_scores(powers, scores);
    __syncwarp();
    add_rows<kind, columns>(sums, powers, values);
  }
  end_rows(sums, rows, chunk == 0 ? out.log_sums + matrix * p.time : nullptr, own, p.time);
  const HeadRows y = head_rows(out.y, p.y, matrix, p.heads, p.time, p.value_depth);
  store_rows<columns>(sums, 1.0F, y, const_cast<float*>(y.data), query, chunk * columns);
}

template <Arithmetic kind, int columns>
void launch_columns(Launch& launch, const Attention& a) {
  const AttentionLayout& p = a.layout;
  const Output out{launch.out(0), reinterpret_cast<float2*>(launch.out(1)),
                   ceil_div(p.time, kAttentionRows), ceil_div(p.value_depth, columns)};
  launch.kernel_with_shared(attention_kernel<kind, columns>,
                            p.batch * p.heads * out.row_blocks * out.chunks, kAttentionThreads,
                            attention_shared_bytes(columns), a, out);
}

template <Arithmetic kind>
void launch_kind(Launch& launch, const Attention& a) {
  if (a.layout.value_depth <= 64) {
    launch_columns<kind, 64>(launch, a);
  } else {
    launch_columns<kind, 128>(launch, a);
  }
}

bool is_whole(const HeadView& view, int64_t columns) {
  return view.at % 4 == 0 && view.batch % 4 == 0 && view.head % 4 == 0 && view.row % 4 == 0 &&
         columns % 4 == 0;
}

}  // namespace

Attention attention_of(const Launch& launch) {
  const auto tensor = [&](int i) { return launch.has_input(i) ? &launch.input(i) : nullptr; };
  Attention a{};
  a.layout = attention_layout(launch.attributes<ops::AttentionAttributes>().heads, launch.input(0),
                              tensor(1), tensor(2), tensor(3));
  a.q = launch.in(0);
  a.k = a.layout.k_apart ? launch.in(1) : a.q;
  a.v = a.layout.v_apart ? launch.in(2) : a.k;
  a.mask = launch.in(3);
  a.scale = 1.0F / sqrtf(static_cast<float>(a.layout.depth));
  a.causal = launch.attributes<ops::AttentionAttributes>().causal;
  a.whole_quads = is_whole(a.layout.q, a.layout.depth) && is_whole(a.layout.k, a.layout.depth) &&
                  is_whole(a.layout.v, a.layout.value_depth) &&
                  is_whole(a.layout.y, a.layout.value_depth);
  return a;
}

std::vector<AttentionWay> attention_ways(const Launch& launch) {
  if (launch.has_input(3) || !has_attention_warpgroups(attention_of(launch)))
    return {AttentionWay::kWarps};
  return {AttentionWay::kWarps, AttentionWay::kWarpgroups};
}

void launch_attention_by(Launch& launch, AttentionWay way) {
  if (launch.output().numel == 0) return;
  const Attention a = attention_of(launch);
  const bool float16 = launch.attributes<ops::AttentionAttributes>().fp16;
  if (way == AttentionWay::kWarpgroups) {
    launch_attention_warpgroups(launch, a, float16);
  } else {
    launch_half_attention(launch, a, float16);
  }
}

void launch_attention(Launch& launch) {
  if (launch.output().numel == 0) return;
  const Attention a = attention_of(launch);
  const auto& attributes = launch.attributes<ops::AttentionAttributes>();
  switch (attention_arithmetic(launch, attributes.bf16, attributes.fp16)) {
    case Arithmetic::kFloat32:
      return launch_kind<Arithmetic::kFloat32>(launch, a);
    case Arithmetic::kTf32:
      return launch_kind<Arithmetic::kTf32>(launch, a);
    case Arithmetic::kBfloat16:
    case Arithmetic::kFloat16:
      return launch_attention_by(launch, chosen_way(attention_ways(launch), kPreferredAttention));
  }
}

}  // namespace tandem::cuda
