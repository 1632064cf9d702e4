// Blocks of scores and their gradients, which all gradients of attention are made from.
#pragma once

#include "cpu/isa/attention.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Queries and keys of a block of scores at most, and the floats of packed keys.
inline constexpr int64_t kQueries = 64;
inline constexpr int64_t kGradientKeys = 128;
inline constexpr int64_t kGradientFloats = 16384;

/// One tile: the operands of its head, what it computes, and its scratch.
struct GradientHead {
  Rows q, k, v, y, dy, dq, dk, dv;
  const float* mask;
  const float* log_sums;
  bool wants_q, wants_kv;
  float factor;  // of dS
  float* keys;   // the block's keys and values, transposed
  float* values;
  float* p;   // [kQueries][score_row] probabilities
  float* ds;  // the same: first dy v^T, then dS
};

/// A block of scores.
struct ScoreBlock {
  int64_t row, rows, key, keys;
};

TANDEM_INLINE float dot(const float* a, const float* b, int64_t n) {
  Vec sum = zero();
  for (int64_t j = 0; j < n; j += kWidth)
    sum = fma(load_partial(a + j, n - j), load_partial(b + j, n - j), sum);
  return reduce_add(sum);
}

/// p = exp(p * scale - log_sum) and ds = p * (ds - delta) * factor, over `n` scores.
TANDEM_INLINE void score_gradients(float* p, float* ds, int64_t n, float scale, float log_sum,
                                   float delta, float factor) {
  const Vec s = set1(scale);
  const Vec shift = set1(-log_sum);
  const Vec d = set1(delta);
  const Vec f = set1(factor);
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) {
    const Vec e = exp_(fma(load(p + j), s, shift));
    store(p + j, e);
    store(ds + j, e * ((load(ds + j) - d) * f));
  }
  if (j < n) {
    const Vec e = exp_(fma(load_partial(p + j, n - j), s, shift));
    store_partial(p + j, e, n - j);
    store_partial(ds + j, e * ((load_partial(ds + j, n - j) - d) * f), n - j);
  }
}

/// One row of a block: p from scores to probabilities, ds from dy v^T to dS; both zero for some
/// keys that the row does not see, as far as products of whole panels read them.
[[maybe_unused]] static void grade_row(const AttentionParams& a, const GradientHead& h,
                                       const ScoreBlock& b, int64_t i) {
  const int64_t width = score_row(a);
  float* p = h.p + i * width;
  float* ds = h.ds + i * width;
  const int64_t row = b.row + i;
  const int64_t n = visible(a, row, b.key, b.key + b.keys);
  const int64_t unseen = least(b.keys, n + kPanelRows) - n;
  clear(p + n, unseen);
  clear(ds + n, unseen);
  if (n == 0) return;
  float scale = a.scale;
  if (h.mask != nullptr) {
    const float* mask = h.mask + row * a.mask_strides[2] + b.key * a.mask_strides[3];
    add_mask(p, mask, a.mask_strides[3], n, scale);
    scale = 1.0F;
  }
  const float delta =
      dot(h.dy.data + row * h.dy.stride, h.y.data + row * h.y.stride, a.value_depth);
  score_gradients(p, ds, n, scale, h.log_sums[row], delta, h.factor);
}

/// Probabilities and dS of a block, by panels of queries.
[[maybe_unused]] static void grade_block(const AttentionParams& a, const GradientHead& h,
                                         const ScoreBlock& b) {
  const int64_t width = score_row(a);
  const GemmParts panels = cut(b.rows, ceil_div(b.rows, kPanelRows));
  for (int64_t i = 0; i < panels.count; ++i) {
    const int64_t begin = part_start(panels, i);
    const int64_t rows = part_start(panels, i + 1) - begin;
    const int64_t row = b.row + begin;
    const int64_t seen = visible(a, row + rows - 1, b.key, b.key + b.keys);
    if (seen > 0) {
      multiply_packed({h.q.data + row * h.q.stride, h.q.stride, 1, rows, a.depth, h.keys,
                       h.p + begin * width, width, false},
                      b.keys, seen);
      multiply_packed({h.dy.data + row * h.dy.stride, h.dy.stride, 1, rows, a.value_depth, h.values,
                       h.ds + begin * width, width, false},
                      b.keys, seen);
    }
    for (int64_t r = begin; r < begin + rows; ++r) grade_row(a, h, b, r);
  }
}

/// Packs keys and values of a block and calls visit(block) for blocks of the queries [row, end)
/// that see some of it, in rising order.
template <typename Visit>
TANDEM_INLINE void each_block(const AttentionParams& a, const GradientHead& h, int64_t row,
                              int64_t end, int64_t key, int64_t keys, Visit visit) {
  const int64_t panels = ceil_div(keys, kPanelColumns);
  pack_b_panels(h.k.data + key * h.k.stride, 1, h.k.stride, keys, a.depth, 0, panels, 0, a.depth,
                h.keys);
  pack_b_panels(h.v.data + key * h.v.stride, 1, h.v.stride, keys, a.value_depth, 0, panels, 0,
                a.value_depth, h.values);
  const int64_t first = a.causal ? most(row, key) : row;
  if (first >= end) return;
  const GemmParts blocks = cut(end - first, ceil_div(end - first, kQueries));
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int64_t begin = part_start(blocks, i);
    visit(ScoreBlock{first + begin, part_start(blocks, i + 1) - begin, key, keys});
  }
}

[[maybe_unused]] static GradientHead gradient_head(const AttentionParams& a, void* const* operands,
                                                   int64_t matrix, void* scratch) {
  const int64_t batch = matrix / a.heads;
  const int64_t head = matrix % a.heads;
  const auto rows = [&](const HeadView& view) { return rows_of(view, operands, batch, head); };
  GradientHead h{};
  h.q = rows(a.q);
  h.k = rows(a.k);
  h.v = rows(a.v);
  h.y = rows(a.y);
  h.dy = rows(moved(a.y, a.dy));
  h.dq = rows(moved(a.q, a.dq));
  h.dk = rows(moved(a.k, a.dk));
  h.dv = rows(moved(a.v, a.dv));
  h.mask = mask_of(a, operands, batch, head);
  h.log_sums = static_cast<const float*>(operands[a.log_sums]) + matrix * a.time;
  h.factor = a.scale;
  const int64_t keys = round_up(least(a.key_block, a.keys), kLanes);
  h.keys = static_cast<float*>(scratch);
  h.values = h.keys + keys * a.depth;
  h.p = h.values + keys * a.value_depth;
  h.ds = h.p + least(kQueries, a.time) * score_row(a);
  return h;
}

TANDEM_INLINE int64_t gradient_scratch(const AttentionParams& a) {
  const int64_t keys = round_up(least(a.key_block, a.keys), kLanes);
  return 4 * (keys * (a.depth + a.value_depth) + 2 * least(kQueries, a.time) * score_row(a));
}

/// The step that computes the gradient of the mask.
void emit_mask_gradient(AttentionParams params, double cost, Emitter& emit);

}  // namespace tandem::cpu::TANDEM_ISA_NS
