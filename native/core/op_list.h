// The enumeration of all ops: elementwise ones first, each unary op and pointwise loss followed by
// its gradient. Plain data, safe for kernels of any instruction set.
#pragma once

#include <cstdint>

#include "core/op_id.h"

namespace tandem {

enum class Op : uint16_t {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) name, name##Grad,
#define BINARY(name, forward, gradient_a, gradient_b) name,
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) name, name##Grad, name##GradTarget,
#include "core/elementwise.def"
#define OP(name, Type) name,
#include "core/ops.def"
  kCount
};

inline constexpr int kOpCount = static_cast<int>(Op::kCount);

/// Attributes of every elementwise op.
struct ElementwiseAttributes {
  float a;
  float b;
};

}  // namespace tandem
