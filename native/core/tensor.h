// Shapes and element types as plain data: kernels of every instruction set and device include this
// file, so it holds no inline function with external linkage (see docs/architecture.md, "One
// definition").
#pragma once

#include <cstddef>
#include <cstdint>

namespace tandem {

/// kUInt8: of quantized graphs alone, values and weights (whose bytes are signed). kBFloat16 and
/// kFloat16: of factors of products, see core/rounded_factors.h.
enum class DType : uint8_t { kFloat32, kInt32, kUInt8, kBFloat16, kFloat16 };

inline constexpr int kMaxRank = 8;

/// What is known of a tensor: its element type and its dimensions, outermost first, C-contiguous
/// but for `padding`.
struct Tensor {
  int64_t dims[kMaxRank];
  int64_t numel;  ///< product of the dimensions; 1 for a scalar
  int32_t rank;
  DType dtype;
  /// Numbers in memory behind each row of the last dimension, see core/rounded_factors.h: zeros
  /// in types of 16 bits, anything in float32.
  uint8_t padding;
};

/// A short list of integers as an attribute: axes, a permutation, a shape.
struct IntList {
  int64_t values[kMaxRank];
  int32_t count;
};

}  // namespace tandem
