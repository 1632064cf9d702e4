// Convolutions with kernels of 1 x 1: a batched product whose right-hand sides are the images.
#include "cpu/isa/conv.h"

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

struct PointwiseParams {
  GatheredProduct product;
  GemmPlan plan;
  int32_t b;  // operand: the planes or their packed form
};

void pack_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<PointwiseParams>(params);
  gemm_pack_b(p.plan, operands[p.product.planes], operands[p.b], tile);
}

void product_tile(const void* params, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& p = params_of<PointwiseParams>(params);
  GemmEpilogue epilogue = epilogue_before_residual(p.product);
  if (p.product.bias >= 0) epilogue.row_bias = static_cast<const float*>(operands[p.product.bias]);
  if (p.product.pre >= 0) epilogue.pre = operands[p.product.pre];
  gemm_compute(p.plan, operands[p.product.a], operands[p.b], operands[p.product.y], epilogue, tile,
               context.scratch);
}

/// What a product with a row bias cannot add itself.
struct ResidualParams {
  GatheredProduct product;
  int64_t n;
};
constexpr int64_t kResidualTile = 8192;

void residual_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ResidualParams>(params);
  const Range range = piece(tile, kResidualTile, p.n);
  add_and_activate(
      epilogue_of(p.product), static_cast<const float*>(operands[p.product.residual]) + range.begin,
      static_cast<float*>(operands[p.product.y]) + range.begin, range.end - range.begin);
}

}  // namespace

void emit_pointwise(const GatheredProduct& product, bool transposed, Emitter& emit) {
  const int64_t pixels = product.grid.out_rows * product.grid.out_columns;
  GemmDesc desc = {};
  desc.batch[0] = 1;
  desc.batch[1] = product.batch;
  desc.m = product.rows;
  desc.n = pixels;
  desc.k = product.channels;
  desc.a_row = transposed ? 1 : desc.k;
  desc.a_col = transposed ? desc.m : 1;
  desc.b_row = desc.c_row = pixels;
  desc.b_col = 1;
  desc.b_batch[1] = desc.k * pixels;
  desc.c_batch[1] = desc.m * pixels;
  desc.b_streams = desc.batch[1] > 1;
  desc.row_bias = product.bias >= 0;
  if (product.bf16) {
    desc.type = GEMM_BF16;
    desc.from_float = true;
  }
  PointwiseParams p = {product, plan_gemm(desc), product.planes};
  const double elements = static_cast<double>(desc.k) * static_cast<double>(pixels) *
                          static_cast<double>(product.batch);
  if (p.plan.pack_tiles > 0) {
    p.b = emit.workspace(p.plan.packed_b_bytes);
    emit_step(emit, pack_tile, p, p.plan.pack_tiles, elements * 0.4);
  }
  emit.scratch(p.plan.scratch_bytes);
  constexpr double kProductsPerNanosecond = 2.5 * kWidth;
  emit_step(emit, product_tile, p, p.plan.compute_tiles,
            elements *
                (static_cast<double>(desc.m) * product_time(product.bf16) / kProductsPerNanosecond +
                 0.1));
  if (product.residual < 0) return;
  const ResidualParams residual{product, product.batch * product.rows * pixels};
  emit_step(emit, residual_tile, residual, ceil_div(residual.n, kResidualTile),
            20.0 + 2.0 * kMoveCost * static_cast<double>(residual.n));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
