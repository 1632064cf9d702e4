// Convolutions in 16 products instead of 36: tiles of the step are blocks of rows of tiles.
#include "cpu/isa/winograd.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

// Of the matrices of a block: a good part of the L2.
constexpr int64_t kBlockFloats = 128 * 1024;
constexpr int64_t kFewestChannels = 16, kMostChannels = 256;
constexpr int64_t kMostTiles = 128, kFewestBlocks = 16;
// Fewer tiles do not pay for the weights' transform where the gathered product is of bfloat16.
constexpr int64_t kFewestRounded = 256;
// More channels: the matrices of a block, and the weights that each block reads, come from the L3,
// which pays where there are tiles enough.
constexpr int64_t kMostWideChannels = 1024, kFewestWide = 128, kWideTiles = 64;
// Floats of the gradient of wide weights, of which there is one for each chunk of the tiles.
constexpr int64_t kMostWideWeights = 256 * 256;

[[maybe_unused]] int64_t count_tiles(const ConvShape& s) {
  return s.batch * ceil_div(s.y_rows, 2) * ceil_div(s.y_columns, 2);
}

/// Whether the channels are so many that they are worth it, and not too many.
[[maybe_unused]] bool channels_fit(const ConvShape& s) {
  if (s.in + s.out <= kMostChannels) return !s.bf16 || count_tiles(s) >= kFewestRounded;
  return !s.bf16 && s.in + s.out <= kMostWideChannels && count_tiles(s) >= kFewestWide;
}

struct WinogradParams {
  GatheredProduct product;
  TileGrid grid;
  TileBlocks blocks;
  GemmPlan plans[2];  // of a whole block and of the last one
  int64_t result_at, pixels_at, scratch_at;
  int32_t weights;  // operand: [position][rows][channels]
};

struct WeightsParams {
  int64_t rows, channels;
  bool backward;
  int32_t from, to;
};

// Tile: a row of the weights' matrices.
void weights_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<WeightsParams>(params);
  const auto* w = static_cast<const float*>(operands[p.from]);
  float* out = static_cast<float*>(operands[p.to]) + tile * p.channels;
  const int64_t first = p.backward ? tile : tile * p.channels, apart = p.backward ? p.rows : 1;
  transform_weights(w + first * 9, apart * 9, p.backward, p.channels, out,
                    position_step(p.rows, p.channels));
}

int32_t emit_weights(const GatheredProduct& product, bool backward, Emitter& emit) {
  WeightsParams p = {product.rows, product.channels, backward, 0, 1};
  const int64_t floats = kPositions * position_step(p.rows, p.channels);
  const uint64_t layout = backward ? 5 : 4;
  const int frozen =
      emit.frozen(1, layout, weights_tile, &p, sizeof p, p.rows, floats * int64_t{4});
  if (frozen >= 0) return frozen;
  p.from = 1;
  p.to = emit.workspace(floats * 4);
  emit_step(emit, weights_tile, p, p.rows, 20.0 + 0.2 * static_cast<double>(floats));
  return p.to;
}

void winograd_tile(const void* params, void* const* operands, int64_t tile,
                   const TileContext& context) {
  const auto& p = params_of<WinogradParams>(params);
  const GatheredProduct& product = p.product;
  auto* scratch = static_cast<char*>(context.scratch);
  auto* tiles = reinterpret_cast<float*>(scratch);
  auto* result = reinterpret_cast<float*>(scratch + p.result_at);
  auto* pixels = reinterpret_cast<float*>(scratch + p.pixels_at);
  transform_planes(p.grid, p.blocks, tile, static_cast<const float*>(operands[product.planes]),
                   product.channels, tiles, pixels);
  const GemmPlan& plan = p.plans[tile + 1 == p.blocks.count ? 1 : 0];
  const auto* weights = static_cast<const float*>(operands[p.weights]);
  for (int64_t i = 0; i < kPositions; ++i) {
    gemm_compute(plan, weights + i * position_step(product.rows, product.channels),
                 tiles + i * position_step(p.blocks, product.channels),
                 result + i * position_step(p.blocks, product.rows), {}, 0, scratch + p.scratch_at);
  }
  if (product.maxima) {
    restore_maxima(p.grid, p.blocks, tile, result, product.rows, product.relu,
                   product.bias >= 0 ? static_cast<const float*>(operands[product.bias]) : nullptr,
                   static_cast<float*>(operands[product.y]), pixels);
    return;
  }
  PixelTarget target = {};
  target.y = static_cast<float*>(operands[product.y]);
  target.sums = product.pre >= 0 ? static_cast<float*>(operands[product.pre]) : target.y;
  if (product.bias >= 0) target.bias = static_cast<const float*>(operands[product.bias]);
  if (product.residual >= 0)
    target.residual = static_cast<const float*>(operands[product.residual]);
  restore_planes(p.grid, p.blocks, tile, result, product.rows, epilogue_of(product), target,
                 pixels);
}

GemmPlan plan_block(const WinogradParams& p, int64_t tiles) {
  GemmDesc desc = {};
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = p.product.rows;
  desc.n = whole_panels(tiles);
  desc.k = p.product.channels;
  desc.a_row = desc.k;
  desc.a_col = 1;
  desc.b_row = desc.c_row = p.blocks.row;
  desc.b_col = 1;
  desc.one_block = true;
  if (p.product.bf16) {
    desc.type = GEMM_BF16;
    desc.from_float = true;
  }
  return plan_gemm(desc);
}

}  // namespace

bool is_winograd(const ConvShape& s) {
#if defined(TANDEM_ISA_SCALAR)
  (void)s;
  return false;  // the reference
#else
  const auto one = [](int64_t a, int64_t b) { return a == 1 && b == 1; };
  return s.groups == 1 && s.batch > 0 && s.tap_rows == 3 && s.tap_columns == 3 &&
         one(s.stride_rows, s.stride_columns) && one(s.dilation_rows, s.dilation_columns) &&
         s.padding_rows <= 2 && s.padding_columns <= 2 && least(s.in, s.out) >= kFewestChannels &&
         channels_fit(s) && least(s.y_rows, s.y_columns) >= 4 &&
         most(s.x_columns, s.y_columns) <= 2 * kMostTiles;
#endif
}

bool is_winograd_weight(const ConvShape& s) {
  return is_winograd(s) && (s.in + s.out <= kMostChannels || s.in * s.out <= kMostWideWeights);
}

TileGrid forward_tiles(const ConvShape& s) {
  return {s.x_rows,
          s.x_columns,
          s.y_rows,
          s.y_columns,
          s.padding_rows,
          s.padding_columns,
          ceil_div(s.y_rows, 2),
          ceil_div(s.y_columns, 2)};
}

TileGrid backward_tiles(const ConvShape& s) {
  return {s.y_rows,
          s.y_columns,
          s.x_rows,
          s.x_columns,
          2 - s.padding_rows,
          2 - s.padding_columns,
          ceil_div(s.x_rows, 2),
          ceil_div(s.x_columns, 2)};
}

TileBlocks cut_tiles(const TileGrid& grid, int64_t images, int64_t channels) {
  TileBlocks blocks = {};
  blocks.total_rows = images * grid.tile_rows;
  // Few images leave something for every thread, if not for less than a panel.
  const int64_t portion =
      most(kPanelColumns, blocks.total_rows * grid.tile_columns / kFewestBlocks);
  const int64_t held =
      channels <= kMostChannels ? kBlockFloats / (kPositions * channels) : kWideTiles;
  const int64_t fit = least(least(kMostTiles, portion), held);
  // As many rows as fit best into whole panels, but not so few that each block costs more to begin.
  double best = 0.0;
  for (int64_t rows = 1; rows == 1 || rows * grid.tile_columns <= fit; ++rows) {
    const int64_t tiles = rows * grid.tile_columns;
    const double share =
        static_cast<double>(tiles) / static_cast<double>(round_up(tiles, kPanelColumns) + 4);
    if (share <= best) continue;
    best = share;
    blocks.block_rows = rows;
  }
  blocks.block_rows = most(1, least(blocks.block_rows, blocks.total_rows));
  blocks.count = ceil_div(blocks.total_rows, blocks.block_rows);
  // An odd number of cache lines, so that rows spread over the sets of the L1.
  const int64_t tiles = whole_panels(blocks.block_rows * grid.tile_columns);
  blocks.row = (ceil_div(tiles, 16) | 1) * 16;
  return blocks;
}

void emit_winograd(const GatheredProduct& product, const TileGrid& grid, bool backward,
                   Emitter& emit) {
  WinogradParams p = {};
  p.product = product;
  p.grid = grid;
  p.blocks = cut_tiles(grid, product.batch, product.channels + product.rows);
  p.plans[0] = plan_block(p, tiles_of_block(grid, p.blocks, 0));
  p.plans[1] = plan_block(p, tiles_of_block(grid, p.blocks, p.blocks.count - 1));
  p.result_at = kPositions * position_step(p.blocks, product.channels) * 4;
  p.pixels_at = p.result_at + kPositions * position_step(p.blocks, product.rows) * 4;
  p.scratch_at = p.pixels_at + pixel_floats(p.blocks) * 4;
  p.weights = emit_weights(product, backward, emit);
  emit.scratch(p.scratch_at + most(p.plans[0].scratch_bytes, p.plans[1].scratch_bytes));
  constexpr double kProductsPerNanosecond = 2.5 * kWidth;
  const double tiles = static_cast<double>(p.blocks.total_rows * grid.tile_columns);
  const auto rows = static_cast<double>(product.rows);
  const auto channels = static_cast<double>(product.channels);
  const double cost =
      tiles * (16.0 * rows * channels * product_time(product.bf16) / kProductsPerNanosecond +
               (rows + channels) * 32.0 / kWidth);
  emit_step(emit, winograd_tile, p, p.blocks.count, cost);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
