// What the gradients of attention in 16 bits know of queries: how the softmax ended, and the row
// sum.
#pragma once

#include "cuda/device/attention_grad.cuh"
#include "cuda/device/half_tiles.cuh"

namespace tandem::cuda {

/// What forward left of a query, and the row sum: probabilities are
/// 2^((score - largest) log2(e) - log_sum).
struct QueryState {
  float largest = 0.0F;
  float log_sum = INFINITY;  // to base 2; of no query: probabilities are zero
  float delta = 0.0F;

  TANDEM_DEVICE void fetch(const GradientHead& h, int64_t query) {
    *this = QueryState{};
    if (query >= h.q.rows) return;
    const float2 saved = h.log_sums[query];
    largest = saved.x;
    log_sum = saved.y * kLog2OfE;
    delta = h.delta[query];
  }
};

/// That of 64 queries, in shared memory.
struct QueryStates {
  float largest[kAttentionRows], log_sum[kAttentionRows], delta[kAttentionRows];

  TANDEM_DEVICE void put(int i, const QueryState& state) {
    largest[i] = state.largest;
    log_sum[i] = state.log_sum;
    delta[i] = state.delta;
  }
  TANDEM_DEVICE QueryState at(int i) const { return {largest[i], log_sum[i], delta[i]}; }
};

}  // namespace tandem::cuda
