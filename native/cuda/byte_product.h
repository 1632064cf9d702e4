// Products of bytes: what they are, and their launchers.
#pragma once

#include <cstdint>

#include "cuda/host/byte_choices.h"
#include "cuda/launch.h"

namespace tandem::cuda {

/// y[row, column] = act((sum - zero * weight_sum) * scale * row_scale + bias).
struct ByteResult {
  const int32_t* weight_sums;  ///< by column
  const float* scales;         ///< by column
  const float* bias;           ///< by column, null for none
  const float* row_scales;     ///< null for 1
  const int32_t* row_zeros;    ///< added to x_zero; null for none
  void* y;
  int64_t columns;
  int32_t x_zero;
  int32_t activation;  ///< a unary Op, or -1
  float a, b;          ///< the activation's attributes
  float inverse;       ///< 1 / scale of y
  int32_t y_zero;
  bool to_bytes;
};

/// Images of bytes, channels last, that the rows of a product are windows of.
struct ByteImages {
  int32_t rows, columns, channels;
  int32_t y_rows, y_columns;
  int32_t tap_columns, taps;
  int32_t stride_rows, stride_columns, padding_rows, padding_columns;
  int32_t dilation_rows, dilation_columns;
};

/// Where rows of a product come from.
enum class ByteSource : uint8_t {
  kRows,      ///< a matrix [m, k], whose k is a multiple of kByteUnit
  kPixels,    ///< windows of images whose channels are a multiple of kByteUnit
  kGathered,  ///< windows of any other images
};

struct ByteProduct {
  int64_t m, n;
  int64_t k;  ///< bytes of a row of w, a multiple of kByteUnit
  const uint8_t* x;
  const int8_t* w;    ///< [n, k]
  ByteImages images;  ///< but for kRows
  ByteSource source;
  ByteResult result;
};

/// Computes y; measures what it takes of workspace.
void launch_byte_product(Launch& launch, const ByteProduct& product);
/// The same in one of the ways of ByteChoices::ways().
void launch_byte_way(Launch& launch, const ByteProduct& product, ByteWay way);
/// The same by groups of warps: 128 rows and `columns`, 128 or 256, to a block; x comes as kRows.
/// Throws ERR_DEVICE where the current device does not have it.
void launch_byte_warpgroups(Launch& launch, const ByteProduct& product, int64_t columns);

}  // namespace tandem::cuda
