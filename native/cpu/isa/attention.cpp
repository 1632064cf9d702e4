// attention: y = softmax(q k^T * scale + mask) v. A tile is a block of a head's queries. For one
// block of keys after the other it packs them, and each panel of queries takes its scores in
// scratch, their exponentials relative to the largest so far, and adds the product with the values
// to y; what y held before shrinks when a larger score turns up. The last block divides by the
// sums. Blocks are cut by the shapes alone, and keys are summed in rising order.
#include "cpu/isa/attention.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// Tiles that are wanted in all, and the queries that make packing the keys worth while.
constexpr int64_t kTiles = 32;
constexpr int64_t kTileQueries = 64;
/// Floats of keys that are packed at a time, and the scores of a row then at most.
constexpr int64_t kPackedFloats = 16384;
constexpr int64_t kMostKeys = 512;

/// One tile: the operands of its head, and its scratch.
struct Head {
  Rows q, k, v, y;
  const float* mask;
  float* log_sums;  // by query: the largest score, and the sum's logarithm
  float* packed;    // the block's keys, transposed
  float* values;    // the block's values, rounded
  float* words;     // the panel's queries, then its exponentials, rounded
  float* state;     // of the kernels
  float* scores;    // [panel_rows][score_row]
  float* largest;   // by query of the tile: the largest score so far, before the scale
  float* sum;       // the same: the sum of exponentials relative to it
  int64_t first;    // query of the tile
};

/// The largest of `n` scores; not NaN where another is not.
TANDEM_INLINE float largest_score(const float* score, int64_t n) {
  const Vec low = set1(-kInfinity);
  Vec a = low;
  Vec b = low;
  int64_t j = 0;
  for (; j + 2 * kWidth <= n; j += 2 * kWidth) {
    a = greater_of(load(score + j), a);
    b = greater_of(load(score + j + kWidth), b);
  }
  for (; j < n; j += kWidth)
    a = greater_of(keep_first(load_partial(score + j, n - j), n - j, low), a);
  return reduce_max(greater_of(a, b));
}

/// score = exp((score - largest) * scale), where none is larger than that; returns the sum. The
/// difference comes first: rounded products of scores of any size would differ by more than the
/// scores do.
TANDEM_INLINE float exponentials(float* score, int64_t n, float scale, float largest) {
  const Vec f = set1(scale);
  const Vec m = set1(largest);
  Vec a = zero();
  Vec b = zero();
  int64_t j = 0;
  for (; j + 2 * kWidth <= n; j += 2 * kWidth) {
    const Vec ea = exp_below((load(score + j) - m) * f);
    const Vec eb = exp_below((load(score + j + kWidth) - m) * f);
    store(score + j, ea);
    store(score + j + kWidth, eb);
    a += ea;
    b += eb;
  }
  for (; j < n; j += kWidth) {
    const Vec e = exp_below((load_partial(score + j, n - j) - m) * f);
    store_partial(score + j, e, n - j);
    a += keep_first(e, n - j, zero());
  }
  return reduce_add(a + b);
}

TANDEM_INLINE float exponential(float x) {
  float out[kWidth];
  store(out, exp_(set1(x)));
  return out[0];
}

TANDEM_INLINE void scale_row(float* y, int64_t n, float factor) {
  const Vec f = set1(factor);
  for (int64_t j = 0; j < n; j += kWidth)
    store_partial(y + j, load_partial(y + j, n - j) * f, n - j);
}

/// Turns a row of scores into exponentials, and what y has of the row so far to match.
void update_row(const AttentionParams& p, const Head& h, int64_t row, float* score, int64_t key,
                int64_t n) {
  float scale = p.scale;
  if (h.mask != nullptr) {
    const float* mask = h.mask + row * p.mask_strides[2] + key * p.mask_strides[3];
    add_mask(score, mask, p.mask_strides[3], n, scale);
    scale = 1.0F;
  }
  float& largest = h.largest[row - h.first];
  float& sum = h.sum[row - h.first];
  const float found = largest_score(score, n);
  const float before = largest;
  if (!(found <= before)) largest = found;
  // Where all are -infinity, they are zeros relative to any finite number.
  const float most_seen = largest == -kInfinity ? 0.0F : largest;
  const float more = exponentials(score, n, scale, most_seen);
  if (key > 0 && largest != before) {
    const float factor = before == -kInfinity ? 0.0F : exponential((before - most_seen) * scale);
    sum *= factor;
    scale_row(h.y.data + row * h.y.stride, p.value_depth, factor);
  }
  sum += more;
}

/// Divides a row of y by its sum; a row without any weight stays zero.
void finish_row(const AttentionParams& p, const Head& h, int64_t row) {
  const float sum = h.sum[row - h.first];
  const bool nothing = sum == 0.0F;
  scale_row(h.y.data + row * h.y.stride, p.value_depth, nothing ? 0.0F : 1.0F / sum);
  float* const saved = h.log_sums + 2 * row;
  saved[0] = nothing ? 0.0F : h.largest[row - h.first];
  saved[1] = nothing ? kInfinity : __builtin_logf(sum);
}

/// y of a panel of queries = or += its exponentials times the values that it sees.
void add_values(const AttentionParams& p, const Head& h, int64_t row, int64_t rows, int64_t key,
                int64_t keys, int64_t seen) {
  const int64_t width = score_row(p);
  float* y = h.y.data + row * h.y.stride;
  if (p.bf16 != nullptr) {
    round_rows(*p.bf16, {h.scores, width}, rows, seen, h.words);
    multiply_packed({h.words, word_row(seen), 1, rows, words_in(p, seen), h.values, y, h.y.stride,
                     key > 0, p.bf16, h.state},
                    {p.value_depth, words_in(p, keys)}, p.value_depth, false);
    return;
  }
  const float* v = h.v.data + key * h.v.stride;
  multiply_rows({h.scores, width, 1, rows, seen, v, y, h.y.stride, key > 0}, h.v.stride,
                p.value_depth);
}

/// A panel of queries with the keys [key, key + keys), packed.
void attend_panel(const AttentionParams& p, const Head& h, int64_t row, int64_t rows, int64_t key,
                  int64_t keys) {
  const int64_t width = score_row(p);
  const int64_t seen = visible(p, row + rows - 1, key, key + keys);
  if (seen == 0) return;
  multiply_keys(p, rows_from(h.q, row), rows, p.depth, h.packed, keys, seen, h.words, h.state,
                h.scores);
  for (int64_t i = 0; i < rows; ++i) {
    float* score = h.scores + i * width;
    const int64_t n = visible(p, row + i, key, key + keys);
    if (n > 0) update_row(p, h, row + i, score, key, n);
    clear(score + n, seen - n);
  }
  add_values(p, h, row, rows, key, keys, seen);
  const bool last = key + keys == p.keys || (p.causal && row + rows <= key + keys);
  for (int64_t i = 0; last && i < rows; ++i) finish_row(p, h, row + i);
}

/// Words of scratch before the scores.
struct ScratchSizes {
  int64_t keys, values, words, state;
};

ScratchSizes scratch_sizes(const AttentionParams& p) {
  const int64_t keys = least(p.key_block, p.keys);
  ScratchSizes sizes = {words_in(p, p.depth) * round_up(keys, kLanes), 0, 0, 0};
  if (p.bf16 == nullptr) return sizes;
  sizes.values = words_in(p, keys) * round_up(p.value_depth, kLanes);
  sizes.words = panel_rows(p) * word_row(most(p.depth, keys));
  sizes.state = state_words(p);
  return sizes;
}

Head head_of(const AttentionParams& p, void* const* operands, int64_t matrix, void* scratch) {
  const int64_t batch = matrix / p.heads;
  const int64_t head = matrix % p.heads;
  Head h{};
  h.q = rows_of(p.q, operands, batch, head);
  h.k = rows_of(p.k, operands, batch, head);
  h.v = rows_of(p.v, operands, batch, head);
  h.y = rows_of(p.y, operands, batch, head);
  h.mask = mask_of(p, operands, batch, head);
  h.log_sums = static_cast<float*>(operands[p.log_sums]) + matrix * p.time * 2;
  h.packed = static_cast<float*>(scratch);
  const ScratchSizes sizes = scratch_sizes(p);
  h.values = h.packed + sizes.keys;
  h.words = h.values + sizes.values;
  h.state = h.words + sizes.words;
  h.scores = h.state + sizes.state;
  h.largest = h.scores + panel_rows(p) * score_row(p);
  h.sum = h.largest + p.row_blocks.size + 1;
  return h;
}

int64_t scratch_bytes(const AttentionParams& p) {
  const ScratchSizes sizes = scratch_sizes(p);
  return 4 * (sizes.keys + sizes.values + sizes.words + sizes.state + panel_rows(p) * score_row(p) +
              2 * (p.row_blocks.size + 1));
}

void attention_tile(const void* params, void* const* operands, int64_t tile,
                    const TileContext& context) {
  const auto& p = params_of<AttentionParams>(params);
  Head h = head_of(p, operands, tile / p.row_blocks.count, context.scratch);
  const int64_t block = tile % p.row_blocks.count;
  h.first = part_start(p.row_blocks, block);
  const int64_t end = part_start(p.row_blocks, block + 1);
  const int64_t rows = end - h.first;
  for (int64_t i = 0; i < rows; ++i) {
    h.largest[i] = -kInfinity;
    h.sum[i] = 0.0F;
  }
  const PanelKernels kernels(p.bf16, h.state);
  const Panels panels = panels_of(p, rows);
  const GemmParts blocks = cut(p.keys, ceil_div(p.keys, p.key_block));
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t key = part_start(blocks, b);
    const int64_t keys = part_start(blocks, b + 1) - key;
    if (p.causal && key >= end) break;
    pack_keys(p, rows_from(h.k, key), keys, p.depth, h.packed);
    if (p.bf16 != nullptr)
      round_panels(*p.bf16, rows_from(h.v, key), keys, p.value_depth, h.values);
    for (int64_t i = 0; i < panels.parts.count; ++i) {
      const int64_t row = panel_start(panels, i);
      attend_panel(p, h, h.first + row, panel_start(panels, i + 1) - row, key, keys);
    }
  }
}

}  // namespace

void launch_attention(const NodeView& node, Emitter& emit) {
  if (node.outputs[0]->numel == 0) return;
  AttentionParams p = attention_params(node);
  p.y.operand = node.input_count;
  p.log_sums = node.input_count + 1;
  p.key_block = least(kMostKeys, most(2 * kPanelColumns, kPackedFloats / p.depth));
  const int64_t matrices = p.batch * p.heads;
  const int64_t most_blocks = ceil_div(p.time, kTileQueries);
  p.row_blocks = cut(p.time, most(1, least(most_blocks, ceil_div(kTiles, matrices))));
  emit.scratch(scratch_bytes(p));
  const double scores =
      static_cast<double>(matrices) * static_cast<double>(p.time) * static_cast<double>(p.keys);
  emit_step(emit, attention_tile, p, matrices * p.row_blocks.count,
            100.0 + scores * score_cost(p, 2));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
