// What the kernels of convolution share: a convolution as a product of matrices whose one operand,
// [channels * taps][pixels], is gathered from planes straight into the panels that the register
// kernels read. It exists nowhere as a whole.
#pragma once

#include "core/conv_shape.h"
#include "core/ops/fused_conv.h"
#include "cpu/isa/gemm_kernel.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/windows.h"

namespace tandem::cpu::TANDEM_ISA_NS {

/// Whether each group is one channel of x.
TANDEM_INLINE bool is_depthwise(const ConvShape& shape) {
  return shape.in == 1 && shape.groups > 1;
}
/// Whether each pixel of y is made of one of x, and there are enough of them to fill vectors.
TANDEM_INLINE bool is_pointwise(const ConvShape& s) {
  return s.tap_rows * s.tap_columns * s.stride_rows * s.stride_columns * s.groups == 1 &&
         s.padding_rows + s.padding_columns == 0 && s.y_rows * s.y_columns >= kPanelColumns;
}
/// Whether a gathered product over these channels of a group is one of bfloat16, whose words hold
/// the numbers of two channels: one alone would fill half of each.
TANDEM_INLINE bool pairs_channels(const ConvShape& s, int64_t channels) {
  return s.bf16 && channels > 1;
}
/// Multiplications of all of it.
double conv_products(const ConvShape& shape);

/// Where the pixels of a grid of `out_columns` columns find what their taps read.
struct ConvGrid {
  int64_t rows, columns;  // of a plane that is read
  int64_t out_rows, out_columns;
  WindowTaps row_taps, column_taps;
};

ConvGrid forward_grid(const ConvShape& shape);

/// C = A * B for each image and group, where B is gathered: [rows, channels * taps] times
/// [channels * taps, pixels of the grid], into planes of the same pixels. Operands are named by
/// position; -1 is none.
struct GatheredProduct {
  ConvGrid grid;
  int64_t batch, groups;
  int64_t channels, rows;  // of a group
  int32_t a, planes, bias, y, pre, residual;
  RowFn activation;
  bool relu;
  bool maxima;  // of 2 x 2 pixels are what is written, of the kernels that can
  bool bf16;    // of rounded operands; emit_gathered then takes A from emit_words
  float params[2];
};

/// `product` without its grid and operands, but with the epilogue that `attributes` tell.
GatheredProduct product_with_epilogue(const ops::FusedConv::Attributes& attributes,
                                      const NodeView& node);
/// fusedConv, convTranspose2d or convDataGrad as the gradient of x: (dy, w, bias?) -> dx.
void launch_backward(const NodeView& node, const ops::FusedConv::Attributes& attributes,
                     Emitter& emit);
/// Gives a product the grid and the sizes of conv1d or conv2d.
void set_forward_shape(GatheredProduct& product, const ConvShape& shape);
void emit_gathered(const GatheredProduct& product, Emitter& emit);
/// conv1d or conv2d by the kernels that suit the shape, for a product without its grid.
void emit_convolution(GatheredProduct product, const ConvShape& shape, Emitter& emit);
/// Whether there are few channels of x and enough columns to write the maxima of 2 x 2 pixels.
bool is_shallow(const ConvShape& shape);
void emit_shallow_maxima(const GatheredProduct& product, const ConvShape& shape, Emitter& emit);
/// Emits a step that rounds weights to the words of a gathered product, [groups * rows][pairs of
/// channels][taps], filled up to gathered_words; returns their operand. `backward`: rows are
/// channels of x, the channels those of y.
int32_t emit_words(const ConvShape& shape, bool backward, Emitter& emit);
/// Time of a product by that of one of floats.
double product_time(bool bf16);
/// Words of k of a gathered product of bfloat16.
int64_t gathered_words(int64_t channels, int64_t taps);
/// The same for one tap that reads the pixel itself: B is the planes. `transposed`: A is
/// [channels, rows].
void emit_pointwise(const GatheredProduct& product, bool transposed, Emitter& emit);
/// Whether the rows that a row of taps reads fit into scratch memory with all that is around them;
/// taps can be far apart.
bool rows_fit(const ConvGrid& grid);
/// The same for groups of one channel: A is [groups * rows, taps].
void emit_depthwise(const GatheredProduct& product, Emitter& emit);

/// (x, dy) -> dw where groups have one channel of x.
void emit_depthwise_weight(const ConvShape& shape, Emitter& emit);

/// Its epilogue but for the bias and what is kept before the activation.
GemmEpilogue epilogue_of(const GatheredProduct& product);
/// y = activation(sums), the activation of an epilogue; the two may be the same.
void activate_row(const GemmEpilogue& epilogue, const float* sums, float* y, int64_t n);
/// The same where y holds the sums, of which those of `residual` are a part that is missing yet.
void add_and_activate(const GemmEpilogue& epilogue, const float* residual, float* y, int64_t n);
/// The epilogue of what a product leaves to add_and_activate: nothing, where there is a residual.
GemmEpilogue epilogue_before_residual(const GatheredProduct& product);

/// A run of lanes that one row of a plane fills: lane l comes from `offset` + l * stride.
struct GatherRun {
  int64_t offset;
  uint32_t lanes;  // a bit each
};

/// Where rows of the gathered matrix go: vector v of row r to r * row + (v / 2) * pair +
/// (v % 2) * kLanes floats.
struct GatherTarget {
  float* data;
  int64_t row, pair;
};

/// Bytes of the table that gather_pixels needs for `pixels` pixels.
int64_t gather_table_bytes(const ConvGrid& grid, int64_t pixels);
/// Rows [channel][tap] of pixels [p0, p0 + pixels), filled up with zeros to whole vectors, read
/// from `channels` neighbouring planes.
void gather_pixels(const ConvGrid& grid, const float* planes, int64_t channels, int64_t p0,
                   int64_t pixels, const GatherTarget& target, void* table);
/// Floats of a strip that gather_words needs.
int64_t gather_strip_floats(const ConvGrid& grid, int64_t pixels);
/// The same as rows [pair of channels][tap] of words, rounded to bfloat16. `target` counts words;
/// its pairs of vectors are panels of a product.
void gather_words(const ConvGrid& grid, const float* planes, int64_t channels, int64_t p0,
                  int64_t pixels, const GatherTarget& target, const GemmRounding& rounding,
                  float* strip, void* table);

}  // namespace tandem::cpu::TANDEM_ISA_NS
