// quantizedAttention: attention whose products are of bytes. First every head's keys become signed
// bytes by the range of their row, and its values by that of their column; then a tile takes a
// block of a head's queries, as bytes by the ranges of their rows: their scores are floats, their
// probabilities bytes in steps of 1 / 255 of the row's largest, whose sum divides the result.
#include "cpu/convert.h"
#include "cpu/isa/attention.h"
#include "cpu/isa/quantized_weight.h"
#include "cpu/isa/softmax_row.h"

TANDEM_CONVERT_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// The products of a block of queries, or of the last one.
struct BlockPlans {
  GemmPlan scores, values;
};

struct ByteAttention {
  AttentionParams sizes;
  BlockPlans block, last;
  int64_t rows, blocks;  // queries of a block; blocks of a head
  int32_t keys, key_scales, values, value_scales;
  // Where in scratch memory: bytes of the queries, what their rows need, scores, probabilities.
  int64_t row_scales_at, row_zeros_at, sums_at, scores_at, probabilities_at, gemm_at;
};

/// Values [keys, depth] as bytes with a scale for each column, which `scale` receives.
void quantize_columns(const Rows& rows, int64_t count, int64_t depth, int8_t* out, float* scale) {
  for (int64_t j = 0; j < depth; ++j) scale[j] = 0.0F;
  for (int64_t i = 0; i < count; ++i) {
    const float* const row = rows.data + i * rows.stride;
    for (int64_t j = 0; j < depth; ++j) {
      const float size = row[j] < 0 ? -row[j] : row[j];
      scale[j] = size > scale[j] ? size : scale[j];
    }
  }
  for (int64_t j = 0; j < depth; ++j) {
    const float step = scale[j] / 127.0F;
    scale[j] = step >= 0x1p-120F ? step : 1.0F;
  }
  for (int64_t i = 0; i < count; ++i) {
    const float* const row = rows.data + i * rows.stride;
    for (int64_t j = 0; j < depth; ++j)
      out[i * depth + j] = static_cast<int8_t>(quantized_weight_of(row[j], scale[j]));
  }
}

// A tile is a head.
void prepare_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ByteAttention>(raw);
  const AttentionParams& s = p.sizes;
  const int64_t batch = tile / s.heads, head = tile % s.heads;
  const Rows k = rows_of(s.k, operands, batch, head);
  float* const scales = static_cast<float*>(operands[p.key_scales]) + tile * s.keys;
  quantize_rows_s8(k.data, k.stride,
                   static_cast<int8_t*>(operands[p.keys]) + tile * s.keys * s.depth, s.depth,
                   s.keys, s.depth, scales);
  for (int64_t i = 0; i < s.keys; ++i) scales[i] *= s.scale;
  quantize_columns(rows_of(s.v, operands, batch, head), s.keys, s.value_depth,
                   static_cast<int8_t*>(operands[p.values]) + tile * s.keys * s.value_depth,
                   static_cast<float*>(operands[p.value_scales]) + tile * s.value_depth);
}

/// Scores of a row as bytes of probabilities; returns 1 / the sum of these bytes.
float probabilities(float* scores, int64_t visible, int64_t keys, uint8_t* out) {
  row_exp<true>(scores, scores, visible, row_max(scores, visible));
  quantize_u8(scores, out, visible, {1.0F / 255.0F, 0});
  int32_t sum = 0;
  for (int64_t j = 0; j < visible; ++j) sum += out[j];
  std::memset(out + visible, 0, static_cast<size_t>(keys - visible));
  return 1.0F / static_cast<float>(sum > 0 ? sum : 1);
}

/// Adds a head's mask, if there is one, to the scores of some of its queries.
void add_masks(const AttentionParams& s, const float* mask, const Range& queries, float* scores) {
  if (mask == nullptr) return;
  for (int64_t i = queries.begin; i < queries.end; ++i, scores += s.keys) {
    const int64_t seen = visible(s, i, 0, s.keys);
    if (seen > 0) add_mask(scores, mask + i * s.mask_strides[2], s.mask_strides[3], seen, 1.0F);
  }
}

void block_tile(const void* raw, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& p = params_of<ByteAttention>(raw);
  const AttentionParams& s = p.sizes;
  const int64_t in_batch = tile / p.blocks, batch = in_batch / s.heads, head = in_batch % s.heads;
  const Range range = piece(tile % p.blocks, p.rows, s.time);
  const int64_t rows = range.end - range.begin;
  const BlockPlans& plans = rows == p.rows ? p.block : p.last;
  auto* const scratch = static_cast<char*>(context.scratch);
  auto* const queries = reinterpret_cast<uint8_t*>(scratch);
  auto* const row_scales = reinterpret_cast<float*>(scratch + p.row_scales_at);
  auto* const row_zeros = reinterpret_cast<int32_t*>(scratch + p.row_zeros_at);
  auto* const sums = reinterpret_cast<float*>(scratch + p.sums_at);
  auto* const scores = reinterpret_cast<float*>(scratch + p.scores_at);
  auto* const bytes = reinterpret_cast<uint8_t*>(scratch + p.probabilities_at);

  const Rows q = rows_of(s.q, operands, batch, head);
  quantize_rows_u8(q.data + range.begin * q.stride, q.stride, queries, s.depth, rows, s.depth,
                   row_scales, row_zeros);
  GemmEpilogue epilogue{};
  epilogue.scale = static_cast<const float*>(operands[p.key_scales]) + in_batch * s.keys;
  epilogue.row_scale = row_scales;
  epilogue.row_zero = row_zeros;
  gemm_compute(plans.scores, queries,
               static_cast<const int8_t*>(operands[p.keys]) + in_batch * s.keys * s.depth, scores,
               epilogue, 0, scratch + p.gemm_at);
  add_masks(s, mask_of(s, operands, batch, head), range, scores);
  for (int64_t i = 0; i < rows; ++i)
    sums[i] = probabilities(scores + i * s.keys, visible(s, range.begin + i, 0, s.keys), s.keys,
                            bytes + i * s.keys);
  epilogue = {};
  epilogue.scale = static_cast<const float*>(operands[p.value_scales]) + in_batch * s.value_depth;
  epilogue.row_scale = sums;
  const Rows y = rows_of(s.y, operands, batch, head);
  gemm_compute(plans.values, bytes,
               static_cast<const int8_t*>(operands[p.values]) + in_batch * s.keys * s.value_depth,
               y.data + range.begin * y.stride, epilogue, 0, scratch + p.gemm_at);
}

GemmPlan plan_product(int64_t m, int64_t n, int64_t k, bool transposed, int64_t c_row) {
  GemmDesc desc{};
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = m;
  desc.n = n;
  desc.k = k;
  desc.a_row = k;
  desc.a_col = 1;
  desc.b_row = transposed ? 1 : n;
  desc.b_col = transposed ? k : 1;
  desc.c_row = c_row;
  desc.one_block = true;
  desc.type = GEMM_S8;
  desc.c_type = GEMM_TO_F32;
  return plan_gemm(desc);
}

BlockPlans plan_block(const AttentionParams& s, int64_t rows) {
  return {plan_product(rows, s.keys, s.depth, true, s.keys),
          plan_product(rows, s.value_depth, s.keys, false, s.y.row)};
}

/// Asks for the scratch memory of a tile.
void place_scratch(ByteAttention& p, Emitter& emit) {
  int64_t bytes = 0;
  const auto place = [&](int64_t size) {
    const int64_t at = bytes;
    bytes += round_up(size, 64);
    return at;
  };
  place(p.rows * p.sizes.depth);
  p.row_scales_at = place(p.rows * 4);
  p.row_zeros_at = place(p.rows * 4);
  p.sums_at = place(p.rows * 4);
  p.scores_at = place(p.rows * p.sizes.keys * 4);
  p.probabilities_at = place(p.rows * p.sizes.keys);
  p.gemm_at = bytes;
  int64_t most_bytes = 0;
  for (const GemmPlan* plan : {&p.block.scores, &p.block.values, &p.last.scores, &p.last.values})
    most_bytes = most(most_bytes, plan->scratch_bytes);
  emit.scratch(bytes + most_bytes);
}

}  // namespace

void launch_quantizedAttention(const NodeView& node, Emitter& emit) {
  constexpr int64_t kMostRows = 64, kFewestRows = 8, kScores = 128 * 1024;
  constexpr double kPrepareCost = 0.5;  // nanoseconds an element
  ByteAttention p{};
  p.sizes = attention_params(node);
  p.sizes.y.operand = node.input_count;
  const AttentionParams& s = p.sizes;
  const int64_t heads = s.batch * s.heads;
  if (heads == 0) return;
  p.rows = least(s.time, least(kMostRows, most(kFewestRows, kScores / s.keys)));
  p.blocks = ceil_div(s.time, p.rows);
  p.block = plan_block(s, p.rows);
  p.last = plan_block(s, s.time - (p.blocks - 1) * p.rows);
  p.keys = emit.workspace(heads * s.keys * s.depth);
  p.key_scales = emit.workspace(heads * s.keys * 4);
  p.values = emit.workspace(heads * s.keys * s.value_depth);
  p.value_scales = emit.workspace(heads * s.value_depth * 4);
  place_scratch(p, emit);
  const auto numbers = static_cast<double>(heads * s.keys * (s.depth + s.value_depth));
  emit_step(emit, prepare_tile, p, heads, kPrepareCost * numbers);
  const auto scores = static_cast<double>(heads * s.time * s.keys);
  emit_step(emit, block_tile, p, heads * p.blocks, scores * score_cost(s, 2));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
