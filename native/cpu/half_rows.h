// Numbers of 16 bits and floats, row by row: the reference for what devices with kernels for such
// numbers do (core/rounded_factors.h). Not in isa/, since plans for the CPU have none of them.
#pragma once

#include "cpu/kernel.h"

namespace tandem::cpu {

/// Rows of 16 bits, `padding` zeros behind each, and the same as floats; operands by position.
struct HalfRows {
  int64_t rows, columns;
  int32_t padding;
  int32_t halves, floats;
  bool bfloat16;
};
HalfRows half_rows(const Tensor& halves, int32_t half_operand, int32_t float_operand);

/// Tile functions, a row a tile. To nearest even; a NaN stays one.
void narrow_rows(const void* params, void* const* operands, int64_t row, const TileContext&);
void widen_rows(const void* params, void* const* operands, int64_t row, const TileContext&);

}  // namespace tandem::cpu
