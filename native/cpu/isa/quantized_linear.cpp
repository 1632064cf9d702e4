// quantizedLinear: a product of bytes with weights of bytes. With kStatic x comes as bytes; with
// kDynamic its rows become bytes first, each by its own range; with kWeights a block of columns of
// the weight becomes floats in scratch memory for a product of floats, or few rows are multiplied
// with bytes that become floats in registers.
#include "cpu/convert.h"
#include "cpu/isa/quantized_rows.h"
#include "cpu/isa/quantized_weight.h"

TANDEM_CONVERT_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct ByteProduct {
  GemmPlan plan;
  QuantizedResult result;
  ColumnsPlace place;
  int32_t x_zero;
  int32_t x, packed;
  int32_t row_scale, row_zero;  // operands; -1 with kStatic
};

void byte_tile(const void* raw, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& p = params_of<ByteProduct>(raw);
  const auto* const packed = static_cast<const char*>(operands[p.packed]);
  GemmEpilogue epilogue = epilogue_of(p.result, operands);
  set_columns(p.place, packed, epilogue);
  epilogue.a_zero = p.x_zero;
  if (p.row_scale >= 0) {
    epilogue.row_scale = static_cast<const float*>(operands[p.row_scale]);
    epilogue.row_zero = static_cast<const int32_t*>(operands[p.row_zero]);
  }
  gemm_compute(p.plan, operands[p.x], packed, operands[p.result.y], epilogue, tile,
               context.scratch);
}

struct RowsToBytes {
  int64_t rows, k, per_tile;
  int32_t bytes, scale, zero;
};

void rows_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<RowsToBytes>(raw);
  const Range range = piece(tile, p.per_tile, p.rows);
  quantize_rows_u8(static_cast<const float*>(operands[0]) + range.begin * p.k, p.k,
                   static_cast<uint8_t*>(operands[p.bytes]) + range.begin * p.k, p.k,
                   range.end - range.begin, p.k,
                   static_cast<float*>(operands[p.scale]) + range.begin,
                   static_cast<int32_t*>(operands[p.zero]) + range.begin);
}

GemmDesc describe(int64_t m, int64_t n, int64_t k) {
  GemmDesc desc{};
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = m;
  desc.n = n;
  desc.k = k;
  desc.a_row = k;
  desc.a_col = 1;
  desc.b_row = 1;
  desc.b_col = k;
  desc.c_row = n;
  desc.b_packed = true;
  return desc;
}

/// Emits the step that makes the rows of x bytes, which the product then reads.
void emit_rows(ByteProduct& p, Emitter& emit) {
  constexpr double kCost = 0.25;  // nanoseconds an element, which is read twice
  const int64_t rows = p.plan.desc.m, k = p.plan.desc.k;
  RowsToBytes step{};
  step.rows = rows;
  step.k = k;
  step.per_tile = most(1, kMoveTile / most(k, 1));
  step.bytes = p.x = emit.workspace(rows * k);
  step.scale = p.row_scale = emit.workspace(rows * 4);
  step.zero = p.row_zero = emit.workspace(rows * 4);
  emit_step(emit, rows_tile, step, ceil_div(rows, step.per_tile),
            kCost * static_cast<double>(rows * k));
}

void launch_bytes(const NodeView& node, const ops::QuantizedProduct& product, int64_t rows,
                  Emitter& emit) {
  const Tensor& w = *node.inputs[1];
  GemmDesc desc = describe(rows, w.dims[0], w.dims[1]);
  desc.type = GEMM_S8;
  desc.c_type = product.to_bytes ? GEMM_TO_U8 : GEMM_TO_F32;
  ByteProduct p{};
  p.plan = plan_gemm(desc);
  p.result = quantized_result(node, product);
  const QuantizedWeight weight = quantized_weight(p.plan, product, w.dims[1], 1);
  p.place = weight.place;
  p.packed = freeze(weight, product.index, emit);
  p.row_scale = p.row_zero = -1;
  if (product.mode == QuantizationMode::kDynamic) {
    emit_rows(p, emit);
  } else {
    p.x_zero = product.x_zero;
  }
  emit.scratch(p.plan.scratch_bytes);
  emit_step(emit, byte_tile, p, p.plan.compute_tiles, quantized_cost(p.plan, rows));
}

// ---- weights alone -----------------------------------------------------------------------------

struct WideProduct {
  GemmPlan plan, last;  // of a block of columns, and of the last one
  QuantizedWeight weight;
  QuantizedResult result;
  int64_t columns;  // of a block
  int32_t packed;
};

void wide_tile(const void* raw, void* const* operands, int64_t tile, const TileContext& context) {
  const auto& p = params_of<WideProduct>(raw);
  const GemmDesc& whole = p.weight.plan.desc;
  const Range range = piece(tile, p.columns, whole.n);
  const int64_t columns = range.end - range.begin;
  const GemmPlan& plan = columns == p.columns ? p.plan : p.last;
  auto* const floats = static_cast<float*>(context.scratch);
  widen(p.weight, static_cast<const char*>(operands[p.packed]), range.begin, columns, floats);
  GemmEpilogue epilogue = epilogue_of(p.result, operands);
  if (epilogue.bias != nullptr) epilogue.bias += range.begin;
  if (epilogue.residual != nullptr)
    epilogue.residual = static_cast<const float*>(epilogue.residual) + range.begin;
  gemm_compute(plan, operands[0], floats, static_cast<float*>(operands[p.result.y]) + range.begin,
               epilogue, 0, static_cast<char*>(context.scratch) + plan.packed_bytes);
}

GemmPlan plan_block(const GemmDesc& whole, int64_t columns) {
  GemmDesc desc = describe(whole.m, columns, whole.k);
  desc.c_row = whole.n;
  desc.one_block = true;
  return plan_gemm(desc);
}

void launch_wide(const NodeView& node, const ops::QuantizedProduct& product, int64_t rows,
                 Emitter& emit) {
  constexpr int64_t kBlockFloats = 64 * 1024;  // a part of L2
  constexpr double kWidenCost = 2.0 / kWidth;  // nanoseconds an element
  const Tensor& w = *node.inputs[1];
  const int64_t n = w.dims[0], k = w.dims[1];
  GemmDesc desc = describe(rows, n, k);
  desc.type = GEMM_S8;
  WideProduct p{};
  p.weight = quantized_weight(plan_gemm(desc), product, k, 1);
  p.packed = freeze(p.weight, product.index, emit);
  p.result = quantized_result(node, product);
  if (rows <= kFewRows) return emit_few_rows(p.weight, p.result, p.packed, rows, emit);
  const int64_t panels = most(1, kBlockFloats / (kPanelColumns * most(k, 1)));
  p.columns = least(panels, most(1, ceil_div(n, 8 * kPanelColumns))) * kPanelColumns;
  p.plan = plan_block(desc, least(n, p.columns));
  p.columns = least(n, p.columns);
  p.last = plan_block(desc, n - (ceil_div(n, p.columns) - 1) * p.columns);
  emit.scratch(p.plan.packed_bytes + most(p.plan.scratch_bytes, p.last.scratch_bytes));
  const double widening = kWidenCost * static_cast<double>(n * k);
  emit_step(emit, wide_tile, p, ceil_div(n, p.columns),
            widening + 4.0 * quantized_cost(p.weight.plan, rows));
}

}  // namespace

void launch_quantizedLinear(const NodeView& node, Emitter& emit) {
  const auto& product = attributes_of<ops::QuantizedProduct>(node);
  if (node.outputs[0]->numel == 0) return;
  const int64_t rows = node.outputs[0]->numel / node.inputs[1]->dims[0];
  if (product.mode == QuantizationMode::kWeights) {
    launch_wide(node, product, rows, emit);
  } else {
    launch_bytes(node, product, rows, emit);
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
