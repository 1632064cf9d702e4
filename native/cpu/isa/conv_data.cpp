// The gradient of a convolution with respect to its input, and convTranspose2d, which is that with
// a bias. Where windows move by one pixel it is a convolution of dy whose taps go backwards.
// Otherwise the product w^T * dy, [in * taps, pixels], is added to where its rows were read from; a
// tile owns its planes of dx, so the order of the sums is fixed.
#include "cpu/isa/winograd.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// ---- windows that move by one pixel ------------------------------------------------------------

/// Weights [out, in, taps] of each group as [in, out, taps].
struct SwapParams {
  int64_t in, out, taps;
  int32_t from, to;
};

void swap_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<SwapParams>(params);
  const int64_t group = tile / p.in, i = tile % p.in;
  const float* from =
      static_cast<const float*>(operands[p.from]) + (group * p.out * p.in + i) * p.taps;
  float* to = static_cast<float*>(operands[p.to]) + tile * p.out * p.taps;
  for (int64_t o = 0; o < p.out; ++o, from += p.in * p.taps)
    for (int64_t t = 0; t < p.taps; ++t) *to++ = from[t];
}

/// The operand with swapped weights, made once where they are frozen.
int32_t emit_swapped(const ConvShape& s, Emitter& emit) {
  SwapParams p = {s.in, s.out, s.tap_rows * s.tap_columns, 0, 1};
  const int64_t tiles = s.groups * s.in;
  const int64_t floats = tiles * s.out * p.taps;
  // Convolutions of one weight may differ in their groups.
  const uint64_t layout = 3 + (static_cast<uint64_t>(s.groups) << 32);
  const int frozen = emit.frozen(1, layout, swap_tile, &p, sizeof p, tiles, floats * 4);
  if (frozen >= 0) return frozen;
  p.from = 1;
  p.to = emit.workspace(floats * 4);
  emit_step(emit, swap_tile, p, tiles, 20.0 + 0.8 * static_cast<double>(floats));
  return p.to;
}

ConvGrid backward_grid(const ConvShape& s) {
  return {s.y_rows,
          s.y_columns,
          s.x_rows,
          s.x_columns,
          {s.tap_rows, 1, s.padding_rows, -s.dilation_rows},
          {s.tap_columns, 1, s.padding_columns, -s.dilation_columns}};
}

// ---- windows that move by more -----------------------------------------------------------------

// Floats of the product that a tile holds at a time, and of dy beside it.
constexpr int64_t kBlockFloats = 48 * 1024;
constexpr int64_t kTiles = 32;

struct ScatterParams {
  ConvShape shape;
  GemmPlan plans[2][2];  // by channels: a whole block or one more; by pixels: a whole block or last
  GemmParts channel_blocks;
  int64_t block_pixels, pixels;
  int64_t segments_at, scratch_at;  // behind the product
  GatheredProduct epilogue;         // operands and activation alone
};

void add_strided(const float* from, int64_t n, int64_t stride, float* to) {
  if (stride != 2) {
    for (int64_t i = 0; i < n; ++i) to[i * stride] += from[i];
    return;
  }
  for (int64_t i = 0; i < n; i += kLanes)
    add_to_pairs(from + i, static_cast<int>(least(kLanes, n - i)), to + 2 * i);
}

/// Neighbouring pixels of the product's row of a tap, and where they go in a plane.
struct Segment {
  int64_t from, to, pixels;
};

int64_t most_segments(const ConvShape& s, int64_t block_pixels) {
  return s.tap_rows * s.tap_columns * (block_pixels / most(1, s.y_columns) + 2);
}

/// Appends those of pixels [p0, p1) of one tap, whose row in the product starts at `row`.
Segment* add_segments(const ConvShape& s, int64_t p0, int64_t p1, int64_t row_tap,
                      int64_t column_tap, int64_t row, Segment* segment) {
  const WindowTaps columns = {s.tap_columns, s.stride_columns, -s.padding_columns,
                              s.dilation_columns};
  const PixelRange within = pixels_within(columns, column_tap, s.x_columns, s.y_columns);
  int64_t y = p0 / s.y_columns, column = p0 % s.y_columns;
  for (int64_t p = p0; p < p1; ++y, column = 0) {
    const int64_t length = least(p1 - p, s.y_columns - column);
    const int64_t to_row = y * s.stride_rows - s.padding_rows + row_tap * s.dilation_rows;
    const int64_t begin = most(column, within.begin), end = least(column + length, within.end);
    if (to_row >= 0 && to_row < s.x_rows && begin < end) {
      const int64_t to_column =
          begin * s.stride_columns - s.padding_columns + column_tap * s.dilation_columns;
      *segment++ = {row + (p - p0 - column) + begin, to_row * s.x_columns + to_column, end - begin};
    }
    p += length;
  }
  return segment;
}

/// Adds pixels [p0, p1) of all taps to the planes that they were read from. All channels go by the
/// segments of the first.
void add_taps(const ConvShape& s, const float* product, int64_t block_pixels, int64_t p0,
              int64_t p1, int64_t channels, Segment* segments, float* planes) {
  const int64_t taps = s.tap_rows * s.tap_columns;
  Segment* end = segments;
  for (int64_t tap = 0; tap < taps; ++tap)
    end =
        add_segments(s, p0, p1, tap / s.tap_columns, tap % s.tap_columns, tap * block_pixels, end);
  for (int64_t c = 0; c < channels; ++c) {
    for (const Segment* one = segments; one < end; ++one)
      add_strided(product + one->from, one->pixels, s.stride_columns, planes + one->to);
    product += taps * block_pixels;
    planes += s.x_rows * s.x_columns;
  }
}

void start_planes(float* planes, int64_t channels, int64_t size, const float* bias) {
  for (int64_t c = 0; c < channels; ++c) {
    const float value = bias != nullptr ? bias[c] : 0.0F;
    for (int64_t i = 0; i < size; ++i) *planes++ = value;
  }
}

void scatter_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& p = params_of<ScatterParams>(params);
  const ConvShape& s = p.shape;
  const int64_t block = tile % p.channel_blocks.count, image = tile / p.channel_blocks.count;
  const int64_t group = image % s.groups;
  const int64_t c0 = part_start(p.channel_blocks, block);
  const int64_t channels = part_start(p.channel_blocks, block + 1) - c0;
  const int64_t taps = s.tap_rows * s.tap_columns, plane = s.x_rows * s.x_columns;
  const float* dy = static_cast<const float*>(operands[0]) + image * s.out * p.pixels;
  const float* w = static_cast<const float*>(operands[1]) + (group * s.out * s.in + c0) * taps;
  const GatheredProduct& e = p.epilogue;
  const int64_t at = (image * s.in + c0) * plane;
  float* y = static_cast<float*>(operands[e.y]) + at;
  float* dx = e.pre >= 0 ? static_cast<float*>(operands[e.pre]) + at : y;
  auto* product = static_cast<float*>(context.scratch);
  auto* segments = reinterpret_cast<Segment*>(static_cast<char*>(context.scratch) + p.segments_at);
  const float* bias =
      e.bias >= 0 ? static_cast<const float*>(operands[e.bias]) + group * s.in + c0 : nullptr;
  start_planes(dx, channels, plane, bias);
  for (int64_t p0 = 0; p0 < p.pixels; p0 += p.block_pixels) {
    const int64_t p1 = least(p0 + p.block_pixels, p.pixels);
    const GemmPlan& plan = p.plans[channels - p.channel_blocks.size][p1 == p.pixels ? 1 : 0];
    gemm_compute(plan, w, dy + p0, product, {}, 0,
                 static_cast<char*>(context.scratch) + p.scratch_at);
    add_taps(s, product, p.block_pixels, p0, p1, channels, segments, dx);
  }
  activate_row(epilogue_of(e), dx, y, channels * plane);
}

GemmPlan plan_block(const ScatterParams& p, int64_t channels, int64_t pixels) {
  const ConvShape& s = p.shape;
  const int64_t taps = s.tap_rows * s.tap_columns;
  GemmDesc desc = {};
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = channels * taps;
  desc.n = pixels;
  desc.k = s.out;
  desc.a_row = 1;
  desc.a_col = s.in * taps;
  desc.b_row = p.pixels;
  desc.b_col = 1;
  desc.c_row = p.block_pixels;
  desc.one_block = true;
  if (s.bf16) {
    desc.type = GEMM_BF16;
    desc.from_float = true;
  }
  return plan_gemm(desc);
}

void emit_scattered(const ConvShape& s, const GatheredProduct& epilogue, Emitter& emit) {
  ScatterParams p = {};
  p.shape = s;
  p.epilogue = epilogue;
  p.pixels = s.y_rows * s.y_columns;
  const int64_t images = s.batch * s.groups, taps = s.tap_rows * s.tap_columns;
  if (images == 0) return;
  // Long rows of few channels rather than short rows of many.
  const int64_t wanted = most(1, kBlockFloats / (taps * 4 * kPanelColumns));
  const int64_t blocks = least(s.in, most(ceil_div(s.in, wanted), ceil_div(kTiles, images)));
  p.channel_blocks = cut(s.in, blocks);
  const int64_t most_channels = p.channel_blocks.size + (p.channel_blocks.longer > 0 ? 1 : 0);
  const int64_t fit = kBlockFloats / (most(most_channels * taps, s.out) * kPanelColumns);
  p.block_pixels = least(round_up(p.pixels, kLanes), most(1, fit) * kPanelColumns);
  const int64_t first = least(p.block_pixels, p.pixels);
  const int64_t last = p.pixels - (ceil_div(p.pixels, p.block_pixels) - 1) * p.block_pixels;
  int64_t scratch = 0;
  for (int64_t more = 0; more < 2; ++more) {
    for (int64_t end = 0; end < 2; ++end) {
      GemmPlan& plan = p.plans[more][end];
      plan = plan_block(p, p.channel_blocks.size + more, end == 0 ? first : last);
      scratch = most(scratch, plan.scratch_bytes);
    }
  }
  p.segments_at = round_up(most_channels * taps * p.block_pixels * 4, 64);
  const auto segment = static_cast<int64_t>(sizeof(Segment));
  p.scratch_at = round_up(p.segments_at + most_segments(s, p.block_pixels) * segment, 64);
  emit.scratch(p.scratch_at + scratch);
  constexpr double kProductsPerNanosecond = 2.5 * kWidth;
  const double cost =
      conv_products(s) * (1.0 / kProductsPerNanosecond + 0.6 / static_cast<double>(s.out));
  emit_step(emit, scatter_tile, p, images * p.channel_blocks.count, cost);
}

// ---- launching ---------------------------------------------------------------------------------

/// Without an epilogue.
void launch(const NodeView& node, Emitter& emit) {
  ops::FusedConv::Attributes attributes{};
  attributes.conv = attributes_of<ops::ConvAttributes>(node);
  launch_backward(node, attributes, emit);
}

}  // namespace

void launch_backward(const NodeView& node, const ops::FusedConv::Attributes& attributes,
                     Emitter& emit) {
  const ConvShape s =
      conv_shape(*node.outputs[0], *node.inputs[0], *node.inputs[1], attributes.conv);
  GatheredProduct product = product_with_epilogue(attributes, node);
  if (s.stride_rows != 1 || s.stride_columns != 1) {
    emit_scattered(s, product, emit);
    return;
  }
  product.grid = backward_grid(s);
  product.batch = s.batch;
  product.groups = s.groups;
  product.channels = s.out;
  product.rows = s.in;
  if (is_depthwise(s) && s.out == 1 && rows_fit(product.grid)) {
    emit_depthwise(product, emit);
  } else if (is_pointwise(s)) {
    product.bf16 = s.bf16;
    emit_pointwise(product, true, emit);
  } else if (is_winograd(s)) {
    product.bf16 = s.bf16;
    emit_winograd(product, backward_tiles(s), true, emit);
  } else {
    product.bf16 = pairs_channels(s, s.out);
    product.a = product.bf16 ? emit_words(s, true, emit) : emit_swapped(s, emit);
    emit_gathered(product, emit);
  }
}

void launch_convDataGrad(const NodeView& node, Emitter& emit) { launch(node, emit); }
void launch_convTranspose2d(const NodeView& node, Emitter& emit) { launch(node, emit); }

}  // namespace tandem::cpu::TANDEM_ISA_NS
