// Conversions between float and the small types, as loops over arrays. Plain data, as in gemm.h.
#pragma once

#include <cstdint>

namespace tandem::cpu {

// q = saturate(round(x / scale) + zero), rounded to nearest even; NaN becomes the lowest value.
struct Quantization {
  float scale;
  int32_t zero;
};

}  // namespace tandem::cpu

// Declares the conversions of one instruction set. Inputs and outputs do not overlap.
//   float_to_bf16, bf16_to_float   to nearest even, a NaN stays one; exact
//   quantize_u8, quantize_s8       with given parameters, scale > 0
//   dequantize_u8, dequantize_s8   (q - zero) * scale
//   quantize_rows_u8               for each of `rows` rows of n values that lie x_row and q_row
//     apart: its own parameters from its range, which always takes in 0, as row_scale and row_zero
//     of GemmEpilogue want them
//   quantize_rows_s8               the same, symmetric: zero is 0, and -128 is not used
// Rows that are not finite have an unspecified result.
#define TANDEM_CONVERT_DECLARE(ns)                                                              \
  namespace tandem::cpu::ns {                                                                   \
  void float_to_bf16(const float* x, uint16_t* y, int64_t n);                                   \
  void bf16_to_float(const uint16_t* x, float* y, int64_t n);                                   \
  void quantize_u8(const float* x, uint8_t* q, int64_t n, const Quantization& by);              \
  void quantize_s8(const float* x, int8_t* q, int64_t n, const Quantization& by);               \
  void dequantize_u8(const uint8_t* q, float* x, int64_t n, const Quantization& by);            \
  void dequantize_s8(const int8_t* q, float* x, int64_t n, const Quantization& by);             \
  void quantize_rows_u8(const float* x, int64_t x_row, uint8_t* q, int64_t q_row, int64_t rows, \
                        int64_t n, float* scale, int32_t* zero);                                \
  void quantize_rows_s8(const float* x, int64_t x_row, int8_t* q, int64_t q_row, int64_t rows,  \
                        int64_t n, float* scale);                                               \
  }
