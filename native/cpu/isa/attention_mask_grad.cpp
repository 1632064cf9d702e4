// The gradient of the mask of attention: dS, summed over what the mask is broadcast to. A tile owns
// a part of the mask, and goes through the heads and queries that it adds to in rising order.
#include "cpu/isa/attention_blocks.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// Tiles that are wanted in all.
constexpr int64_t kTiles = 32;

/// dmask row += dS row, or its sum where the mask has one number for all keys.
void add_to_mask(const AttentionParams& a, const GradientHead& h, const ScoreBlock& b,
                 float* dmask) {
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
    GradientHead h = gradient_head(a, operands, m, context.scratch);
    h.factor = 1.0F;
    const PanelKernels kernels(a.bf16, h.state);
    for (int64_t i = 0; i < blocks.count; ++i) {
      const int64_t key = part_start(blocks, i);
      each_block(a, h, row, end, key, part_start(blocks, i + 1) - key, [&](const ScoreBlock& part) {
        grade_block(a, h, part);
        add_to_mask(a, h, part, dmask);
      });
    }
  }
}

}  // namespace

void emit_mask_gradient(AttentionParams a, double cost, Emitter& emit) {
  const int64_t matrices =
      (a.mask_strides[0] != 0 ? a.batch : 1) * (a.mask_strides[1] != 0 ? a.heads : 1);
  const int64_t blocks = least(ceil_div(a.time, kQueries), ceil_div(kTiles, most(1, matrices)));
  a.row_blocks = cut(a.time, a.mask_strides[2] != 0 ? most(1, blocks) : 1);
  emit_step(emit, mask_tile, a, matrices * a.row_blocks.count, cost);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
