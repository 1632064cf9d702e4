// Where the operands of attention lie, from their shapes.
#include "cpu/isa/attention.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// Heads as an axis of their own: [batch, heads, time, depth].
HeadView separate(const Tensor& tensor, int32_t operand) {
  const int64_t row = tensor.dims[3];
  const int64_t head = tensor.dims[2] * row;
  return {operand, 0, tensor.dims[1] * head, head, row};
}

/// Heads side by side in [batch, time, width], from column `first` on.
HeadView joined(const Tensor& tensor, int32_t operand, int64_t first, int64_t depth) {
  return {operand, first, tensor.dims[1] * tensor.dims[2], depth, tensor.dims[2]};
}

/// Null for an input that is left out; those at the end may be missing altogether.
const Tensor* input(const NodeView& node, int32_t i) {
  return i < node.input_count ? node.inputs[i] : nullptr;
}

void place_joined(AttentionParams& p, const NodeView& node) {
  const Tensor& q = *node.inputs[0];
  const bool k_apart = input(node, 1) != nullptr;
  const bool v_apart = input(node, 2) != nullptr;
  const Tensor& k = k_apart ? *node.inputs[1] : q;
  const Tensor& v = v_apart ? *node.inputs[2] : k;
  p.depth = q.dims[2] / (k_apart ? 1 : 3) / p.heads;
  p.value_depth = v_apart ? v.dims[2] / p.heads : p.depth;
  const int64_t width = p.heads * p.depth;
  p.keys = k.dims[1];
  p.time = q.dims[1];
  p.q = joined(q, 0, 0, p.depth);
  p.k = joined(k, k_apart ? 1 : 0, k_apart ? 0 : width, p.depth);
  p.v = joined(v, v_apart ? 2 : p.k.operand, v_apart ? 0 : p.k.at + width, p.value_depth);
  const int64_t row = p.heads * p.value_depth;
  p.y = {0, 0, p.time * row, p.value_depth, row};
}

void place_separate(AttentionParams& p, const NodeView& node) {
  const Tensor& q = *node.inputs[0];
  const Tensor& v = *node.inputs[2];
  p.heads = q.dims[1];
  p.time = q.dims[2];
  p.keys = v.dims[2];
  p.depth = q.dims[3];
  p.value_depth = v.dims[3];
  p.q = separate(q, 0);
  p.k = separate(*node.inputs[1], 1);
  p.v = separate(v, 2);
  const int64_t head = p.time * p.value_depth;
  p.y = {0, 0, p.heads * head, head, p.value_depth};
}

void place_mask(AttentionParams& p, const Tensor& mask) {
  p.mask = 3;
  int64_t stride = 1;
  for (int32_t i = 0; i < mask.rank; ++i) {
    const int64_t length = mask.dims[mask.rank - 1 - i];
    p.mask_strides[3 - i] = length == 1 ? 0 : stride;
    stride *= length;
  }
}

}  // namespace

AttentionParams attention_params(const NodeView& node) {
  const auto& attributes = attributes_of<ops::AttentionAttributes>(node);
  AttentionParams p{};
  p.batch = node.inputs[0]->dims[0];
  p.heads = attributes.heads;
  p.causal = attributes.causal;
  p.mask = p.dmask = -1;
  if (attributes.heads > 0) {
    place_joined(p, node);
  } else {
    place_separate(p, node);
  }
  if (const Tensor* const mask = input(node, 3)) place_mask(p, *mask);
  p.scale = 1.0F / __builtin_sqrtf(static_cast<float>(p.depth));
  p.bf16 = attributes.bf16 ? panel_kernels() : nullptr;
  return p;
}

double score_cost(const AttentionParams& p, int products) {
  constexpr double kFlopsPerNanosecond = 4.0 * kWidth;
  const double depth = 0.5 * static_cast<double>(p.depth + p.value_depth);
  const double exponential = kWidth == 1 ? 10.0 : 6.0 / kWidth;
  const double share = p.causal ? 0.55 : 1.0;
  const double steps = p.bf16 != nullptr ? 0.5 * p.bf16->steps_per_word : 1.0;
  return share * (2.0 * products * depth * steps / kFlopsPerNanosecond + exponential);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
