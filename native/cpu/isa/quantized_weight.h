// Weights of quantized products: from floats to the panels of bytes that the register kernels
// read, and back. They are made once, from a frozen parameter.
#pragma once

#include "core/ops/quantized.h"
#include "cpu/isa/gemm_kernel.h"
#include "cpu/isa/kernels.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Where in the packed memory is what a product needs to know of columns.
struct ColumnsPlace {
  int64_t sum_bytes;  // of a sum; 0: there are none, as only a zero point other than 0 needs them
  int64_t sums_at;    // bytes before the sums of the columns, whole vectors of them
  int64_t scales_at;  // the same before scales * x_scale, [out]
};

/// Tells an epilogue of them.
TANDEM_INLINE void set_columns(const ColumnsPlace& place, const char* packed,
                               GemmEpilogue& epilogue) {
  epilogue.scale = reinterpret_cast<const float*>(packed + place.scales_at);
  const char* const sums = packed + place.sums_at;
  if (place.sum_bytes == 2) epilogue.short_sums = reinterpret_cast<const int16_t*>(sums);
  if (place.sum_bytes == 4) epilogue.sums = reinterpret_cast<const int32_t*>(sums);
}

/// A weight [out, channels, taps] of floats as a matrix of bytes [taps * channels, out], with the
/// number of a column of bytes in front of that of its tap. taps = 1: [out, in]. In several groups
/// each has a matrix of its own, with `plan.desc.n` of the rows of the weight.
struct QuantizedWeight {
  GemmPlan plan;        // of products with it; k may be filled up beyond taps * channels
  const float* scales;  // [out]
  float x_scale;        // what sums are multiplied with as well
  int64_t channels, taps;
  ColumnsPlace place;
  int64_t bytes;  // of the packed memory of a group
  int64_t groups;
};

QuantizedWeight quantized_weight(const GemmPlan& plan, const ops::QuantizedProduct& product,
                                 int64_t channels, int64_t taps, int64_t groups = 1);

/// Packs weight input 1 of the node and returns its operand.
int freeze(const QuantizedWeight& weight, int32_t index, Emitter& emit);

/// Columns from `first` on as panels of floats [k][width], times their scales: what products of
/// floats with B packed read.
void widen(const QuantizedWeight& w, const char* packed, int64_t first, int64_t columns,
           float* out);

/// Rounded to nearest even, in [-127, 127]: both signs reach equally far.
TANDEM_INLINE int32_t quantized_weight_of(float x, float scale) {
  float v = x / scale;
  v = v > 127.0F ? 127.0F : v < -127.0F ? -127.0F : v;
  const float shifted = v + 0x1.8p23F;
  int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  return (bits & 0x7fffff) - 0x400000;
}

/// What a weight is packed from, by operands as Emitter::frozen() gives them: floats, or bytes that
/// have been rounded before, of a quantized file.
struct WeightSource {
  const float* floats;
  const int8_t* bytes;  // null where there are floats
};

TANDEM_INLINE int32_t byte_of(const WeightSource& weight, int64_t i, float scale) {
  return weight.bytes != nullptr ? weight.bytes[i] : quantized_weight_of(weight.floats[i], scale);
}

TANDEM_INLINE WeightSource weight_source(void* const* operands) {
  return {static_cast<const float*>(operands[0]), static_cast<const int8_t*>(operands[2])};
}

/// y = act(x * w + b + residual), in floats or bytes: what a product's epilogue needs of its
/// attributes. Operands are named by position; -1 is none.
struct QuantizedResult {
  RowFn activation;
  bool relu;
  float params[2];
  float inverse;  // 1 / scale of y
  int32_t zero;   // of y
  int32_t bias, residual, y;
};

QuantizedResult quantized_result(const NodeView& node, const ops::QuantizedProduct& product);
GemmEpilogue epilogue_of(const QuantizedResult& result, void* const* operands);

/// Nanoseconds of a product on one core.
double quantized_cost(const GemmPlan& plan, int64_t rows);

}  // namespace tandem::cpu::TANDEM_ISA_NS
