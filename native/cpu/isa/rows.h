// Elementwise ops of two and three operands over contiguous elements, for kernels that compute
// several of them on a block that stays in the first cache; kernels.h has those of one.
#pragma once

#include "core/op_id.h"
#include "cpu/kernel.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// The operand that is one element, the same for all.
enum class Repeat : int32_t { kNeither, kA, kB };

using BinaryRowFn = void (*)(const float* a, const float* b, float* out, int64_t n, Repeat repeat);
/// The row function of a BINARY of elementwise.def; null for other ops.
BinaryRowFn binary_row_function(Op op);

/// y = a where c is not zero, b elsewhere; c is int32 with `integer` and float otherwise.
void where_row(const void* c, bool integer, const float* a, const float* b, float* y, int64_t n);

/// Nanoseconds an element of a UNARY, of its gradient or of a BINARY, memory included.
double row_cost(Op op);

}  // namespace tandem::cpu::TANDEM_ISA_NS
