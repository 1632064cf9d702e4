// Products of few rows of floats with weights of bytes.
#pragma once

#include "cpu/isa/quantized_weight.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Rows up to which emit_few_rows is the faster way.
extern const int64_t kFewRows;

/// y = act(x * w^T + b + residual) with x [rows, k] of floats, operand 0. Bytes become floats in
/// registers, so that a weight is read once for some rows, at a quarter of the memory traffic of
/// floats.
void emit_few_rows(const QuantizedWeight& weight, const QuantizedResult& result, int32_t packed,
                   int64_t rows, Emitter& emit);

}  // namespace tandem::cpu::TANDEM_ISA_NS
