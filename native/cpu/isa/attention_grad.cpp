// attentionGrad: gradients of q, k, v and the mask. Probabilities are computed again from the
// scores and the saved log-sum-exp of each row: Dao et al., "FlashAttention" (2022), algorithm 4.
// With P the probabilities of a block and dS = P * (dy v^T - rowsum(dy * y)):
//   dv += P^T dy    dk += scale * dS^T q    dq += scale * dS k    dmask += dS
// Where there are heads enough, a tile is a head. Where they are few, blocks of queries are tiles
// for dq and blocks of keys for dk and dv, which computes the scores twice. Each place of a
// gradient is one tile's, which adds to it in rising order.
#include "cpu/isa/attention.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int64_t kEnoughHeads = 16;
constexpr int64_t kTiles = 32;
/// Queries and keys of a block of scores at most, and the floats of packed keys.
constexpr int64_t kQueries = 64;
constexpr int64_t kMostKeys = 128;
constexpr int64_t kPackedFloats = 16384;

/// One tile: the operands of its head, what it computes, and its scratch.
struct Head {
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
struct Block {
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
void grade_row(const AttentionParams& a, const Head& h, const Block& b, int64_t i) {
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
void grade_block(const AttentionParams& a, const Head& h, const Block& b) {
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

/// dq of the block's queries = or += dS k.
void add_to_queries(const AttentionParams& a, const Head& h, const Block& b) {
  const int64_t width = score_row(a);
  const GemmParts panels = cut(b.rows, ceil_div(b.rows, kPanelRows));
  for (int64_t i = 0; i < panels.count; ++i) {
    const int64_t begin = part_start(panels, i);
    const int64_t rows = part_start(panels, i + 1) - begin;
    const int64_t row = b.row + begin;
    const int64_t seen = visible(a, row + rows - 1, b.key, b.key + b.keys);
    if (seen == 0) continue;
    multiply_rows({h.ds + begin * width, width, 1, rows, seen, h.k.data + b.key * h.k.stride,
                   h.dq.data + row * h.dq.stride, h.dq.stride, b.key > 0},
                  h.k.stride, a.depth);
  }
}

void clear_rows(const Rows& rows, int64_t first, int64_t count, int64_t n) {
  for (int64_t i = first; i < first + count; ++i) clear(rows.data + i * rows.stride, n);
}

/// dk and dv of the block's keys = or += the products of dS and P, transposed, with q and dy.
void add_to_keys(const AttentionParams& a, const Head& h, const Block& b, bool accumulate) {
  const int64_t width = score_row(a);
  const GemmParts panels = cut(b.keys, ceil_div(b.keys, kPanelRows));
  for (int64_t i = 0; i < panels.count; ++i) {
    const int64_t begin = part_start(panels, i);
    const int64_t count = part_start(panels, i + 1) - begin;
    const int64_t key = b.key + begin;
    // No query before the panel's first key sees any of it.
    const int64_t skipped = a.causal ? most(0, key - b.row) : 0;
    const int64_t k = b.rows - skipped;
    if (k <= 0) {
      if (accumulate) continue;
      clear_rows(h.dk, key, count, a.depth);
      clear_rows(h.dv, key, count, a.value_depth);
      continue;
    }
    const int64_t row = b.row + skipped;
    const int64_t from = skipped * width + begin;
    multiply_rows({h.p + from, 1, width, count, k, h.dy.data + row * h.dy.stride,
                   h.dv.data + key * h.dv.stride, h.dv.stride, accumulate},
                  h.dy.stride, a.value_depth);
    multiply_rows({h.ds + from, 1, width, count, k, h.q.data + row * h.q.stride,
                   h.dk.data + key * h.dk.stride, h.dk.stride, accumulate},
                  h.q.stride, a.depth);
  }
}

/// Packs keys and values of a block and calls visit(block) for blocks of the queries [row, end)
/// that see some of it, in rising order.
template <typename Visit>
TANDEM_INLINE void each_block(const AttentionParams& a, const Head& h, int64_t row, int64_t end,
                              int64_t key, int64_t keys, Visit visit) {
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
    visit(Block{first + begin, part_start(blocks, i + 1) - begin, key, keys});
  }
}

/// The gradients that a tile wants, from the queries [row, end) and the keys [key, key_end).
void differentiate(const AttentionParams& a, const Head& h, int64_t row, int64_t end, int64_t key,
                   int64_t key_end) {
  const GemmParts blocks = cut(key_end - key, ceil_div(key_end - key, a.key_block));
  for (int64_t i = 0; i < blocks.count; ++i) {
    const int64_t begin = key + part_start(blocks, i);
    const int64_t keys = key + part_start(blocks, i + 1) - begin;
    bool started = false;
    each_block(a, h, row, end, begin, keys, [&](const Block& block) {
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

Head head_of(const AttentionParams& a, void* const* operands, int64_t matrix, void* scratch) {
  const int64_t batch = matrix / a.heads;
  const int64_t head = matrix % a.heads;
  const auto rows = [&](const HeadView& view) { return rows_of(view, operands, batch, head); };
  Head h{};
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

int64_t scratch_bytes(const AttentionParams& a) {
  const int64_t keys = round_up(least(a.key_block, a.keys), kLanes);
  return 4 * (keys * (a.depth + a.value_depth) + 2 * least(kQueries, a.time) * score_row(a));
}

/// All gradients of a head.
void head_tile(const void* params, void* const* operands, int64_t tile,
               const TileContext& context) {
  const auto& a = params_of<AttentionParams>(params);
  Head h = head_of(a, operands, tile, context.scratch);
  h.wants_q = h.wants_kv = true;
  differentiate(a, h, 0, a.time, 0, a.keys);
}

/// dq of a block of queries.
void query_tile(const void* params, void* const* operands, int64_t tile,
                const TileContext& context) {
  const auto& a = params_of<AttentionParams>(params);
  Head h = head_of(a, operands, tile / a.row_blocks.count, context.scratch);
  h.wants_q = true;
  const int64_t block = tile % a.row_blocks.count;
  const int64_t end = part_start(a.row_blocks, block + 1);
  differentiate(a, h, part_start(a.row_blocks, block), end, 0,
                a.causal ? least(a.keys, end) : a.keys);
}

/// dk and dv of a block of keys.
void key_tile(const void* params, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& a = params_of<AttentionParams>(params);
  Head h = head_of(a, operands, tile / a.key_blocks.count, context.scratch);
  h.wants_kv = true;
  const int64_t block = tile % a.key_blocks.count;
  differentiate(a, h, 0, a.time, part_start(a.key_blocks, block),
                part_start(a.key_blocks, block + 1));
}

// ---- the gradient of the mask
// --------------------------------------------------------------------

/// dmask row += dS row, or its sum where the mask has one number for all keys.
void add_to_mask(const AttentionParams& a, const Head& h, const Block& b, float* dmask) {
  const int64_t width = score_row(a);
  for (int64_t i = 0; i < b.rows; ++i) {
    const int64_t n = visible(a, b.row + i, b.key, b.key + b.keys);
    const float* ds = h.ds + i * width;
    float* out = dmask + (b.row + i) * a.mask_strides[2] + b.key * a.mask_strides[3];
    if (a.mask_strides[3] == 0) {
      Vec sum = zero();
      for (int64_t j = 0; j < n; j += kWidth) sum += load_partial(ds + j, n - j);
      out[0] += reduce_add(sum);
      continue;
    }
    for (int64_t j = 0; j < n; j += kWidth)
      store_partial(out + j, load_partial(out + j, n - j) + load_partial(ds + j, n - j), n - j);
  }
}

/// A part of the mask: what it adds to in one place of its own batch and heads, for the queries of
/// a block, or for all of them where it has one row.
void mask_tile(const void* params, void* const* operands, int64_t tile,
               const TileContext& context) {
  const auto& a = params_of<AttentionParams>(params);
  const int64_t block = tile % a.row_blocks.count;
  const int64_t row = part_start(a.row_blocks, block);
  const int64_t end = part_start(a.row_blocks, block + 1);
  const int64_t matrix = tile / a.row_blocks.count;  // of the mask
  const int64_t mask_heads = a.mask_strides[1] != 0 ? a.heads : 1;
  const int64_t own_batch = matrix / mask_heads;
  const int64_t own_head = matrix % mask_heads;
  float* dmask = static_cast<float*>(operands[a.dmask]) + own_batch * a.mask_strides[0] +
                 own_head * a.mask_strides[1];
  const int64_t columns = a.mask_strides[3] != 0 ? a.keys : 1;
  if (a.mask_strides[2] != 0) {
    clear(dmask + row * columns, (end - row) * columns);
  } else {
    clear(dmask, columns);
  }
  const GemmParts blocks = cut(a.keys, ceil_div(a.keys, a.key_block));
  for (int64_t m = 0; m < a.batch * a.heads; ++m) {
    if (a.mask_strides[0] != 0 && m / a.heads != own_batch) continue;
    if (a.mask_strides[1] != 0 && m % a.heads != own_head) continue;
    Head h = head_of(a, operands, m, context.scratch);
    h.factor = 1.0F;
    for (int64_t i = 0; i < blocks.count; ++i) {
      const int64_t key = part_start(blocks, i);
      each_block(a, h, row, end, key, part_start(blocks, i + 1) - key, [&](const Block& part) {
        grade_block(a, h, part);
        add_to_mask(a, h, part, dmask);
      });
    }
  }
}

void emit_mask(AttentionParams a, double cost, Emitter& emit) {
  const int64_t matrices =
      (a.mask_strides[0] != 0 ? a.batch : 1) * (a.mask_strides[1] != 0 ? a.heads : 1);
  const int64_t blocks = least(ceil_div(a.time, kQueries), ceil_div(kTiles, most(1, matrices)));
  a.row_blocks = cut(a.time, a.mask_strides[2] != 0 ? most(1, blocks) : 1);
  emit_step(emit, mask_tile, a, matrices * a.row_blocks.count, cost);
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
  a.key_block = least(kMostKeys, most(2 * kPanelColumns, kPackedFloats / a.depth));
  emit.scratch(scratch_bytes(a));
  const int64_t matrices = a.batch * a.heads;
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
    emit_mask(a, 200.0 + scores * score_cost(a, 2), emit);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
