// Matrix products: linear, matmul and the fused form, cut into the tiles of gemm.h. Frozen weights
// are packed once; other right-hand sides are packed into the arena where the plan wants it.
#include "core/ops/fused_matmul.h"
#include "core/ops/linear.h"
#include "cpu/gemm_kernels.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/vec.h"

TANDEM_GEMM_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

using Attributes = ops::FusedMatMul::Attributes;

/// Elements of A that are worth a step that packs them.
constexpr int64_t kWorthPacking = 16 * 1024;

/// One step's parameters. Operands are named by position; -1 is none.
struct Product {
  GemmPlan plan;
  int64_t a_offset, b_offset, c_offset;  // elements, for batches beyond what a plan takes
  int32_t a, b, bias, saved, residual, y, pre;
  RowFn activation;
  bool relu, gradient;
  float params[2];
};

/// The tiles of A follow those of B.
void pack_tile(const void* raw, void* const* operands, int64_t tile,
               const TileContext& /*context*/) {
  const auto& product = *static_cast<const Product*>(raw);
  const int64_t of_b = product.plan.desc.b_packed ? 0 : product.plan.pack_tiles;
  if (tile < of_b) {
    gemm_pack_b(product.plan, static_cast<const float*>(operands[1]) + product.b_offset,
                operands[product.b], tile);
  } else {
    gemm_pack_a(product.plan, static_cast<const float*>(operands[0]) + product.a_offset,
                operands[product.a], tile - of_b);
  }
}

/// The same for frozen weights, whose operands are the weight and the packed memory alone.
void pack_frozen_tile(const void* raw, void* const* operands, int64_t tile,
                      const TileContext& /*context*/) {
  const auto& product = *static_cast<const Product*>(raw);
  gemm_pack_b(product.plan, operands[0], operands[1], tile);
}

void product_tile(const void* raw, void* const* operands, int64_t tile,
                  const TileContext& context) {
  const auto& product = *static_cast<const Product*>(raw);
  GemmEpilogue epilogue{};
  if (product.bias >= 0) epilogue.bias = static_cast<const float*>(operands[product.bias]);
  if (product.pre >= 0)
    epilogue.pre = static_cast<float*>(operands[product.pre]) + product.c_offset;
  if (product.residual >= 0)
    epilogue.residual = static_cast<const float*>(operands[product.residual]) + product.c_offset;
  epilogue.params = product.params;
  if (product.gradient) {
    epilogue.apply_grad = product.activation;
    // derivatives that read nothing saved (neg, scale) get memory of the right size all the same
    epilogue.saved =
        static_cast<const float*>(operands[product.saved >= 0 ? product.saved : product.y]) +
        product.c_offset;
  } else if (product.relu) {
    epilogue.activation = GEMM_ACT_RELU;
  } else if (product.activation != nullptr) {
    epilogue.activation = GEMM_ACT_APPLY;
    epilogue.apply = product.activation;
  }
  const GemmSource source = product.plan.source;
  const bool packed = source == GEMM_B_PACKED || source == GEMM_B_SPLIT;
  const bool packed_a = product.plan.pack_a_tiles > 0;
  gemm_compute(product.plan,
               static_cast<const float*>(operands[product.a]) + (packed_a ? 0 : product.a_offset),
               static_cast<const float*>(operands[product.b]) + (packed ? 0 : product.b_offset),
               static_cast<float*>(operands[product.y]) + product.c_offset, epilogue, tile,
               context.scratch);
}

/// Batch dimensions of a broadcast product, neighbours merged where all three operands allow it.
struct Batches {
  int32_t count;
  int64_t size[kMaxRank], a[kMaxRank], b[kMaxRank], c[kMaxRank];
};

Batches merge_batches(const Tensor& a, const Tensor& b, const Tensor& y) {
  Batches out{};
  int64_t a_stride = a.dims[a.rank - 2] * a.dims[a.rank - 1];
  int64_t b_stride = b.dims[b.rank - 2] * b.dims[b.rank - 1];
  int64_t c_stride = y.dims[y.rank - 2] * y.dims[y.rank - 1];
  for (int32_t i = 3; i <= y.rank; ++i) {  // from the innermost batch dimension outwards
    const int64_t size = y.dims[y.rank - i];
    const int64_t a_size = i <= a.rank ? a.dims[a.rank - i] : 1;
    const int64_t b_size = i <= b.rank ? b.dims[b.rank - i] : 1;
    const int64_t a_step = a_size == 1 ? 0 : a_stride;
    const int64_t b_step = b_size == 1 ? 0 : b_stride;
    if (size != 1) {
      const int32_t last = out.count - 1;
      const bool merges = last >= 0 && a_step == out.a[last] * out.size[last] &&
                          b_step == out.b[last] * out.size[last];
      if (merges) {
        out.size[last] *= size;
      } else {
        out.size[out.count] = size;
        out.a[out.count] = a_step;
        out.b[out.count] = b_step;
        out.c[out.count] = c_stride;
        ++out.count;
      }
    }
    a_stride *= a_size;
    b_stride *= b_size;
    c_stride *= size;
  }
  return out;
}

GemmDesc describe(const NodeView& node, const Attributes& attributes, Batches& batches) {
  const Tensor& a = *node.inputs[0];
  const Tensor& b = *node.inputs[1];
  GemmDesc desc{};
  desc.batch[0] = desc.batch[1] = 1;
  if (attributes.bf16) {
    desc.type = GEMM_BF16;
    desc.from_float = true;
  }
  if (attributes.linear) {
    desc.k = b.dims[1];
    desc.n = b.dims[0];
    desc.m = 1;
    for (int32_t i = 0; i + 1 < a.rank; ++i) desc.m *= a.dims[i];
    desc.a_row = desc.k;
    desc.a_col = 1;
    desc.b_row = 1;
    desc.b_col = desc.k;
    desc.c_row = desc.n;
    return desc;
  }
  const int64_t a_last = a.dims[a.rank - 1];
  const int64_t b_last = b.dims[b.rank - 1];
  desc.m = attributes.trans_a ? a_last : a.dims[a.rank - 2];
  desc.k = attributes.trans_a ? a.dims[a.rank - 2] : a_last;
  desc.n = attributes.trans_b ? b.dims[b.rank - 2] : b_last;
  desc.a_row = attributes.trans_a ? 1 : a_last;
  desc.a_col = attributes.trans_a ? a_last : 1;
  desc.b_row = attributes.trans_b ? 1 : b_last;
  desc.b_col = attributes.trans_b ? b_last : 1;
  desc.c_row = desc.n;
  batches = merge_batches(a, b, *node.outputs[0]);
  for (int32_t i = 0; i < 2 && i < batches.count; ++i) {
    desc.batch[1 - i] = batches.size[i];
    desc.a_batch[1 - i] = batches.a[i];
    desc.b_batch[1 - i] = batches.b[i];
    desc.c_batch[1 - i] = batches.c[i];
  }
  return desc;
}

Product make_product(const NodeView& node, const Attributes& attributes) {
  Product product{};
  product.b = 1;
  product.bias = node.input_count > 2 && node.inputs[2] != nullptr ? 2 : -1;
  product.saved = node.input_count > 3 && node.inputs[3] != nullptr ? 3 : -1;
  product.residual = node.input_count > 4 && node.inputs[4] != nullptr ? 4 : -1;
  product.y = node.input_count;
  product.pre = attributes.save_pre ? node.input_count + 1 : -1;
  product.params[0] = attributes.activation_attributes.a;
  product.params[1] = attributes.activation_attributes.b;
  if (attributes.activation >= 0) {
    const auto op = static_cast<Op>(attributes.activation);
    product.relu = op == Op::relu;
    product.gradient = attributes.gradient;
    product.activation = row_function(op);
  }
  return product;
}

/// Few rows wait for B, which comes from the L2 at best.
double cost_of(const GemmPlan& plan) {
  const GemmDesc& desc = plan.desc;
  const double batch = static_cast<double>(desc.batch[0]) * static_cast<double>(desc.batch[1]);
  const double weights = static_cast<double>(desc.n) * static_cast<double>(desc.k);
  constexpr double kFlopsPerNanosecond = 5.0 * kWidth;
  constexpr double kFloatsPerNanosecond = 25.0;
  const double macs = static_cast<double>(desc.m) * static_cast<double>(desc.n) *
                      static_cast<double>(plan.k_words) * desc.kernels->steps_per_word;
  const double compute = 2.0 * macs / kFlopsPerNanosecond;
  const double load = weights / kFloatsPerNanosecond;
  return batch * (compute > load ? compute : load) + 100.0;
}

void emit_product(Product product, Emitter& emit) {
  const GemmDesc& desc = product.plan.desc;
  constexpr double kPackCost = 0.4;  // nanoseconds an element
  const auto k = static_cast<double>(desc.k);
  int64_t tiles = product.plan.pack_a_tiles;
  double cost = 0;
  if (tiles > 0) {
    product.a = emit.workspace(product.plan.packed_a_bytes);
    cost += kPackCost * k * static_cast<double>(desc.m);
  }
  if (product.plan.pack_tiles > 0 && !desc.b_packed) {
    product.b = emit.workspace(product.plan.packed_b_bytes);
    tiles += product.plan.pack_tiles;
    cost += kPackCost * k * static_cast<double>(desc.n * product.plan.b_matrices);
  }
  if (tiles > 0) emit.step(pack_tile, &product, sizeof product, tiles, cost);
  emit.scratch(product.plan.scratch_bytes);
  emit.step(product_tile, &product, sizeof product, product.plan.compute_tiles,
            cost_of(product.plan));
}

void launch(const NodeView& node, const Attributes& attributes, Emitter& emit) {
  Batches batches{};
  Product product = make_product(node, attributes);
  GemmDesc desc = describe(node, attributes, batches);
  if (node.outputs[0]->numel == 0) return;

  desc.pack_a_first = desc.m * desc.k > kWorthPacking;
  if (node.inputs[1]->rank == 2) {
    desc.b_packed = true;
    product.plan = plan_gemm(desc);
    // By what the sides are, as strides do not tell those of a weight of one row or column apart.
    const uint64_t layout = (attributes.trans_b ? 1 : 2) + (attributes.bf16 ? 2 : 0);
    const int packed = emit.frozen(1, layout, pack_frozen_tile, &product, sizeof product,
                                   product.plan.pack_tiles, product.plan.packed_b_bytes);
    if (packed >= 0) {
      product.b = packed;
      emit_product(product, emit);
      return;
    }
    desc.b_packed = false;
  }
  product.plan = plan_gemm(desc);
  // batch dimensions beyond two become steps of their own
  int64_t outer = 1;
  for (int32_t i = 2; i < batches.count; ++i) outer *= batches.size[i];
  for (int64_t o = 0; o < outer; ++o) {
    int64_t rest = o;
    product.a_offset = product.b_offset = product.c_offset = 0;
    for (int32_t i = 2; i < batches.count; ++i) {
      const int64_t at = rest % batches.size[i];
      rest /= batches.size[i];
      product.a_offset += at * batches.a[i];
      product.b_offset += at * batches.b[i];
      product.c_offset += at * batches.c[i];
    }
    emit_product(product, emit);
  }
}

}  // namespace

void launch_linear(const NodeView& node, Emitter& emit) {
  Attributes attributes{};
  attributes.bf16 = static_cast<const ops::Linear::Attributes*>(node.attributes)->bf16;
  attributes.linear = true;
  attributes.trans_b = true;
  launch(node, attributes, emit);
}

void launch_matmul(const NodeView& node, Emitter& emit) {
  const auto& plain = *static_cast<const ops::MatMul::Attributes*>(node.attributes);
  Attributes attributes{};
  attributes.trans_a = plain.trans_a;
  attributes.trans_b = plain.trans_b;
  attributes.bf16 = plain.bf16;
  launch(node, attributes, emit);
}

void launch_fusedMatmul(const NodeView& node, Emitter& emit) {
  launch(node, *static_cast<const Attributes*>(node.attributes), emit);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
