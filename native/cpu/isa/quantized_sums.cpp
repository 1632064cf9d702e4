// Sums of what may be bytes or floats: addBytes of two values of one shape, averagePoolBytes of the
// windows of images that lie channels last. Bytes become floats in registers, and so do results
// become bytes; the bytes of a window are summed up in integers first.
#include "core/ops/quantized.h"
#include "cpu/isa/kernels.h"
#include "cpu/isa/quantize.h"
#include "cpu/isa/tiles.h"

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

/// `n` <= kLanes elements as floats, bytes less their zero point.
template <bool bytes>
TANDEM_INLINE Lanes load_floats(const void* p, int64_t i, int n, Words zero) {
  if constexpr (bytes) {
    return to_lanes(load_u8(static_cast<const uint8_t*>(p) + i, n) - zero);
  } else {
    const auto* const from = static_cast<const float*>(p) + i;
    return n == kLanes ? load_lanes(from) : load_lanes(from, n);
  }
}

template <bool bytes>
TANDEM_INLINE void store_result(void* p, int64_t i, Lanes x, const Quantizer& quantizer, int n) {
  if constexpr (bytes) {
    store_u8(static_cast<uint8_t*>(p) + i, quantize(quantizer, x), n);
  } else {
    auto* const to = static_cast<float*>(p) + i;
    if (n == kLanes)
      store(to, x);
    else
      store_lanes(to, x, n);
  }
}

/// What makes numbers in `unit`s of those of an operand.
float factor_of(bool bytes, const ops::ByteSteps& x, double unit) {
  return static_cast<float>((bytes ? static_cast<double>(x.scale) : 1.0) / unit);
}

/// How results become bytes. `floor` is the least that they may be, in steps above zero.
struct Target {
  float floor;
  int32_t zero;
};

TANDEM_INLINE Quantizer quantizer_of(const Target& y) {
  const auto zero = static_cast<float>(y.zero);
  return {spread(0.0F - zero), spread(255.0F - zero), spread_word(y.zero)};
}

struct SumParams {
  int64_t count;
  float a, b;
  int32_t a_zero, b_zero;
  Target y;
};

template <bool a_bytes, bool b_bytes, bool y_bytes>
void sum_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<SumParams>(raw);
  const Range range = piece(tile, kMoveTile, p.count);
  const Quantizer quantizer = quantizer_of(p.y);
  const Lanes a = spread(p.a), b = spread(p.b), floor = spread(p.y.floor);
  const Words a_zero = spread_word(p.a_zero), b_zero = spread_word(p.b_zero);
  const auto some = [&](int64_t i, int n) {
    const Lanes one = load_floats<a_bytes>(operands[0], i, n, a_zero) * a;
    const Lanes sum = fma(load_floats<b_bytes>(operands[1], i, n, b_zero), b, one);
    store_result<y_bytes>(operands[2], i, greater_of(floor, sum), quantizer, n);
  };
  int64_t i = range.begin;
  for (; i + kLanes <= range.end; i += kLanes) some(i, kLanes);
  if (i < range.end) some(i, static_cast<int>(range.end - i));
}

TileFn sum_of(bool a, bool b, bool y) {
  static constexpr TileFn kTiles[] = {sum_tile<false, false, false>, sum_tile<false, false, true>,
                                      sum_tile<false, true, false>,  sum_tile<false, true, true>,
                                      sum_tile<true, false, false>,  sum_tile<true, false, true>,
                                      sum_tile<true, true, false>,   sum_tile<true, true, true>};
  return kTiles[(a ? 4 : 0) + (b ? 2 : 0) + (y ? 1 : 0)];
}

struct AverageParams {
  int64_t rows, columns, channels, out_rows, out_columns;
  IntPair kernel, stride, padding;
  float factor;  // of a sum
  int32_t x_zero;
  Target y;
};

/// The part of a window that lies in the image, from its first element on.
struct Window {
  int64_t first, rows, columns;
};

TANDEM_INLINE Window window_at(const AverageParams& p, int64_t top, int64_t left) {
  const int64_t row = most(0, top), column = most(0, left);
  return {(row * p.columns + column) * p.channels, least(p.rows, top + p.kernel.height) - row,
          least(p.columns, left + p.kernel.width) - column};
}

/// The sum of the elements of a window in each of `n` channels, bytes less their zero point.
template <bool bytes>
TANDEM_INLINE Lanes sum_window(const AverageParams& p, const void* image, const Window& window,
                               int64_t channel, int n) {
  const auto each = [&](auto add) {
    for (int64_t row = 0; row < window.rows; ++row) {
      int64_t at = window.first + row * p.columns * p.channels + channel;
      for (int64_t column = 0; column < window.columns; ++column, at += p.channels) add(at);
    }
  };
  if constexpr (bytes) {
    const int64_t elements = window.rows * window.columns;
    Words sum = spread_word(-p.x_zero * static_cast<int32_t>(elements));
    each([&](int64_t at) { sum = sum + load_u8(static_cast<const uint8_t*>(image) + at, n); });
    return to_lanes(sum);
  } else {
    Lanes sum = spread(0.0F);
    each([&](int64_t at) { sum = sum + load_floats<false>(image, at, n, spread_word(0)); });
    return sum;
  }
}

// A tile is a row of pixels of y.
template <bool x_bytes, bool y_bytes>
void average_tile(const void* raw, void* const* operands, int64_t tile, const TileContext&) {
  const auto& p = params_of<AverageParams>(raw);
  const int64_t image = tile / p.out_rows, row = tile % p.out_rows;
  const char* const x = static_cast<const char*>(operands[0]) +
                        image * p.rows * p.columns * p.channels * (x_bytes ? 1 : 4);
  const Quantizer quantizer = quantizer_of(p.y);
  const Lanes factor = spread(p.factor);
  int64_t to = tile * p.out_columns * p.channels;
  for (int64_t column = 0; column < p.out_columns; ++column, to += p.channels) {
    const Window window = window_at(p, row * p.stride.height - p.padding.height,
                                    column * p.stride.width - p.padding.width);
    for (int64_t c = 0; c < p.channels; c += kLanes) {
      const auto n = static_cast<int>(least(kLanes, p.channels - c));
      const Lanes mean = sum_window<x_bytes>(p, x, window, c, n) * factor;
      store_result<y_bytes>(operands[1], to + c, mean, quantizer, n);
    }
  }
}

}  // namespace

void launch_addBytes(const NodeView& node, Emitter& emit) {
  constexpr double kCost = 1.6 / kWidth;  // nanoseconds an element
  const auto& attributes = attributes_of<ops::AddBytes::Attributes>(node);
  const bool a = node.inputs[0]->dtype == DType::kUInt8, b = node.inputs[1]->dtype == DType::kUInt8;
  const double unit = attributes.to_bytes ? static_cast<double>(attributes.y.scale) : 1.0;
  SumParams p{};
  p.count = node.outputs[0]->numel;
  p.a = factor_of(a, attributes.a, unit);
  p.b = factor_of(b, attributes.b, unit);
  p.a_zero = attributes.a.zero;
  p.b_zero = attributes.b.zero;
  p.y = {attributes.relu ? 0.0F : -__builtin_inff(), attributes.y.zero};
  emit_step(emit, sum_of(a, b, attributes.to_bytes), p, ceil_div(p.count, kMoveTile),
            kCost * static_cast<double>(p.count));
}

void launch_averagePoolBytes(const NodeView& node, Emitter& emit) {
  const auto& attributes = attributes_of<ops::AveragePoolBytes::Attributes>(node);
  const Tensor& x = *node.inputs[0];
  const Tensor& y = *node.outputs[0];
  if (y.numel == 0) return;
  AverageParams p{};
  p.rows = x.dims[1];
  p.columns = x.dims[2];
  p.channels = x.dims[3];
  p.out_rows = y.dims[1];
  p.out_columns = y.dims[2];
  p.kernel = attributes.kernel;
  p.stride = attributes.stride;
  p.padding = attributes.padding;
  const auto taps = static_cast<double>(p.kernel.height * p.kernel.width);
  const bool bytes = x.dtype == DType::kUInt8;
  const double unit = attributes.to_bytes ? static_cast<double>(attributes.y.scale) : 1.0;
  p.factor = factor_of(bytes, attributes.x, unit * taps);
  p.x_zero = attributes.x.zero;
  p.y = {-__builtin_inff(), attributes.y.zero};
  static constexpr TileFn kTiles[] = {average_tile<false, false>, average_tile<false, true>,
                                      average_tile<true, false>, average_tile<true, true>};
  const double each = 1.0 + static_cast<double>(p.channels) * 1.2 / kWidth;
  const int64_t pixels = y.numel / p.channels;
  emit_step(emit, kTiles[(bytes ? 2 : 0) + (attributes.to_bytes ? 1 : 0)], p,
            x.dims[0] * p.out_rows, static_cast<double>(pixels) * taps * each);
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
