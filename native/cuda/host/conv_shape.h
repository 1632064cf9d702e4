// The three products of matrices that a convolution and its gradients are. What a product sums
// over, or its columns, are gathered from planes; the functions here say which element that is.
#pragma once

#include <cstdint>

#include "core/conv_shape.h"
#include "cuda/host/both.h"

namespace tandem::cuda {

TANDEM_BOTH int64_t taps_of(const ConvShape& s) { return s.tap_rows * s.tap_columns; }
TANDEM_BOTH int64_t x_pixels(const ConvShape& s) { return s.x_rows * s.x_columns; }
TANDEM_BOTH int64_t y_pixels(const ConvShape& s) { return s.y_rows * s.y_columns; }

/// Whether each group is one channel of x: no product, but a sum for each pixel.
inline bool is_depthwise(const ConvShape& s) { return s.in == 1 && s.groups > 1; }

/// A place in a plane.
struct Pixel {
  int64_t row, column;
};

/// What a tap moves a window's pixel of x by.
TANDEM_BOTH Pixel tap_offset(const ConvShape& s, int64_t tap) {
  return {tap / s.tap_columns * s.dilation_rows, tap % s.tap_columns * s.dilation_columns};
}

/// Where the first tap of y's pixel reads x; it may lie outside.
TANDEM_BOTH Pixel window_start(const ConvShape& s, int64_t y_pixel) {
  return {y_pixel / s.y_columns * s.stride_rows - s.padding_rows,
          y_pixel % s.y_columns * s.stride_columns - s.padding_columns};
}

/// The element of x's plane at a window's start plus a tap's offset, or -1 in the padding.
TANDEM_BOTH int64_t x_element(const ConvShape& s, const Pixel& start, const Pixel& offset) {
  const int64_t row = start.row + offset.row;
  const int64_t column = start.column + offset.column;
  const bool inside = row >= 0 && row < s.x_rows && column >= 0 && column < s.x_columns;
  return inside ? row * s.x_columns + column : -1;
}

/// A pixel of x, with the padding before it.
TANDEM_BOTH Pixel padded_pixel(const ConvShape& s, int64_t x_pixel) {
  return {x_pixel / s.x_columns + s.padding_rows, x_pixel % s.x_columns + s.padding_columns};
}

/// The element of y's plane whose window meets a padded pixel of x with the tap of this offset, or
/// -1 where none does.
TANDEM_BOTH int64_t y_element(const ConvShape& s, const Pixel& padded, const Pixel& offset) {
  const int64_t row = padded.row - offset.row;
  const int64_t column = padded.column - offset.column;
  if (row < 0 || column < 0) return -1;
  // planes and paddings are bounded, so that 32 bits do, which divide faster
  const auto row_at = static_cast<uint32_t>(row);
  const auto column_at = static_cast<uint32_t>(column);
  const auto row_step = static_cast<uint32_t>(s.stride_rows);
  const auto column_step = static_cast<uint32_t>(s.stride_columns);
  if (row_at % row_step != 0 || column_at % column_step != 0) return -1;
  const int64_t y_row = row_at / row_step;
  const int64_t y_column = column_at / column_step;
  return y_row < s.y_rows && y_column < s.y_columns ? y_row * s.y_columns + y_column : -1;
}

/// How the sums of a weight's gradient, over all pixels of all images, are cut: `pieces` of `piece`
/// each, by the shape alone. Each has the whole gradient in memory before they are added in order,
/// so that larger gradients have fewer pieces.
struct WeightPieces {
  int64_t pieces, piece;
};
inline WeightPieces weight_pieces(int64_t sums, int64_t blocks, int64_t weights) {
  constexpr int64_t kEnoughBlocks = 528;
  constexpr int64_t kLeastPiece = 512;
  constexpr int64_t kMostFloats = int64_t{1} << 24;
  const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  if (sums == 0 || blocks == 0) return {1, sums};
  int64_t pieces = least(ceil_div(kEnoughBlocks, blocks), ceil_div(sums, kLeastPiece));
  pieces = least(pieces, kMostFloats / weights);
  if (pieces < 1) pieces = 1;
  const int64_t piece = ceil_div(sums, pieces);
  return {ceil_div(sums, piece), piece};
}

}  // namespace tandem::cuda
