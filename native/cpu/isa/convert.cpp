// Conversions between float, bfloat16 and bytes.
#include "cpu/convert.h"

#include "cpu/isa/quantize.h"
#include "cpu/isa/tiles.h"

TANDEM_CONVERT_DECLARE(TANDEM_ISA_NS)

namespace tandem::cpu::TANDEM_ISA_NS {

namespace {

TANDEM_INLINE int count_from(int64_t i, int64_t n) {
  return static_cast<int>(least(n - i, kLanes));
}

// Divides, so that the result is that of the definition: a reciprocal rounds once more.
TANDEM_INLINE Lanes divide(Lanes x, Lanes y) {
#if defined(TANDEM_ISA_SCALAR)
  for (int i = 0; i < kLanes; ++i) x.lane[i] /= y.lane[i];
  return x;
#else
  return x / y;
#endif
}

template <typename Byte>
TANDEM_INLINE void quantize_row(const float* x, Byte* q, int64_t n, Quantization by) {
  constexpr int kLow = Byte(-1) < Byte(0) ? -128 : 0;
  const Lanes scale = spread(by.scale);
  const Quantizer quantizer = {spread(static_cast<float>(kLow - by.zero)),
                               spread(static_cast<float>(kLow + 255 - by.zero)),
                               spread_word(by.zero)};
  int64_t i = 0;
#if !defined(TANDEM_ISA_SCALAR)
  const BytePacking packing = byte_packing(by.zero, kLow, kLow < 0);
  const auto four = [&](int64_t at) {
    return to_words(lesser_of(quantizer.high, divide(load(x + at), scale)));
  };
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    store_words(q + i, pack_bytes(four(i), four(i + kLanes), four(i + 2 * kLanes),
                                  four(i + 3 * kLanes), packing));
#endif
  for (; i < n; i += kLanes) {
    const int count = count_from(i, n);
    store_u8(q + i, quantize(quantizer, divide(load_lanes(x + i, count), scale)), count);
  }
}

template <typename Byte>
TANDEM_INLINE void dequantize_row(const Byte* q, float* x, int64_t n, Quantization by) {
  // Signed bytes are read as unsigned ones that are 128 more.
  constexpr bool kSigned = Byte(-1) < Byte(0);
  const Words flip = spread_word(kSigned ? 0x80 : 0);
  const Words zero = spread_word(by.zero + (kSigned ? 128 : 0));
  const Lanes scale = spread(by.scale);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int count = count_from(i, n);
    const Words byte = load_u8(q + i, count) ^ flip;
    store_words(x + i, as_words(to_lanes(byte - zero) * scale), count);
  }
}

struct Extent {
  float low, high;  // with 0 between them
};

Extent extent_of(const float* x, int64_t n) {
  Lanes low = spread(0.0F), high = spread(0.0F);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Lanes v = load_lanes(x + i);
    low = lesser_of(v, low);
    high = greater_of(v, high);
  }
  if (i < n) {
    const Lanes v = load_lanes(x + i, static_cast<int>(n - i));
    low = lesser_of(v, low);
    high = greater_of(v, high);
  }
  float lows[kLanes], highs[kLanes];
  store(lows, low);
  store(highs, high);
  Extent out = {0.0F, 0.0F};
  for (int j = 0; j < kLanes; ++j) {
    out.low = lows[j] < out.low ? lows[j] : out.low;
    out.high = highs[j] > out.high ? highs[j] : out.high;
  }
  return out;
}

// A row of zeros, or of values too small to divide by, has any scale.
float scale_of(float range, float steps) {
  const float scale = range / steps;
  return scale >= 0x1p-120F ? scale : 1.0F;
}

// To nearest even, for 0 <= x < 2^22.
int32_t nearest(float x) {
  const float shifted = x + 0x1.8p23F;
  int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  return bits & 0x3fffff;
}

}  // namespace

void float_to_bf16(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int count = count_from(i, n);
    store_bf16(y + i, load_lanes(x + i, count), count);
  }
}

void bf16_to_float(const uint16_t* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const int count = count_from(i, n);
    store_words(y + i, as_words(load_bf16(x + i, count)), count);
  }
}

void quantize_u8(const float* x, uint8_t* q, int64_t n, const Quantization& by) {
  quantize_row(x, q, n, by);
}
void quantize_s8(const float* x, int8_t* q, int64_t n, const Quantization& by) {
  quantize_row(x, q, n, by);
}
void dequantize_u8(const uint8_t* q, float* x, int64_t n, const Quantization& by) {
  dequantize_row(q, x, n, by);
}
void dequantize_s8(const int8_t* q, float* x, int64_t n, const Quantization& by) {
  dequantize_row(q, x, n, by);
}

void quantize_rows_u8(const float* x, int64_t x_row, uint8_t* q, int64_t q_row, int64_t rows,
                      int64_t n, float* scale, int32_t* zero) {
  for (int64_t i = 0; i < rows; ++i) {
    const Extent extent = extent_of(x + i * x_row, n);
    // Halves first, which cannot overflow.
    scale[i] = scale_of(extent.high * 0.5F - extent.low * 0.5F, 127.5F);
    zero[i] = nearest(-extent.low / scale[i]);
    quantize_row(x + i * x_row, q + i * q_row, n, {scale[i], zero[i]});
  }
}

void quantize_rows_s8(const float* x, int64_t x_row, int8_t* q, int64_t q_row, int64_t rows,
                      int64_t n, float* scale) {
  for (int64_t i = 0; i < rows; ++i) {
    const Extent extent = extent_of(x + i * x_row, n);
    scale[i] = scale_of(extent.high > -extent.low ? extent.high : -extent.low, 127.0F);
    quantize_row(x + i * x_row, q + i * q_row, n, {scale[i], 0});
  }
}

}  // namespace tandem::cpu::TANDEM_ISA_NS
