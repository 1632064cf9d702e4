// quantizedConv of groups of one channel over images of bytes, channels last: for each pixel and
// output channel the sum over taps of (x - zero) * w, in integers. A tile is a row of pixels of y;
// vectors go along the channels.
#include "cpu/convert.h"
#include "cpu/isa/quantized_conv.h"
#include "cpu/isa/quantized_weight.h"

TANDEM_CONVERT_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {
namespace {

constexpr int32_t kBias = 128;  // weights are kept as bytes from 1 to 255

struct Depthwise {
  ops::ConvAttributes conv;
  QuantizedResult result;
  float y_scale;  // of bytes; 0 where y is floats
  int64_t channels, out, columns, rows, y_columns, y_rows, tap_columns, tap_rows;
  int64_t scales_at;  // bytes before scales in the packed memory
  int32_t x_zero, packed;
};

struct PackParams {
  const float* scales;
  float x_scale;
  int64_t out, taps, scales_at;
};

// Operands: the weight [out, 1, taps] as floats, the packed memory: bytes [taps][out], then scales;
// the weight as bytes.
void pack_tile(const void* raw, void* const* operands, int64_t, const TileContext&) {
  const auto& p = params_of<PackParams>(raw);
  const WeightSource weight = weight_source(operands);
  auto* const bytes = static_cast<uint8_t*>(operands[1]);
  auto* const scales = reinterpret_cast<float*>(bytes + p.scales_at);
  for (int64_t o = 0; o < p.out; ++o) {
    for (int64_t t = 0; t < p.taps; ++t) {
      const int32_t q = byte_of(weight, o * p.taps + t, p.scales[o]);
      bytes[t * p.out + o] = static_cast<uint8_t>(q + kBias);
    }
    scales[o] = p.scales[o] * p.x_scale;
  }
}

/// The taps of a window that lie in the image: where the first is, and how many.
struct Window {
  const uint8_t* x;
  const uint8_t* w;
  int64_t tap_rows, tap_columns;
};

Window window_at(const Depthwise& p, const uint8_t* image, const uint8_t* weights, int64_t row,
                 int64_t column) {
  const IntPair& step = p.conv.dilation;
  const int64_t top = row * p.conv.stride.height - p.conv.padding.height;
  const int64_t left = column * p.conv.stride.width - p.conv.padding.width;
  const auto begin = [](int64_t first, int64_t apart) {
    return first < 0 ? ceil_div(-first, apart) : 0;
  };
  const auto end = [](int64_t first, int64_t apart, int64_t size, int64_t taps) {
    return first >= size ? 0 : least(taps, ceil_div(size - first, apart));
  };
  const int64_t r = begin(top, step.height), c = begin(left, step.width);
  const int64_t rows = end(top, step.height, p.rows, p.tap_rows) - r;
  const int64_t columns = end(left, step.width, p.columns, p.tap_columns) - c;
  if (rows <= 0 || columns <= 0) return {image, weights, 0, 0};
  const int64_t pixel = (top + r * step.height) * p.columns + left + c * step.width;
  return {image + pixel * p.channels, weights + (r * p.tap_columns + c) * p.out, rows, columns};
}

/// Sums of `n` output channels from `o` on, where each input channel has one: at most a vector.
TANDEM_INLINE Words sum_window(const Depthwise& p, const Window& window, int64_t o, int n) {
  const Words zero = spread_word(p.x_zero), bias = spread_word(kBias);
  const int64_t x_column = p.conv.dilation.width * p.channels;
  const int64_t x_row = p.conv.dilation.height * p.columns * p.channels;
  Words sum = spread_word(0);
  for (int64_t r = 0; r < window.tap_rows; ++r) {
    const uint8_t* x = window.x + r * x_row + o;
    const uint8_t* w = window.w + r * p.tap_columns * p.out + o;
    for (int64_t c = 0; c < window.tap_columns; ++c, x += x_column, w += p.out)
      sum = sum + (load_u8(x, n) - zero) * (load_u8(w, n) - bias);
  }
  return sum;
}

/// The sum of output channel `o` where input channels have several.
int32_t sum_of(const Depthwise& p, const Window& window, int64_t o) {
  const int64_t each = p.out / p.channels;
  int32_t sum = 0;
  for (int64_t r = 0; r < window.tap_rows; ++r) {
    for (int64_t c = 0; c < window.tap_columns; ++c) {
      const int64_t pixel = r * p.conv.dilation.height * p.columns + c * p.conv.dilation.width;
      sum += (window.x[pixel * p.channels + o / each] - p.x_zero) *
             (window.w[(r * p.tap_columns + c) * p.out + o] - kBias);
    }
  }
  return sum;
}

/// One pixel of y before its activation.
void pixel(const Depthwise& p, const Window& window, const float* scales, const float* bias,
           float* y) {
  for (int64_t o = 0; o < p.out; o += kLanes) {
    const int n = static_cast<int>(least(kLanes, p.out - o));
    Words sum;
    if (p.out == p.channels) {
      sum = n == kLanes ? sum_window(p, window, o, kLanes) : sum_window(p, window, o, n);
    } else {
      int32_t each[kLanes] = {};
      for (int i = 0; i < n; ++i) each[i] = sum_of(p, window, o + i);
      sum = load_words(each);
    }
    const Lanes start = bias == nullptr ? spread(0.0F) : load_lanes(bias + o, n);
    store_lanes(y + o, to_lanes(sum) * load_lanes(scales + o, n) + start, n);
  }
}

void activate(const QuantizedResult& result, float* y, int64_t n) {
  if (result.relu) {
    for (int64_t i = 0; i < n; i += kLanes) {
      const int here = static_cast<int>(least(kLanes, n - i));
      store_lanes(y + i, greater_of(spread(0.0F), load_lanes(y + i, here)), here);
    }
  } else if (result.activation != nullptr) {
    result.activation(y, nullptr, y, n, result.params);
  }
}

void depthwise_tile(const void* raw, void* const* operands, int64_t tile,
                    const TileContext& context) {
  const auto& p = params_of<Depthwise>(raw);
  const int64_t image = tile / p.y_rows, row = tile % p.y_rows;
  const auto* const x =
      static_cast<const uint8_t*>(operands[0]) + image * p.rows * p.columns * p.channels;
  const auto* const packed = static_cast<const uint8_t*>(operands[p.packed]);
  const auto* const scales = reinterpret_cast<const float*>(packed + p.scales_at);
  const float* const bias =
      p.result.bias >= 0 ? static_cast<const float*>(operands[p.result.bias]) : nullptr;
  const int64_t numbers = p.y_columns * p.out;
  const bool bytes = p.y_scale > 0;
  float* const y = bytes ? static_cast<float*>(context.scratch)
                         : static_cast<float*>(operands[p.result.y]) + tile * numbers;
  for (int64_t column = 0; column < p.y_columns; ++column)
    pixel(p, window_at(p, x, packed, row, column), scales, bias, y + column * p.out);
  activate(p.result, y, numbers);
  if (bytes)
    quantize_u8(y, static_cast<uint8_t*>(operands[p.result.y]) + tile * numbers, numbers,
                {p.y_scale, p.result.zero});
}

}  // namespace

void launch_depthwise_bytes(const NodeView& node, Emitter& emit) {
  constexpr uint64_t kFirstLayout = 16;  // as of other quantized weights
  constexpr double kTapCost = kWidth == 1 ? 0.6 : 1.5 / kWidth, kCost = 0.3;  // nanoseconds
  const auto& [product, conv] = attributes_of<ops::QuantizedConv::Attributes>(node);
  const Tensor& x = *node.inputs[0];
  const Tensor& w = *node.inputs[1];
  const Tensor& y = *node.outputs[0];
  const bool plane = x.rank == 4;
  Depthwise p{};
  p.conv = conv;
  p.result = quantized_result(node, product);
  p.y_scale = product.to_bytes ? product.y_scale : 0.0F;
  p.x_zero = product.x_zero;
  p.channels = x.dims[x.rank - 1];
  p.columns = x.dims[x.rank - 2];
  p.rows = plane ? x.dims[1] : 1;
  p.out = w.dims[0];
  p.tap_columns = w.dims[w.rank - 1];
  p.tap_rows = plane ? w.dims[2] : 1;
  p.y_columns = y.dims[y.rank - 2];
  p.y_rows = plane ? y.dims[1] : 1;
  const int64_t taps = p.tap_rows * p.tap_columns;
  p.scales_at = round_up(taps * p.out, 16);
  const PackParams pack{product.weight_scales, product.x_scale, p.out, taps, p.scales_at};
  p.packed = emit.frozen(1, kFirstLayout + static_cast<uint64_t>(product.index), pack_tile, &pack,
                         sizeof pack, 1, p.scales_at + p.out * 4);
  if (product.to_bytes) emit.scratch(p.y_columns * p.out * 4);
  const double each = kCost + kTapCost * static_cast<double>(taps);
  emit_step(emit, depthwise_tile, p, y.numel / (p.y_columns * p.out),
            each * static_cast<double>(y.numel));
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
