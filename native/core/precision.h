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
  /// The same of operands rounded to float16, eleven significant bits up to 65504. The gradients of
  /// small losses would vanish there and those of large ones overflow, so that losses are scaled:
  /// see core/loss_scaler.h.
  kFp16Mixed,
};

/// Makes all products of a graph products of bfloat16. The last pass before a graph is planned:
/// ops take part by a member `bf16` of their attributes, which earlier passes need not know of.
void use_bf16(Graph& graph);
/// Whether a node multiplies bfloat16.
bool uses_bf16(const Node& node);

class Backend;
/// The pass that `precision` asks for, if any, as the last one. For float16 ops take part by a
/// member `fp16` where the kernels of `backend` round factors; where it has one for roundToFloat16,
/// nodes of these come before products instead. What kernels make and multiply on their own, such
/// as the exponentials of attention, is then not rounded.
void use_precision(Graph& graph, Precision precision, const Backend& backend);

}  // namespace tandem
