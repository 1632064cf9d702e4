// attentionGrad: gradients of q, k, v and the mask. Probabilities are computed again from the
// scores and the saved log-sum-exp of each row, in two parts: Dao et al., "FlashAttention" (2022),
// algorithm 4.
// With P the probabilities of a block and dS = P * (dy v^T - rowsum(dy * y)):
//   dv += P^T dy    dk += scale * dS^T q    dq += scale * dS k    dmask += dS
// Where there are heads enough, a tile is a head. Where they are few, blocks of queries are tiles
// for dq and blocks of keys for dk and dv, which computes the scores twice. Each place of a
// gradient is one tile's, which adds to it in rising order.
#include "cpu/isa/attention_blocks.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kEnoughHeads = 16;
constexpr int64_t kTiles = 32;

/// dq of the block's queries = or += dS k.
void add_to_queries(const AttentionParams& a, const GradientHead& h, const ScoreBlock& b) {
  const int64_t width = score_row(a);
  const Panels panels = panels_of(a, b.rows);
  for (int64_t i = 0; i < panels.parts.count; ++i) {
    const int64_t begin = panel_start(panels, i);
    const int64_t rows = panel_start(panels, i + 1) - begin;
    const int64_t row = b.row + begin;
    const int64_t seen = visible(a, row + rows - 1, b.key, b.key + b.keys);
    if (seen == 0) continue;
    float* dq = h.dq.data + row * h.dq.stride;
    const float* ds = h.ds + begin * width;
    if (a.bf16 != nullptr) {
      round_rows(*a.bf16, {h.ds + begin * width, width}, rows, seen, h.words);
      multiply_packed({h.words, word_row(seen), 1, rows, words_in(a, seen), h.key_rows, dq,
                       h.dq.stride, b.key > 0, a.bf16, h.state},
                      {a.depth, words_in(a, b.keys)}, a.depth, false);
    } else {
      multiply_rows(
          {ds, width, 1, rows, seen, h.k.data + b.key * h.k.stride, dq, h.dq.stride, b.key > 0},
          h.k.stride, a.depth);
    }
  }
}

void clear_rows(const Rows& rows, int64_t first, int64_t count, int64_t n) {
  for (int64_t i = first; i < first + count; ++i) clear(rows.data + i * rows.stride, n);
}

/// A panel of keys of add_to_keys: scores [b.rows, count] of them, which the queries from `skipped`
/// on see.
void add_to_panel(const AttentionParams& a, const GradientHead& h, const ScoreBlock& b,
                  const float* scores, int64_t count, int64_t skipped, int64_t depth, float* out,
                  int64_t out_row, bool accumulate) {
  const int64_t width = score_row(a);
  const int64_t k = words_in(a, b.rows);
  const int64_t first = skipped / 2 / a.bf16->k_step * a.bf16->k_step;
  PanelProduct product = {scores + first * width,
                          1,
                          width,
                          count,
                          k - first,
                          h.queries,
                          out,
                          out_row,
                          accumulate,
                          a.bf16,
                          h.state};
  if (!a.bf16->a_panels) {
    round_columns(*a.bf16, {const_cast<float*>(scores) + 2 * first * width, width}, count,
                  b.rows - 2 * first, h.words);
    product.a = h.words;
    product.a_row = word_row(b.rows - 2 * first);
    product.a_k = 1;
  }
  multiply_packed(product, {depth, k, first}, depth, false);
}

/// A gradient of the block's keys = or += scores^T x, x the block's queries or gradients of y.
/// bfloat16 of kernels that read any panels: the scores become pairs of rows where they are.
void add_to_keys(const AttentionParams& a, const GradientHead& h, const ScoreBlock& b,
                 float* scores, const Rows& x, int64_t depth, const Rows& gradient,
                 bool accumulate) {
  const int64_t width = score_row(a);
  if (a.bf16 != nullptr) {
    if (a.bf16->a_panels)
      a.bf16->rounding->across_rows(scores, width, b.rows, words_in(a, b.rows),
                                    reinterpret_cast<char*>(scores), {1, b.keys, width * 4, 0});
    round_panels(*a.bf16, rows_from(x, b.row), b.rows, depth, h.queries);
  }
  const Panels panels = panels_of(a, b.keys);
  for (int64_t i = 0; i < panels.parts.count; ++i) {
    const int64_t begin = panel_start(panels, i);
    const int64_t count = panel_start(panels, i + 1) - begin;
    const int64_t key = b.key + begin;
    // No query before the panel's first key sees any of it.
    const int64_t skipped = a.causal ? most(0, key - b.row) : 0;
    if (skipped >= b.rows) {
      if (!accumulate) clear_rows(gradient, key, count, depth);
      continue;
    }
    float* out = gradient.data + key * gradient.stride;
    if (a.bf16 != nullptr) {
      add_to_panel(a, h, b, scores + begin, count, skipped, depth, out, gradient.stride,
                   accumulate);
      continue;
    }
    multiply_rows({scores + skipped * width + begin, 1, width, count, b.rows - skipped,
                   x.data + (b.row + skipped) * x.stride, out, gradient.stride, accumulate},
                  x.stride, depth);
  }
}

/// dk and dv of the block's keys = or += the products of dS and P, transposed, with q and dy.
void add_to_keys(const AttentionParams& a, const GradientHead& h, const ScoreBlock& b,
                 bool accumulate) {
  add_to_keys(a, h, b, h.p, h.dy, a.value_depth, h.dv, accumulate);
  add_to_keys(a, h, b, h.ds, h.q, a.depth, h.dk, accumulate);
}

/// The gradients that a tile wants, from the queries [row, end) and the keys [key, key_end).
void differentiate(const AttentionParams& a, const GradientHead& h, int64_t row, int64_t end,
                   int64_t key, int64_t key_end) {
  const GemmParts blocks = cut(key_end - key, ceil_div(key_end - key, a.key_block));
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int64_t begin = key + part_start(blocks, i);
    const int64_t keys = key + part_start(blocks, i + 1) - begin;
    bool started = false;
    each_block(a, h, row, end, begin, keys, [&](const ScoreBlock& block) {
      grade_block(a, h, block);
      if (h.wants_q) add_to_queries(a, h, block);
      if (h.wants_kv) add_to_keys(a, h, block, started);
      started = true;
    });
    if (h.wants_kv && !started) {
      clear_rows(h.dk, begin, keys, a.depth);
      clear_rows(h.dv, begin, keys, a.value_depth);
    }
  }
}

/// All gradients of a head.
void head_tile(const void* params, void* const* operands, int64_t tile,
               const TileContext& context) {
  const auto& a = params_of<AttentionParams>(params);
  GradientHead h = gradient_head(a, operands, tile, context.scratch);
  h.wants_q = h.wants_kv = true;
  const PanelKernels kernels(a.bf16, h.state);
  differentiate(a, h, 0, a.time, 0, a.keys);
}

/// dq of a block of queries.
void query_tile(const void* params, void* const* operands, int64_t tile,
                const TileContext& context) {
  const auto& a = params_of<AttentionParams>(params);
  GradientHead h = gradient_head(a, operands, tile / a.row_blocks.count, context.scratch);
  h.wants_q = true;
  const PanelKernels kernels(a.bf16, h.state);
  const int64_t block = tile % a.row_blocks.count;
  const int64_t end = part_start(a.row_blocks, block + 1);
  differentiate(a, h, part_start(a.row_blocks, block), end, 0,
                a.causal ? least(a.keys, end) : a.keys);
}

/// dk and dv of a block of keys.
void key_tile(const void* params, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& a = params_of<AttentionParams>(params);
  GradientHead h = gradient_head(a, operands, tile / a.key_blocks.count, context.scratch);
  h.wants_kv = true;
  const PanelKernels kernels(a.bf16, h.state);
  const int64_t block = tile % a.key_blocks.count;
  differentiate(a, h, 0, a.time, part_start(a.key_blocks, block),
                part_start(a.key_blocks, block + 1));
}

}  // namespace

void launch_attentionGrad(const NodeView& node, Emitter& emit) {
  AttentionParams a = attention_params(node);
  a.y.operand = 4;
  a.log_sums = 5;
  a.dy = 6;
  int32_t next = node.input_count;
  a.dq = next++;
  a.dk = node.inputs[1] != nullptr ? next++ : a.dq;
  a.dv = node.inputs[2] != nullptr ? next++ : a.dk;
  const bool tiles = a.bf16 != nullptr && a.bf16->row_unit > 1;
  a.key_block = least(tiles ? kGradientKeysOfTiles : kGradientKeys,
                      most(2 * kPanelColumns, kGradientFloats / a.depth));
  const int64_t matrices = a.batch * a.heads;
  // Rows of heads that do not exist may be of any length.
  if (matrices > 0) emit.scratch(gradient_scratch_bytes(a));
  const double scores =
      static_cast<double>(matrices) * static_cast<double>(a.time) * static_cast<double>(a.keys);
  if (matrices >= kEnoughHeads) {
    emit_step(emit, head_tile, a, matrices, 200.0 + scores * score_cost(a, 5));
  } else if (matrices > 0) {
    const int64_t wanted = ceil_div(kTiles, matrices);
    a.row_blocks = cut(a.time, least(wanted, ceil_div(a.time, kQueries)));
    a.key_blocks = cut(a.keys, least(wanted, ceil_div(a.keys, kQueries)));
    emit_step(emit, query_tile, a, matrices * a.row_blocks.count,
              200.0 + scores * score_cost(a, 3));
    emit_step(emit, key_tile, a, matrices * a.key_blocks.count, 200.0 + scores * score_cost(a, 4));
  }
  if (attributes_of<ops::AttentionAttributes>(node).mask_gradient) {
    a.dmask = next;
    emit_mask_gradient(a, 200.0 + scores * score_cost(a, 2), emit);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
