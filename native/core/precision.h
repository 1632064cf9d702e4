// In what number format a graph's matrix products are computed.
#pragma once

#include "core/graph.h"

namespace tandem {

enum class Precision : uint8_t {
  kFloat32,
  /// Products of operands rounded to bfloat16 (to nearest even), summed in float32: those of
  /// matrices, attention, convolutions and recurrences. Parameters, values between ops, optimizer
  /// state, statistics of softmax and all that is no product stay float32: Micikevicius et al.,
  /// "Mixed Precision Training" (2018), which bfloat16 needs no scaling of the loss for. What
  /// floats compute as fast (groups of one channel, planes of one channel) stays float32, too.
  kBf16Mixed,
};

/// Makes all products of a graph products of bfloat16. The last pass before a graph is planned:
/// ops take part by a member `bf16` of their attributes, which earlier passes need not know of.
void use_bf16(Graph& graph);
/// Whether a node multiplies bfloat16.
bool uses_bf16(const Node& node);

}  // namespace tandem
