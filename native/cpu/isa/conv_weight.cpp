// The gradient of a convolution with respect to its weights: pixels of x, gathered as in the
// convolution, times dy^T, [in * taps, pixels] * [pixels, out]. Each tile sums up a chunk of the
// images; the chunks, cut by the shapes alone, are added up in their order and transposed.
#include "cpu/isa/transpose_lanes.h"
#include "cpu/isa/winograd.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// What a tile holds of pixels at a time, gathered ones of x and those of dy, is a good part of the
// L2. Transposing dy pays by the gathered rows that it is multiplied by: there are as many as that
// lets short sums have.
constexpr int64_t kBlockFloats = 128 * 1024, kBlockRows = 160;
constexpr int64_t kShortestSum = 256, kLongestSum = 1024;
constexpr int64_t kTiles = 16;
// Floats of all partial sums.
constexpr int64_t kMostPartials = 4 * 1024 * 1024;

struct WeightParams {
  ConvShape shape;
  ConvGrid grid;
  GemmPlan plans[2][2];  // by channels: a whole block or one more; by pixels: a whole block or last
  GemmParts channel_blocks;
  GemmParts chunks;  // of the images
  int64_t taps, depth, pixels, block_pixels;
  int64_t row;                   // floats of a gathered row
  int64_t table_at, scratch_at;  // behind the gathered rows
  int32_t partials;              // operand: [chunk][group][in * taps][out]
};

// Operands: x, dy, dw, partial sums.
void chunk_tile(const void* params, void* const* operands, int64_t tile,
                const TileContext& context) {
  const auto& p = params_of<WeightParams>(params);
  const ConvShape& s = p.shape;
  const int64_t block = tile % p.channel_blocks.count;
  const int64_t group = tile / p.channel_blocks.count % s.groups;
  const int64_t chunk = tile / p.channel_blocks.count / s.groups;
  const int64_t c0 = part_start(p.channel_blocks, block);
  const int64_t channels = part_start(p.channel_blocks, block + 1) - c0;
  const int64_t plane = s.x_rows * s.x_columns;
  auto* scratch = static_cast<char*>(context.scratch);
  auto* rows = static_cast<float*>(context.scratch);
  float* sums = static_cast<float*>(operands[p.partials]) +
                ((chunk * s.groups + group) * p.depth + c0 * p.taps) * s.out;
  const int64_t first = part_start(p.chunks, chunk), last = part_start(p.chunks, chunk + 1);
  for (int64_t image = first; image < last; ++image) {
    const int64_t at = image * s.groups + group;
    const float* x = static_cast<const float*>(operands[0]) + (at * s.in + c0) * plane;
    const float* dy = static_cast<const float*>(operands[1]) + at * s.out * p.pixels;
    for (int64_t p0 = 0; p0 < p.pixels; p0 += p.block_pixels) {
      const int64_t pixels = least(p.block_pixels, p.pixels - p0);
      gather_pixels(p.grid, x, channels, p0, pixels, {rows, p.row, kPanelColumns},
                    scratch + p.table_at);
      const bool ends = p0 + pixels == p.pixels;
      GemmPlan plan = p.plans[channels - p.channel_blocks.size][ends ? 1 : 0];
      plan.desc.accumulate = image > first || p0 > 0;
      gemm_compute(plan, rows, dy + p0, sums, {}, 0, scratch + p.scratch_at);
    }
  }
}

/// Rows of partial sums [in * taps, out] that are transposed together.
constexpr int64_t kSumRows = 16;

struct SumParams {
  int64_t groups, depth, out, chunks;
  int64_t blocks;  // of rows of a group
  int32_t partials;
};

/// A square of partial sums [rows, out] from `from` on, added up in the order of the chunks.
TANDEM_INLINE void load_sums(const SumParams& p, const float* from, int rows, int columns,
                             Lanes (&square)[kLanes]) {
  const int64_t step = p.groups * p.depth * p.out;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    Lanes sum = spread(0.0F);
    if (i < rows) {
      for (int64_t chunk = 0; chunk < p.chunks; ++chunk)
        sum = sum + load_lanes(from + chunk * step + i * p.out, columns);
    }
    square[i] = sum;
  }
}

void sum_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<SumParams>(params);
  const int64_t group = tile / p.blocks;
  const Range rows = piece(tile % p.blocks, kSumRows, p.depth);
  const auto* sums = static_cast<const float*>(operands[p.partials]) + group * p.depth * p.out;
  float* dw = static_cast<float*>(operands[2]) + group * p.out * p.depth;
  for (int64_t r = rows.begin; r < rows.end; r += kLanes) {
    const int count = static_cast<int>(least(kLanes, rows.end - r));
    for (int64_t o = 0; o < p.out; o += kLanes) {
      const int columns = static_cast<int>(least(kLanes, p.out - o));
      Lanes square[kLanes];
      load_sums(p, sums + r * p.out + o, count, columns, square);
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        if (i < columns) store_lanes(dw + (o + i) * p.depth + r, square[i], count);
      }
    }
  }
}

void emit_sums(const WeightParams& p, Emitter& emit) {
  const ConvShape& s = p.shape;
  const SumParams sums = {s.groups,  p.depth, s.out, p.chunks.count, ceil_div(p.depth, kSumRows),
                          p.partials};
  const double elements = static_cast<double>(s.groups * s.out) * static_cast<double>(p.depth);
  emit_step(emit, sum_tile, sums, s.groups * sums.blocks,
            elements * (0.1 + 0.1 * static_cast<double>(p.chunks.count)));
}

GemmPlan plan_block(const WeightParams& p, int64_t channels, int64_t pixels) {
  GemmDesc desc = {};
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = channels * p.taps;
  desc.n = p.shape.out;
  desc.k = pixels;
  desc.a_row = p.row;
  desc.a_col = 1;
  desc.b_row = 1;
  desc.b_col = p.pixels;
  desc.c_row = p.shape.out;
  desc.one_block = true;
  if (p.shape.bf16) {
    desc.type = GEMM_BF16;
    desc.from_float = true;
  }
  return plan_gemm(desc);
}

void cut_work(WeightParams& p) {
  const ConvShape& s = p.shape;
  const int64_t fit = most(1, least(s.in, kBlockRows / p.taps));
  const int64_t held = kBlockFloats / (fit * p.taps + s.out) / kLanes * kLanes;
  // Many outputs, or taps, take more of the cache before sums become shorter than they should be.
  const int64_t sum = most(held, least(kShortestSum, 4 * held));
  p.block_pixels = least(p.pixels, most(kLanes, least(kLongestSum, sum)));
  // An odd number of cache lines, so that rows spread over the sets of the L1.
  p.row = (ceil_div(p.block_pixels, 16) | 1) * 16;
  const int64_t images = s.batch * s.groups;
  p.channel_blocks =
      cut(s.in, least(s.in, most(ceil_div(s.in, fit), ceil_div(kTiles / 2, images))));
  const int64_t tiles = p.channel_blocks.count * s.groups;
  const int64_t room = most(1, kMostPartials / (s.groups * p.depth * s.out));
  p.chunks = cut(s.batch, least(least(s.batch, room), ceil_div(kTiles, tiles)));
}

void emit_weight(const ConvShape& s, Emitter& emit) {
  WeightParams p = {};
  p.shape = s;
  p.grid = forward_grid(s);
  p.taps = s.tap_rows * s.tap_columns;
  p.depth = s.in * p.taps;
  p.pixels = s.y_rows * s.y_columns;
  if (s.batch > 0) {
    cut_work(p);
    const int64_t most_channels = p.channel_blocks.size + (p.channel_blocks.longer > 0 ? 1 : 0);
    const int64_t last = p.pixels - (ceil_div(p.pixels, p.block_pixels) - 1) * p.block_pixels;
    int64_t scratch = 0;
    for (int64_t more = 0; more < 2; ++more) {
      for (int64_t end = 0; end < 2; ++end) {
        GemmPlan& plan = p.plans[more][end];
        plan = plan_block(p, p.channel_blocks.size + more, end == 0 ? p.block_pixels : last);
        scratch = most(scratch, plan.scratch_bytes);
      }
    }
    p.table_at = round_up(most_channels * p.taps * p.row * 4, 64);
    p.scratch_at = p.table_at + gather_table_bytes(p.grid, p.block_pixels);
    emit.scratch(p.scratch_at + scratch);
    p.partials = emit.workspace(p.chunks.count * s.groups * p.depth * s.out * 4);
    constexpr double kProductsPerNanosecond = 2.5 * kWidth;
    const double cost = conv_products(s) * (product_time(s.bf16) / kProductsPerNanosecond +
                                            1.0 / kWidth / static_cast<double>(s.out));
    emit_step(emit, chunk_tile, p, p.chunks.count * s.groups * p.channel_blocks.count, cost);
  }
  emit_sums(p, emit);
}

}  // namespace

void launch_convWeightGrad(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::ConvWeightGrad::Attributes>(node);
  const ConvShape s =
      conv_shape(*node.inputs[0], *node.inputs[1], *node.outputs[0], attributes.conv);
  if (is_depthwise(s) && s.batch > 0 && rows_fit(forward_grid(s)))
    emit_depthwise_weight(s, emit);
  else if (is_winograd_weight(s))
    emit_winograd_weight(s, emit);
  else
    emit_weight(s, emit);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
