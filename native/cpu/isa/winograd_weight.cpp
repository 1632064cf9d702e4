// The gradient of 3 x 3 weights in the positions of winograd.h: for each a product [out, tiles] *
// [tiles, in]. Each tile of the step sums up a chunk of the blocks; the chunks, cut by the shapes
// alone, are added up in their order.
#include "cpu/isa/winograd.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

constexpr int64_t kTiles = 16;
// Floats of their sums altogether.
constexpr int64_t kMostSums = 8 * 1024 * 1024;

struct WeightParams {
  ConvShape shape;
  TileGrid grid;
  TileBlocks blocks;
  GemmPlan plans[2];  // of a whole block and of the last one
  GemmParts chunks;   // of the blocks
  int64_t gradients_at, pixels_at, scratch_at;
  int32_t partials;  // operand: [chunk][position][out][in]
};

// Operands: x, dy, dw, partial sums.
void chunk_tile(const void* params, void* const* operands, int64_t tile,
                const TileContext& context) {
  const auto& p = params_of<WeightParams>(params);
  const ConvShape& s = p.shape;
  auto* scratch = static_cast<char*>(context.scratch);
  auto* tiles = reinterpret_cast<float*>(scratch);
  auto* gradients = reinterpret_cast<float*>(scratch + p.gradients_at);
  auto* pixels = reinterpret_cast<float*>(scratch + p.pixels_at);
  float* sums = static_cast<float*>(operands[p.partials]) + tile * kPositions * s.out * s.in;
  const int64_t first = part_start(p.chunks, tile), last = part_start(p.chunks, tile + 1);
  for (int64_t block = first; block < last; ++block) {
    transform_planes(p.grid, p.blocks, block, static_cast<const float*>(operands[0]), s.in, tiles,
                     pixels);
    transform_gradients(p.grid, p.blocks, block, static_cast<const float*>(operands[1]), s.out,
                        gradients, pixels);
    GemmPlan plan = p.plans[block + 1 == p.blocks.count ? 1 : 0];
    plan.desc.accumulate = block > first;
    for (int64_t i = 0; i < kPositions; ++i) {
      gemm_compute(plan, gradients + i * position_step(p.blocks, s.out),
                   tiles + i * position_step(p.blocks, s.in), sums + i * s.out * s.in, {}, 0,
                   scratch + p.scratch_at);
    }
  }
}

struct SumParams {
  int64_t out, in, chunks;
  int32_t partials;
};

// Tile: the weights of one channel of dy.
void sum_tile(const void* params, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& p = params_of<SumParams>(params);
  const int64_t size = p.out * p.in;
  const float* from = static_cast<const float*>(operands[p.partials]) + tile * p.in;
  auto* sums = static_cast<float*>(context.scratch);
  for (int64_t i = 0; i < kPositions; ++i) {
    for (int64_t c = 0; c < p.in; c += kLanes) {
      const int count = static_cast<int>(least(kLanes, p.in - c));
      Lanes sum = load_lanes(from + i * size + c, count);
      for (int64_t chunk = 1; chunk < p.chunks; ++chunk)
        sum = sum + load_lanes(from + (chunk * kPositions + i) * size + c, count);
      store_lanes(sums + i * p.in + c, sum, count);
    }
  }
  restore_weights(sums, p.in, p.in, static_cast<float*>(operands[2]) + tile * p.in * 9);
}

GemmPlan plan_block(const WeightParams& p, int64_t tiles) {
  GemmDesc desc = {};
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = p.shape.out;
  desc.n = p.shape.in;
  desc.k = tiles;
  desc.a_row = desc.b_col = p.blocks.row;
  desc.a_col = desc.b_row = 1;
  desc.c_row = p.shape.in;
  desc.one_block = true;
  if (p.shape.bf16) {
    desc.type = GEMM_BF16;
    desc.from_float = true;
  }
  return plan_gemm(desc);
}

}  // namespace

void emit_winograd_weight(const ConvShape& s, Emitter& emit) {
  WeightParams p = {};
  p.shape = s;
  p.grid = forward_tiles(s);
  p.blocks = cut_tiles(p.grid, s.batch, s.in + s.out);
  p.plans[0] = plan_block(p, tiles_of_block(p.grid, p.blocks, 0));
  p.plans[1] = plan_block(p, tiles_of_block(p.grid, p.blocks, p.blocks.count - 1));
  const int64_t fit = most(1, kMostSums / (kPositions * s.out * s.in));
  p.chunks = cut(p.blocks.count, least(p.blocks.count, least(kTiles, fit)));
  p.gradients_at = kPositions * position_step(p.blocks, s.in) * 4;
  p.pixels_at = p.gradients_at + kPositions * position_step(p.blocks, s.out) * 4;
  p.scratch_at = p.pixels_at + pixel_floats(p.blocks) * 4;
  emit.scratch(p.scratch_at + most(p.plans[0].scratch_bytes, p.plans[1].scratch_bytes));
  p.partials = emit.workspace(p.chunks.count * kPositions * s.out * s.in * 4);
  constexpr double kProductsPerNanosecond = 2.5 * kWidth;
  const double tiles = static_cast<double>(p.blocks.total_rows * p.grid.tile_columns);
  const auto out = static_cast<double>(s.out);
  const auto in = static_cast<double>(s.in);
  emit_step(emit, chunk_tile, p, p.chunks.count,
            tiles * (16.0 * out * in * product_time(s.bf16) / kProductsPerNanosecond +
                     (out + in) * 32.0 / kWidth));

  const SumParams sums = {s.out, s.in, p.chunks.count, p.partials};
  emit.scratch(kPositions * s.in * 4);
  emit_step(emit, sum_tile, sums, s.out,
            out * in * (20.0 + 1.6 * static_cast<double>(p.chunks.count)));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
