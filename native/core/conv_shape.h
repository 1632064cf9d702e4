// A convolution as the kernels of all devices see it: a line is a plane of one row.
#pragma once

#include <cstdint>

#include "core/ops/conv.h"

namespace tandem {

/// From planes x, [n, groups * in, rows, columns], to planes y, [n, groups * out, rows, columns],
/// with weights [groups * out, in, taps of a column, taps of a row]. Its gradients go the other way
/// round.
struct ConvShape {
  int64_t batch, groups;
  int64_t in, out;  ///< channels of a group
  int64_t x_rows, x_columns, y_rows, y_columns;
  int64_t tap_rows, tap_columns;
  int64_t stride_rows, stride_columns;
  int64_t padding_rows, padding_columns;
  int64_t dilation_rows, dilation_columns;
  bool bf16;  ///< products of rounded operands where they are worth it
};

/// `x`, `y` and `w`: [n, channels, (h,) w] and [groups * out, in, (kh,) kw].
ConvShape conv_shape(const Tensor& x, const Tensor& y, const Tensor& w,
                     const ops::ConvAttributes& attributes);
/// The same for the y that x and w make.
ConvShape conv_shape(const Tensor& x, const Tensor& w, const ops::ConvAttributes& attributes);

}  // namespace tandem
