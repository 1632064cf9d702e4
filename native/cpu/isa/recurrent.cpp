// The steps that lstm, gru and their gradients emit.
#include "cpu/isa/recurrent.h"

#include "core/ops/quantized.h"
#include "cpu/convert.h"
#include "cpu/isa/quantized_weight.h"

TANDEM_CONVERT_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

struct PackParams {
  GemmPlan plan;
  int32_t input, packed;  // operands
};

void pack_tile(const void* params, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<PackParams>(params);
  gemm_pack_b(p.plan, operands[p.input], operands[p.packed], tile);
}

/// Rows of a tile: the more of them, the fewer times weights are read; a batch should make several
/// tiles all the same.
int64_t rows_of_tile(int64_t weights) {
  constexpr int64_t kNear = 128 * 1024;  // weights that are close enough for few rows
  return weights <= kNear ? 8 : 16;
}

/// Plans the product of each step; `desc` lacks m, batches and type.
void plan_steps(Recurrence& p, GemmDesc desc, bool bf16) {
  p.parts = cut(p.batch, ceil_div(p.batch, rows_of_tile(desc.k * desc.n)));
  desc.batch[0] = desc.batch[1] = 1;
  desc.b_packed = true;
  if (bf16) {
    desc.type = GEMM_BF16;
    desc.from_float = true;
  }
  for (int64_t i = 0; i < 2; ++i) {
    desc.m = p.parts.size + i;
    p.plans[i] = plan_gemm(desc);
    p.floats_at = most(p.floats_at, p.plans[i].scratch_bytes);
  }
  p.floats_at = round_up(p.floats_at, 64);
}

Recurrence recurrence(const Tensor& gates, const Tensor& weights) {
  Recurrence p{};
  p.batch = gates.dims[0];
  p.time = gates.dims[1];
  p.gates = gates.dims[2];
  p.units = weights.dims[1];
  p.kept = -1;
  p.scales_at = p.sums_at = p.states_at = -1;
  return p;
}

/// The product of a step of a forward node.
GemmDesc forward_product(const Recurrence& p) {
  GemmDesc desc{};
  desc.k = p.units;
  desc.n = p.gates;
  desc.a_row = p.time * p.units;
  desc.a_col = 1;
  desc.b_row = 1;
  desc.b_col = p.units;
  desc.c_row = p.gates;
  return desc;
}

Recurrence forward_recurrence(const NodeView& node) {
  Recurrence p = recurrence(*node.inputs[0], *node.inputs[1]);
  if (node.output_count > 1) p.kept = node.input_count + 1;
  plan_steps(p, forward_product(p), attributes_of<ops::RecurrentAttributes>(node).bf16);
  return p;
}

Recurrence backward_recurrence(const NodeView& node, const BackwardRecurrence& of) {
  Recurrence p = recurrence(*node.inputs[0], *node.inputs[of.weights]);
  GemmDesc desc{};
  desc.k = p.gates;
  desc.n = p.units;
  desc.a_row = p.time * p.gates;
  desc.a_col = 1;
  desc.b_row = p.units;
  desc.b_col = 1;
  desc.c_row = p.units;
  desc.accumulate = of.accumulate;
  plan_steps(p, desc, attributes_of<ops::RecurrentGradAttributes>(node).bf16);
  return p;
}

/// Packs the weights, input `input`: once for all where they are frozen, else before the
/// recurrence.
void emit_weights(Recurrence& p, const NodeView& node, int32_t input, Emitter& emit) {
  PackParams pack{p.plans[0], 0, 1};
  const GemmPlan& plan = pack.plan;
  // As in the kernels of other products, so that they share what is frozen.
  const uint64_t layout = (plan.desc.b_row == 1 ? 1 : 2) + (plan.desc.type == GEMM_BF16 ? 2 : 0);
  p.weights = emit.frozen(input, layout, pack_tile, &pack, sizeof pack, plan.pack_tiles,
                          plan.packed_b_bytes);
  if (p.weights >= 0) return;
  p.weights = emit.workspace(plan.packed_b_bytes);
  pack.input = input;
  pack.packed = p.weights;
  emit_step(emit, pack_tile, pack, plan.pack_tiles,
            20.0 + 0.4 * static_cast<double>(node.inputs[input]->numel));
}

/// The weights of a recurrence as bytes.
QuantizedWeight byte_weight(const Recurrence& p, const ops::ByteWeight& of) {
  GemmDesc desc = forward_product(p);
  desc.batch[0] = desc.batch[1] = 1;
  desc.m = 1;
  desc.b_packed = true;
  desc.type = GEMM_S8;
  ops::QuantizedProduct product{};
  product.mode = QuantizationMode::kWeights;  // tiles find the sums of the columns themselves
  product.weight_scales = of.weight_scales;
  return quantized_weight(plan_gemm(desc), product, p.units, 1);
}

/// States become bytes in each step.
void plan_bytes(Recurrence& p, const QuantizedWeight& weight, int32_t packed) {
  GemmDesc desc = forward_product(p);
  desc.type = GEMM_S8;
  desc.c_type = GEMM_TO_F32;
  desc.a_row = p.units;
  plan_steps(p, desc, false);
  p.weights = packed;
  p.scales_at = weight.place.scales_at;
  p.sums_at = p.floats_at;
  p.states_at = p.sums_at + round_up(p.gates, kPanelColumns) * 4;
  const int64_t rows = p.parts.size + 1;
  p.floats_at = p.states_at + round_up(rows * p.units, 64) + 2 * round_up(rows * 4, 64);
}

/// `floats`: of a row of a tile, behind the kernels' scratch memory.
void emit_steps(const Recurrence& p, TileFn tile, int64_t floats, Emitter& emit) {
  const int64_t rows = p.parts.size + (p.parts.longer > 0 ? 1 : 0);
  emit.scratch(p.floats_at + rows * floats * static_cast<int64_t>(sizeof(float)));
  const double steps = static_cast<double>(p.batch) * static_cast<double>(p.time);
  const double gates = static_cast<double>(p.gates);
  constexpr double kFlopsPerNanosecond = 5.0 * kWidth;
  constexpr double kGateCost = kWidth == 1 ? 12.0 : 14.0 / kWidth;  // besides the product
  const GemmKernels& kernels = *p.plans[0].desc.kernels;
  const double product = 2.0 * gates * static_cast<double>(p.units) * kernels.steps_per_word /
                         (kFlopsPerNanosecond * kernels.group);
  emit_step(emit, tile, p, p.parts.count, 50.0 + steps * (product + gates * kGateCost));
}

}  // namespace

void emit_forward(const NodeView& node, TileFn tile, Emitter& emit) {
  if (node.outputs[0]->numel == 0) return;
  Recurrence p = forward_recurrence(node);
  emit_weights(p, node, 1, emit);
  emit_steps(p, tile, p.gates + p.units, emit);
}

void sum_bytes(const Recurrence& p, const void* packed, void* scratch) {
  if (p.sums_at < 0) return;
  const GemmPlan& plan = p.plans[0];
  const int64_t n = plan.desc.n, word = plan.desc.kernels->b_word;
  auto* const sums = reinterpret_cast<int32_t*>(static_cast<char*>(scratch) + p.sums_at);
  for (int64_t first = 0; first < n; first += kPanelColumns) {
    const int64_t width = n - first > kLanes ? kPanelColumns : kLanes;
    const char* panel = static_cast<const char*>(packed) + first * plan.k_words * word;
    sum_columns(panel, static_cast<int>(word), plan.k_words, width, sums + first);
  }
}

void multiply_bytes(const Recurrence& p, int64_t rows, const float* a, const void* packed, float* c,
                    GemmEpilogue epilogue, void* scratch) {
  const GemmPlan& plan = p.plans[rows - p.parts.size];
  auto* const bytes = static_cast<uint8_t*>(scratch) + p.states_at;
  const int64_t most_rows = p.parts.size + 1;
  auto* const scale = reinterpret_cast<float*>(bytes + round_up(most_rows * p.units, 64));
  auto* const zero = reinterpret_cast<int32_t*>(scale) + round_up(most_rows * 4, 64) / 4;
  quantize_rows_u8(a, p.time * p.units, bytes, p.units, rows, p.units, scale, zero);
  epilogue.scale = reinterpret_cast<const float*>(static_cast<const char*>(packed) + p.scales_at);
  epilogue.sums = reinterpret_cast<const int32_t*>(static_cast<const char*>(scratch) + p.sums_at);
  epilogue.row_scale = scale;
  epilogue.row_zero = zero;
  for (int64_t i = 0; i < plan.compute_tiles; ++i)
    gemm_compute(plan, bytes, packed, c, epilogue, i, scratch);
}

void emit_quantized_forward(const NodeView& node, TileFn tile, Emitter& emit) {
  if (node.outputs[0]->numel == 0) return;
  const auto& attributes = attributes_of<ops::ByteWeight>(node);
  Recurrence p = recurrence(*node.inputs[0], *node.inputs[1]);
  const QuantizedWeight weight = byte_weight(p, attributes);
  plan_bytes(p, weight, freeze(weight, attributes.index, emit));
  emit_steps(p, tile, p.gates + p.units, emit);
}

void emit_backward(const NodeView& node, const BackwardRecurrence& of, TileFn tile, Emitter& emit) {
  if (node.outputs[0]->numel == 0) return;
  Recurrence p = backward_recurrence(node, of);
  emit_weights(p, node, of.weights, emit);
  emit_steps(p, tile, of.scratch_units * p.units, emit);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
