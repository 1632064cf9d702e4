// What attention and its gradient share: where the operands of a head lie, and the rows of scores
// that one panel of queries has with a block of keys.
#pragma once

#include "core/ops/attention.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/math.h"
#include "cpu/isa/register_product.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Queries, keys, values or results of all heads within one operand; strides count floats, and the
/// numbers of a head are neighbours.
struct HeadView {
  int32_t operand;
  int64_t at, batch, head, row;
};

struct AttentionParams {
  int64_t batch, heads, time, keys, depth, value_depth;
  HeadView q, k, v, y;
  int32_t mask, log_sums, dy;  // operands; -1 for no mask
  int32_t dq, dk, dv, dmask;   // operands; those side by side are one and the same
  int64_t mask_strides[4];     // 0 where the mask is broadcast
  float scale;
  bool causal;
  const GemmKernels* bf16;  // for products of rounded operands; null: of floats
  int64_t key_block;        // keys whose scores are in scratch at a time
  GemmParts row_blocks;     // of a head's queries, a tile each
  GemmParts key_blocks;     // of a head's keys, a tile each: where dk and dv are tiles apart
};

/// Floats of scratch in one row of scores: the block's, and a vector so that no two rows lie a
/// multiple of 4 KiB apart.
TANDEM_INLINE int64_t score_row(const AttentionParams& p) {
  return round_up(least(p.key_block, p.keys), kLanes) + 16;
}

/// Words of `n` numbers of an operand that products sum over.
TANDEM_INLINE int64_t words_in(const AttentionParams& p, int64_t n) {
  return p.bf16 != nullptr ? words_of(*p.bf16, n) : n;
}

/// Words of what kernels keep from piece to piece.
TANDEM_INLINE int64_t state_words(const AttentionParams& p) {
  return p.bf16 != nullptr ? round_up(p.bf16->state_bytes, 64) / 4 : 0;
}

/// Rows of a panel at most.
TANDEM_INLINE int64_t panel_rows(const AttentionParams& p) {
  return p.bf16 != nullptr ? p.bf16->panel_rows : kPanelRows;
}

/// Rows as panels of about the same height, of whole tiles where the kernels have some.
struct Panels {
  GemmParts parts;
  int64_t unit, rows;
};

TANDEM_INLINE Panels panels_of(const AttentionParams& p, int64_t rows) {
  const int64_t unit = p.bf16 != nullptr ? p.bf16->row_unit : 1;
  return {cut(ceil_div(rows, unit), ceil_div(rows, panel_rows(p))), unit, rows};
}

TANDEM_INLINE int64_t panel_start(const Panels& panels, int64_t i) {
  return least(part_start(panels.parts, i) * panels.unit, panels.rows);
}

TANDEM_INLINE float* at(const HeadView& view, void* const* operands, int64_t batch, int64_t head) {
  return static_cast<float*>(operands[view.operand]) + view.at + batch * view.batch +
         head * view.head;
}

TANDEM_INLINE HeadView moved(const HeadView& view, int32_t operand) {
  HeadView other = view;
  other.operand = operand;
  return other;
}

/// A head of one operand in one place of the batch.
TANDEM_INLINE Rows rows_of(const HeadView& view, void* const* operands, int64_t batch,
                           int64_t head) {
  return {at(view, operands, batch, head), view.row};
}

/// The mask of one head, or null.
TANDEM_INLINE const float* mask_of(const AttentionParams& p, void* const* operands, int64_t batch,
                                   int64_t head) {
  if (p.mask < 0) return nullptr;
  return static_cast<const float*>(operands[p.mask]) + batch * p.mask_strides[0] +
         head * p.mask_strides[1];
}

/// Keys of the block [first, last) that query `row` sees.
TANDEM_INLINE int64_t visible(const AttentionParams& p, int64_t row, int64_t first, int64_t last) {
  const int64_t end = p.causal ? least(last, row + 1) : last;
  return most(end - first, 0);
}

/// exp(x) for x <= 0 and NaN.
TANDEM_INLINE Vec exp_below(Vec x) { return exp_in_range(greater_of(c(-105), x)); }

/// score = score * scale + mask over `n` scores of a row, whose mask has `stride` 0 or 1.
TANDEM_INLINE void add_mask(float* score, const float* mask, int64_t stride, int64_t n,
                            float scale) {
  const Vec s = set1(scale);
  const Vec constant = set1(mask[0]);
  for (int64_t j = 0; j < n; j += kWidth) {
    const Vec m = stride == 0 ? constant : load_partial(mask + j, n - j);
    store_partial(score + j, fma(load_partial(score + j, n - j), s, m), n - j);
  }
}

/// Rows from `i` on.
TANDEM_INLINE Rows rows_from(const Rows& rows, int64_t i) {
  return {rows.data + i * rows.stride, rows.stride};
}

/// [depth, keys] from rows of keys or values, packed in panels.
TANDEM_INLINE void pack_keys(const AttentionParams& p, const Rows& rows, int64_t keys,
                             int64_t depth, float* packed) {
  if (p.bf16 != nullptr) {
    round_transposed_panels(*p.bf16, rows, depth, keys, packed);
  } else {
    pack_b_panels(rows.data, 1, rows.stride, keys, depth, 0, ceil_div(keys, kPanelColumns), 0,
                  depth, packed);
  }
}

/// scores [rows, seen] of a panel of rows with packed keys or values, of which there are `keys`.
/// `words`: room for the panel's own words. `state`: of its kernels.
TANDEM_INLINE void multiply_keys(const AttentionParams& p, const Rows& panel, int64_t rows,
                                 int64_t depth, const float* packed, int64_t keys, int64_t seen,
                                 float* words, void* state, float* scores) {
  if (p.bf16 != nullptr) {
    round_rows(*p.bf16, panel, rows, depth, words);
    const int64_t k = words_in(p, depth);
    multiply_packed(
        {words, word_row(depth), 1, rows, k, packed, scores, score_row(p), false, p.bf16, state},
        {keys, k}, seen);
  } else {
    multiply_packed({panel.data, panel.stride, 1, rows, depth, packed, scores, score_row(p), false},
                    {keys, depth}, seen);
  }
}

TANDEM_INLINE void clear(float* p, int64_t n) {
  for (int64_t j = 0; j < n; j += kWidth) store_partial(p + j, zero(), n - j);
}

/// Sizes, views and mask of `node`, whose first four inputs are q, k, v and mask.
AttentionParams attention_params(const NodeView& node);

/// Nanoseconds of one score on one core, given the products that it takes part in.
double score_cost(const AttentionParams& params, int products);

}  // namespace tandem::cpu::TANDEM_ISA_NS
