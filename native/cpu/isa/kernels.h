// Declares the launchers of one instruction set: from this list come the tables that the backend
// chooses from, and a declared but missing kernel is a link error.
#pragma once

#include "cpu/kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  void launch_##name(const NodeView& node, Emitter& emit);                  \
  void launch_##name##Grad(const NodeView& node, Emitter& emit);
#define BINARY(name, forward, gradient_a, gradient_b) \
  void launch_##name(const NodeView& node, Emitter& emit);
#define LOSS(name, A, a_default, value, gradient_x, gradient_t)  \
  void launch_##name(const NodeView& node, Emitter& emit);       \
  void launch_##name##Grad(const NodeView& node, Emitter& emit); \
  void launch_##name##GradTarget(const NodeView& node, Emitter& emit);
#include "core/elementwise.def"
#define OP(name, Type) void launch_##name(const NodeView& node, Emitter& emit);
#include "core/ops.def"

/// An elementwise op over `n` contiguous elements, for epilogues of the matrix product. `params`:
/// the attributes a and b. For a gradient op, `in` is dy and `saved` what the forward op kept.
using RowFn = void (*)(const float* in, const float* saved, float* out, int64_t n,
                       const float* params);
/// The row function of a unary op or of its gradient.
RowFn row_function(Op op);

}  // namespace tandem::cpu::TANDEM_ISA_NS
