// Blocks of scores and their gradients, which all gradients of attention are made from.
#pragma once

#include "cpu/isa/attention.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Queries and keys of a block of scores at most, and the floats of packed keys. Kernels of tiles
/// multiply so fast that what is done once for a block counts.
inline constexpr int64_t kQueries = 64;
inline constexpr int64_t kGradientKeys = 128, kGradientKeysOfTiles = 256;
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
  // of products of bfloat16
  float* key_rows;  // the block's keys as they are
  float* words;     // of the rows of a panel
  float* queries;   // of a block of scores: its queries or gradients of y
  float* state;     // of the kernels
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

/// The same of `a` rounded to bfloat16, as the products have it: the sum of dS over a row is zero
/// then but for the rounding of sums.
TANDEM_INLINE float dot_rounded(const float* a, const float* b, int64_t n) {
  Lanes sum = spread(0.0F);
  for (int64_t j = 0; j < n; j += kLanes) {
    const int count = static_cast<int>(least(kLanes, n - j));
    const Lanes x = as_lanes(shl<16>(to_bf16(load_lanes(a + j, count))));
    sum = fma(x, load_lanes(b + j, count), sum);
  }
  float lanes[kLanes];
  store(lanes, sum);
  float all = 0.0F;
  for (const float x : lanes) all += x;
  return all;
}

/// p = exp((p - saved[0]) * scale - saved[1]) and ds = p * (ds - delta) * factor, over `n` scores.
/// `saved`: the largest score of the row and the logarithm of its sum, as attention left them.
TANDEM_INLINE void score_gradients(float* p, float* ds, int64_t n, float scale, const float* saved,
                                   float delta, float factor) {
  const Vec s = set1(scale);
  const Vec largest = set1(saved[0]);
  const Vec shift = set1(-saved[1]);
  const auto probability = [&](Vec score) {
    return exp_below(lesser_of(zero(), fma(score - largest, s, shift)));
  };
  const Vec d = set1(delta);
  const Vec f = set1(factor);
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) {
    const Vec e = probability(load(p + j));
    store(p + j, e);
    store(ds + j, e * ((load(ds + j) - d) * f));
  }
  if (j < n) {
    const Vec e = probability(load_partial(p + j, n - j));
    store_partial(p + j, e, n - j);
    store_partial(ds + j, e * ((load_partial(ds + j, n - j) - d) * f), n - j);
  }
}

/// Keys that a row does not see which products of whole panels of keys read, from a whole step of
/// queries on.
TANDEM_INLINE int64_t most_unseen(const AttentionParams& a) {
  const int64_t step = a.bf16 != nullptr ? 2 * (a.bf16->k_step - 1) : 0;
  return panel_rows(a) + step;
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
  const int64_t unseen = least(b.keys, n + most_unseen(a)) - n;
  clear(p + n, unseen);
  clear(ds + n, unseen);
  if (n == 0) return;
  float scale = a.scale;
  if (h.mask != nullptr) {
    const float* mask = h.mask + row * a.mask_strides[2] + b.key * a.mask_strides[3];
    add_mask(p, mask, a.mask_strides[3], n, scale);
    scale = 1.0F;
  }
  const float* dy = h.dy.data + row * h.dy.stride;
  const float* y = h.y.data + row * h.y.stride;
  const float delta =
      a.bf16 != nullptr ? dot_rounded(dy, y, a.value_depth) : dot(dy, y, a.value_depth);
  score_gradients(p, ds, n, scale, h.log_sums + 2 * row, delta, h.factor);
}

/// Probabilities and dS of a block, by panels of queries.
[[maybe_unused]] static void grade_block(const AttentionParams& a, const GradientHead& h,
                                         const ScoreBlock& b) {
  const int64_t width = score_row(a);
  const Panels panels = panels_of(a, b.rows);
  for (int64_t i = 0; i < panels.parts.count; ++i) {
    const int64_t begin = panel_start(panels, i);
    const int64_t rows = panel_start(panels, i + 1) - begin;
    const int64_t row = b.row + begin;
    const int64_t seen = visible(a, row + rows - 1, b.key, b.key + b.keys);
    if (seen > 0) {
      multiply_keys(a, rows_from(h.q, row), rows, a.depth, h.keys, b.keys, seen, h.words, h.state,
                    h.p + begin * width);
      multiply_keys(a, rows_from(h.dy, row), rows, a.value_depth, h.values, b.keys, seen, h.words,
                    h.state, h.ds + begin * width);
    }
    for (int64_t r = begin; r < begin + rows; ++r) grade_row(a, h, b, r);
  }
}

/// Packs keys and values of a block and calls visit(block) for blocks of the queries [row, end)
/// that see some of it, in rising order.
template <typename Visit>
TANDEM_INLINE void each_block(const AttentionParams& a, const GradientHead& h, int64_t row,
                              int64_t end, int64_t key, int64_t keys, Visit visit) {
  pack_keys(a, rows_from(h.k, key), keys, a.depth, h.keys);
  pack_keys(a, rows_from(h.v, key), keys, a.value_depth, h.values);
  if (a.bf16 != nullptr && h.wants_q)
    round_panels(*a.bf16, rows_from(h.k, key), keys, a.depth, h.key_rows);
  const int64_t first = a.causal ? most(row, key) : row;
  if (first >= end) return;
  const GemmParts blocks = cut(end - first, ceil_div(end - first, kQueries));
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int64_t begin = part_start(blocks, i);
    visit(ScoreBlock{first + begin, part_start(blocks, i + 1) - begin, key, keys});
  }
}

/// Words of scratch for each of what a GradientHead points to.
struct GradientScratch {
  int64_t keys, values, scores, key_rows, words, queries, state;
};

[[maybe_unused]] static GradientScratch gradient_scratch(const AttentionParams& a) {
  const int64_t block = least(a.key_block, a.keys);
  const int64_t keys = round_up(block, kLanes);
  const int64_t rows = least(kQueries, a.time);
  GradientScratch s = {};
  s.keys = keys * words_in(a, a.depth);
  s.values = keys * words_in(a, a.value_depth);
  s.scores = rows * score_row(a);
  if (a.bf16 == nullptr) return s;
  const int64_t depth = most(a.depth, a.value_depth);
  s.key_rows = words_in(a, block) * round_up(a.depth, kLanes);
  s.words = panel_rows(a) * word_row(most(most(depth, block), rows));
  s.queries = words_in(a, rows) * round_up(depth, kLanes);
  s.state = state_words(a);
  return s;
}

TANDEM_INLINE int64_t gradient_scratch_bytes(const AttentionParams& a) {
  const GradientScratch s = gradient_scratch(a);
  return 4 * (s.keys + s.values + 2 * s.scores + s.key_rows + s.words + s.queries + s.state);
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
  h.log_sums = static_cast<const float*>(operands[a.log_sums]) + matrix * a.time * 2;
  h.factor = a.scale;
  const GradientScratch sizes = gradient_scratch(a);
  h.keys = static_cast<float*>(scratch);
  h.values = h.keys + sizes.keys;
  h.p = h.values + sizes.values;
  h.ds = h.p + sizes.scores;
  h.key_rows = h.ds + sizes.scores;
  h.words = h.key_rows + sizes.key_rows;
  h.queries = h.words + sizes.words;
  h.state = h.queries + sizes.queries;
  return h;
}

/// The step that computes the gradient of the mask.
void emit_mask_gradient(AttentionParams params, double cost, Emitter& emit);

}  // namespace tandem::cpu::TANDEM_ISA_NS
