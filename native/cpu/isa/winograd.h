// Convolutions with kernels of 3 x 3 that move by one pixel, with 16 multiplications for each 2 x 2
// pixels in place of 36: F(2 x 2, 3 x 3) of Lavin and Gray, "Fast Algorithms for Convolutional
// Neural Networks" (2016). A tile of 4 x 4 pixels becomes 16 numbers, as do the weights; each of
// the 16 positions is a product of matrices [out, in] * [in, tiles]; its result becomes 2 x 2
// pixels. Infinities and NaN spread to all pixels of a tile. Products of bfloat16 round the 16
// numbers, sums of pixels or weights, which costs nearly twice the error of rounding those.
#pragma once

#include "cpu/isa/conv.h"

namespace tandem::cpu::TANDEM_ISA_NS {

inline constexpr int64_t kPositions = 16;

/// Planes that are read as overlapping tiles of 4 x 4 pixels, for planes of `out_rows` x
/// `out_columns` pixels. Rows of tiles are counted over all images.
struct TileGrid {
  int64_t rows, columns;  // of a plane that is read
  int64_t out_rows, out_columns;
  int64_t padding_rows, padding_columns;
  int64_t tile_rows, tile_columns;  // of a plane
};

/// Some rows of tiles: a block whose matrices stay in the L2.
struct TileBlocks {
  int64_t total_rows, block_rows, count;
  int64_t row;  // floats of a row of a matrix [channels, tiles]
};

/// Floats between the matrices of neighbouring positions: not a multiple of a page, since all
/// positions of a tile, or of a kernel, are read and written together.
TANDEM_INLINE int64_t position_step(int64_t rows, int64_t row) {
  return round_up(rows * row, 1024) + 16;
}
TANDEM_INLINE int64_t position_step(const TileBlocks& blocks, int64_t channels) {
  return position_step(channels, blocks.row);
}

TANDEM_INLINE int64_t tiles_of_block(const TileGrid& grid, const TileBlocks& blocks,
                                     int64_t block) {
  const Range rows = piece(block, blocks.block_rows, blocks.total_rows);
  return (rows.end - rows.begin) * grid.tile_columns;
}

/// Columns that products take of the matrices of so many tiles: whole panels are faster than their
/// parts.
TANDEM_INLINE int64_t whole_panels(int64_t tiles) { return round_up(tiles, kPanelColumns); }

/// Whether this is worth it, and exact enough: the transforms cost as much for few channels, and
/// the matrices of many do not stay in the L2.
bool is_winograd(const ConvShape& shape);
/// The same of the gradient of the weights.
bool is_winograd_weight(const ConvShape& shape);
TileGrid forward_tiles(const ConvShape& shape);
TileGrid backward_tiles(const ConvShape& shape);
/// `channels`: of both sides of the product.
TileBlocks cut_tiles(const TileGrid& grid, int64_t images, int64_t channels);

/// Floats that the functions below need as `pixels`, for a channel at a time.
TANDEM_INLINE int64_t pixel_floats(const TileBlocks& blocks) { return kPositions * blocks.row; }

/// Matrices [position][channels][tiles], as far apart as position_step says, from planes: image i,
/// channel c at (i * channels + c). Zeros fill up the last panel of tiles.
void transform_planes(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                      const float* planes, int64_t channels, float* out, float* pixels);
/// The same from gradients of the pixels that tiles become.
void transform_gradients(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                         const float* planes, int64_t channels, float* out, float* pixels);

/// Where the pixels of tiles go.
struct PixelTarget {
  float* sums;            // before the activation
  float* y;               // after it; may be the same
  const float* bias;      // of the channels; or null
  const float* residual;  // laid out as y; or null
};
/// Planes from matrices [position][channels][tiles].
void restore_planes(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                    const float* matrices, int64_t channels, const GemmEpilogue& epilogue,
                    const PixelTarget& target, float* pixels);

/// The maxima of the pixels of each tile, planes of tiles, from such matrices.
void restore_maxima(const TileGrid& grid, const TileBlocks& blocks, int64_t block,
                    const float* matrices, int64_t channels, bool relu, const float* bias, float* y,
                    float* pixels);

/// `count` kernels of 3 x 3 weights, `w_step` floats apart, as 16 numbers each: those of neighbours
/// side by side, and `step` floats from one number to the next. Backwards if `turned`.
void transform_weights(const float* w, int64_t w_step, bool turned, int64_t count, float* out,
                       int64_t step);
/// The gradients of `count` kernels, one after the other, from those of such numbers.
void restore_weights(const float* numbers, int64_t step, int64_t count, float* dw);

/// As emit_gathered, for weights [out, in] of the operand or, for the gradient of x, [in, out].
void emit_winograd(const GatheredProduct& product, const TileGrid& grid, bool backward,
                   Emitter& emit);
/// Whether the maxima of so few tiles are better computed with channels in lanes.
bool has_few_tiles(const ConvShape& shape, const TileGrid& grid);
/// That, where product.maxima.
void emit_few_tiles(const GatheredProduct& product, const TileGrid& grid, Emitter& emit);
/// (x, dy) -> dw
void emit_winograd_weight(const ConvShape& shape, Emitter& emit);

}  // namespace tandem::cpu::TANDEM_ISA_NS
