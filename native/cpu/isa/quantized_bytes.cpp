// Bytes of quantized inference on their way between products: quantize makes them, maxPoolBytes
// takes maxima of windows, moveChannels moves the channels of images.
#include "core/ops/quantized.h"
#include "cpu/convert.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/tiles.h"

TANDEM_CONVERT_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr double kQuantizeCost = 0.1;  // nanoseconds an element
constexpr int64_t kPixelBlock = 256;   // of images, a tile

struct FlatParams {
  int64_t count;
  Quantization by;
};

void flat_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<FlatParams>(raw);
  const Range range = piece(tile, kMoveTile, p.count);
  quantize_u8(static_cast<const float*>(operands[0]) + range.begin,
              static_cast<uint8_t*>(operands[1]) + range.begin, range.end - range.begin, p.by);
}

/// Images [channels][pixels] or [pixels][channels]; a tile is a block of the pixels of one image.
struct ImageParams {
  int64_t images, channels, pixels, blocks;
  Quantization by;
  bool to_last;
};

struct PixelBlock {
  int64_t image, first, count;
};

PixelBlock block_of(const ImageParams& p, int64_t tile) {
  const Range range = piece(tile % p.blocks, kPixelBlock, p.pixels);
  return {tile / p.blocks, range.begin, range.end - range.begin};
}

void image_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ImageParams>(raw);
  const PixelBlock block = block_of(p, tile);
  const auto* x =
      static_cast<const float*>(operands[0]) + block.image * p.channels * p.pixels + block.first;
  uint8_t* const y =
      static_cast<uint8_t*>(operands[1]) + (block.image * p.pixels + block.first) * p.channels;
  uint8_t row[kPixelBlock];
  for (int64_t c = 0; c < p.channels; ++c, x += p.pixels) {
    quantize_u8(x, row, block.count, p.by);
    for (int64_t i = 0; i < block.count; ++i) y[i * p.channels + c] = row[i];
  }
}

void move_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<ImageParams>(raw);
  const PixelBlock block = block_of(p, tile);
  const int64_t image = block.image * p.channels * p.pixels;
  const auto* const x = static_cast<const uint8_t*>(operands[0]) + image;
  auto* const y = static_cast<uint8_t*>(operands[1]) + image;
  for (int64_t c = 0; c < p.channels; ++c) {
    for (int64_t i = block.first; i < block.first + block.count; ++i) {
      const int64_t first = c * p.pixels + i, last = i * p.channels + c;
      if (p.to_last)
        y[last] = x[first];
      else
        y[first] = x[last];
    }
  }
}

/// Sizes of images whose channels are axis 1, or the last one.
ImageParams images_of(const Tensor& tensor, bool channels_last) {
  ImageParams p{};
  p.images = tensor.dims[0];
  p.channels = tensor.dims[channels_last ? tensor.rank - 1 : 1];
  p.pixels = tensor.numel / (p.images * p.channels);
  p.blocks = ceil_div(p.pixels, kPixelBlock);
  return p;
}

struct PoolParams {
  int64_t rows, columns, channels, out_rows, out_columns, images;
  ops::PoolAttributes pool;
};

void larger(uint8_t* __restrict to, const uint8_t* __restrict from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = to[i] > from[i] ? to[i] : from[i];
}

/// One pixel of y.
void pool_pixel(const PoolParams& p, const uint8_t* image, int64_t top, int64_t left,
                uint8_t* out) {
  const int64_t row_end = least(p.rows, top + p.pool.kernel.height);
  const int64_t column_end = least(p.columns, left + p.pool.kernel.width);
  bool first = true;
  for (int64_t row = most(0, top); row < row_end; ++row) {
    for (int64_t column = most(0, left); column < column_end; ++column) {
      const uint8_t* const from = image + (row * p.columns + column) * p.channels;
      if (first)
        std::memcpy(out, from, static_cast<size_t>(p.channels));
      else
        larger(out, from, p.channels);
      first = false;
    }
  }
}

// A tile is a row of pixels of y.
void pool_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<PoolParams>(raw);
  const int64_t image = tile / p.out_rows, row = tile % p.out_rows;
  const auto* const x =
      static_cast<const uint8_t*>(operands[0]) + image * p.rows * p.columns * p.channels;
  uint8_t* const y = static_cast<uint8_t*>(operands[1]) + tile * p.out_columns * p.channels;
  const auto& [kernel, stride, padding, plane, save] = p.pool;
  for (int64_t column = 0; column < p.out_columns; ++column)
    pool_pixel(p, x, row * stride.height - padding.height, column * stride.width - padding.width,
               y + column * p.channels);
}

}  // namespace

void launch_quantize(const NodeView& node, Emitter& emit) {
  const auto& [scale, zero, channels_last] = attributes_of<ops::Quantize::Attributes>(node);
  const Tensor& x = *node.inputs[0];
  if (x.numel == 0) return;
  const double cost = kQuantizeCost * static_cast<double>(x.numel);
  if (!channels_last || x.dims[1] == 1) {
    emit_step(emit, flat_tile, FlatParams{x.numel, {scale, zero}}, ceil_div(x.numel, kMoveTile),
              cost);
    return;
  }
  ImageParams p = images_of(x, false);
  p.by = {scale, zero};
  emit_step(emit, image_tile, p, p.images * p.blocks, 6.0 * cost);
}

void launch_moveChannels(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[0];
  if (x.numel == 0) return;
  const bool to_last = attributes_of<ops::MoveChannels::Attributes>(node).to_last;
  ImageParams p = images_of(x, !to_last);
  p.to_last = to_last;
  emit_step(emit, move_tile, p, p.images * p.blocks, 0.5 * static_cast<double>(x.numel));
}

void launch_maxPoolBytes(const NodeView& node, Emitter& emit) {
  const Tensor& x = *node.inputs[0];
  const Tensor& y = *node.outputs[0];
  PoolParams p{};
  p.images = x.dims[0];
  p.rows = x.dims[1];
  p.columns = x.dims[2];
  p.channels = x.dims[3];
  p.out_rows = y.dims[1];
  p.out_columns = y.dims[2];
  p.pool = attributes_of<ops::PoolAttributes>(node);
  const auto taps = static_cast<double>(p.pool.kernel.height * p.pool.kernel.width);
  const double each = 1.0 + static_cast<double>(p.channels) * (kWidth > 1 ? 0.02 : 0.2);
  const auto pixels = static_cast<double>(p.images * p.out_rows * p.out_columns);
  if (y.numel > 0) emit_step(emit, pool_tile, p, p.images * p.out_rows, pixels * taps * each);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
