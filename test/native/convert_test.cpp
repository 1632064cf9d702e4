// Conversions between float and the small types, of every instruction set, against plain code.
#include "cpu/convert.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "gemm_support.h"

TANDEM_CONVERT_DECLARE(isa_scalar)
#if defined(__x86_64__)
TANDEM_CONVERT_DECLARE(isa_avx2)
TANDEM_CONVERT_DECLARE(isa_avx512)
#endif

namespace {

using namespace tandem::cpu;

struct Conversions {
  decltype(&isa_scalar::float_to_bf16) to_bf16;
  decltype(&isa_scalar::bf16_to_float) from_bf16;
  decltype(&isa_scalar::quantize_u8) to_u8;
  decltype(&isa_scalar::quantize_s8) to_s8;
  decltype(&isa_scalar::dequantize_u8) from_u8;
  decltype(&isa_scalar::dequantize_s8) from_s8;
  decltype(&isa_scalar::quantize_rows_u8) rows_u8;
  decltype(&isa_scalar::quantize_rows_s8) rows_s8;
};

#define CONVERSIONS(ns)                                                                        \
  Conversions {                                                                                \
    ns::float_to_bf16, ns::bf16_to_float, ns::quantize_u8, ns::quantize_s8, ns::dequantize_u8, \
        ns::dequantize_s8, ns::quantize_rows_u8, ns::quantize_rows_s8                          \
  }

std::vector<Conversions> conversions() {
  std::vector<Conversions> all = {CONVERSIONS(isa_scalar)};
#if defined(__x86_64__)
  const size_t sets = machine_gemm_isas().size();
  if (sets > 1) all.push_back(CONVERSIONS(isa_avx2));
  if (sets > 2) all.push_back(CONVERSIONS(isa_avx512));
#endif
  return all;
}

float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

// By the definition: the nearer of the two neighbours, the even one in between.
uint16_t nearest_bf16(float x) {
  const uint32_t bits = bits_of(x);
  const auto below = static_cast<uint16_t>(bits >> 16);
  const uint32_t rest = bits & 0xffff;
  const bool up = rest > 0x8000 || (rest == 0x8000 && (below & 1));
  return static_cast<uint16_t>(below + up);
}

TEST(bf16_is_rounded_to_nearest_even) {
  for (const Conversions& convert : conversions()) {
    random_state = 3;
    std::vector<float> x;
    for (int i = 0; i < 5000; ++i) {
      const uint32_t bits = next_random() ^ next_random() >> 16;
      if (std::isnan(from_bits(bits))) continue;
      x.push_back(from_bits(bits));
      x.push_back(from_bits((bits & 0xffff0000) | 0x8000));  // halfway
      if (std::isnan(x.back())) x.pop_back();
    }
    const float ends[] = {0.0f,
                          -0.0f,
                          std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::max(),
                          -std::numeric_limits<float>::max(),
                          std::numeric_limits<float>::denorm_min(),
                          1e-39f};
    x.insert(x.end(), std::begin(ends), std::end(ends));
    std::vector<uint16_t> y(x.size());
    convert.to_bf16(x.data(), y.data(), static_cast<int64_t>(x.size()));
    bool good = true;
    for (size_t i = 0; i < x.size(); ++i) good = good && y[i] == nearest_bf16(x[i]);
    CHECK(good);
    std::vector<float> back(x.size());
    convert.from_bf16(y.data(), back.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i)
      good = good && bits_of(back[i]) == static_cast<uint32_t>(y[i]) << 16;
    CHECK(good);
  }
}

TEST(bf16_keeps_nan) {
  for (const Conversions& convert : conversions())
    for (const uint32_t bits : {0x7fc00000u, 0x7f800001u, 0xff80ffffu, 0xffffffffu, 0x7fffffffu}) {
      const float x = from_bits(bits);
      uint16_t y = 0;
      float back = 0;
      convert.to_bf16(&x, &y, 1);
      convert.from_bf16(&y, &back, 1);
      CHECK(std::isnan(back));
      CHECK(std::signbit(back) == std::signbit(x));
    }
}

TEST(conversions_stay_within_their_arrays) {
  for (const Conversions& convert : conversions())
    for (int64_t n = 0; n <= 70; ++n) {
      Guarded<float> x(n, 0.75f), back(n, 9.0f);
      Guarded<uint16_t> half(n, 7);
      Guarded<uint8_t> bytes(n, 7);
      Guarded<int8_t> signed_bytes(n, 7);
      const Quantization by = {0.25f, 3};
      convert.to_bf16(x.data(), half.data(), n);
      convert.to_u8(x.data(), bytes.data(), n, by);
      convert.to_s8(x.data(), signed_bytes.data(), n, by);
      convert.from_bf16(half.data(), back.data(), n);
      bool good = half.intact() && bytes.intact() && signed_bytes.intact() && back.intact();
      for (int64_t i = 0; i < n; ++i)
        good = good && back[i] == 0.75f && bytes[i] == 6 && signed_bytes[i] == 6;
      convert.from_u8(bytes.data(), back.data(), n, by);
      for (int64_t i = 0; i < n; ++i) good = good && back[i] == 0.75f;
      convert.from_s8(signed_bytes.data(), back.data(), n, by);
      for (int64_t i = 0; i < n; ++i) good = good && back[i] == 0.75f;
      CHECK(good && back.intact());
    }
}

template <typename Byte>
double quantized(float x, const Quantization& by) {
  const double low = std::numeric_limits<Byte>::min(), high = std::numeric_limits<Byte>::max();
  if (std::isnan(x)) return low;
  const double q = std::nearbyint(static_cast<double>(x / by.scale)) + by.zero;
  return std::fmin(std::fmax(q, low), high);
}

template <typename Byte, typename Function>
void check_quantize(Function function, const Quantization& by) {
  std::vector<float> x;
  for (int i = -1200; i <= 1200; ++i) x.push_back(static_cast<float>(i) * 0.25f * by.scale);
  for (int i = 0; i < 1000; ++i) x.push_back(random_value() * 300 * by.scale);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float end : {infinity, -infinity, 1e30f, -1e30f, 4e9f, -4e9f, -0.0f,
                          std::numeric_limits<float>::quiet_NaN()})
    for (int i = 0; i < 70; ++i) x.push_back(end);
  std::vector<Byte> q(x.size());
  function(x.data(), q.data(), static_cast<int64_t>(x.size()), by);
  bool good = true;
  for (size_t i = 0; i < x.size(); ++i) good = good && q[i] == quantized<Byte>(x[i], by);
  CHECK(good);
}

TEST(quantizing_rounds_to_nearest_even_and_saturates) {
  for (const Conversions& convert : conversions()) {
    random_state = 9;
    for (const float scale : {1.0f, 0.5f, 0.0371f, 113.0f})
      for (const int zero : {-128, -7, 0, 100, 127, 255}) {
        if (zero >= 0) check_quantize<uint8_t>(convert.to_u8, {scale, zero});
        if (zero < 128) check_quantize<int8_t>(convert.to_s8, {scale, zero});
      }
  }
}

TEST(dequantizing_is_exact) {
  for (const Conversions& convert : conversions()) {
    uint8_t bytes[256];
    int8_t signed_bytes[256];
    for (int i = 0; i < 256; ++i) {
      bytes[i] = static_cast<uint8_t>(i);
      signed_bytes[i] = static_cast<int8_t>(i - 128);
    }
    float x[256], y[256];
    convert.from_u8(bytes, x, 256, {0.3f, 77});
    convert.from_s8(signed_bytes, y, 256, {0.3f, -5});
    for (int i = 0; i < 256; ++i) {
      CHECK(x[i] == static_cast<float>(i - 77) * 0.3f);
      CHECK(y[i] == static_cast<float>(i - 128 + 5) * 0.3f);
    }
  }
}

// What comes back is within half a step, and the ends of the range are in use.
TEST(rows_get_parameters_of_their_own) {
  constexpr int64_t kRows = 5, kColumns = 83, kXRow = 90, kQRow = 85;
  for (const Conversions& convert : conversions()) {
    random_state = 4;
    std::vector<float> x(kRows * kXRow, 1e9f);
    for (int64_t i = 0; i < kRows; ++i)
      for (int64_t j = 0; j < kColumns; ++j)
        x[static_cast<size_t>(i * kXRow + j)] =
            i == 4 ? 0.0f
                   : (random_value() + 0.3f * static_cast<float>(i)) *
                         static_cast<float>(std::pow(10.0, static_cast<double>(i)));
    std::vector<uint8_t> q(kRows * kQRow, 99);
    std::vector<int8_t> s(kRows * kQRow, 99);
    float scale[kRows], symmetric[kRows];
    int32_t zero[kRows];
    convert.rows_u8(x.data(), kXRow, q.data(), kQRow, kRows, kColumns, scale, zero);
    convert.rows_s8(x.data(), kXRow, s.data(), kQRow, kRows, kColumns, symmetric);
    for (int64_t i = 0; i < kRows; ++i) {
      CHECK(zero[i] >= 0 && zero[i] <= 255);
      double largest = 0;
      bool good = true;
      for (int64_t j = 0; j < kColumns; ++j) {
        const double value = x[static_cast<size_t>(i * kXRow + j)];
        const int u = q[static_cast<size_t>(i * kQRow + j)];
        const double v = s[static_cast<size_t>(i * kQRow + j)];
        // the zero point is rounded too, which may cost half a step at one end
        good = good &&
               std::fabs((u - zero[i]) * static_cast<double>(scale[i]) - value) <= 1.001 * scale[i];
        good = good && std::fabs(v * symmetric[i] - value) <= 0.501 * symmetric[i];
        largest = std::fmax(largest, std::fabs(v));
      }
      CHECK(good);
      CHECK(largest == (i == 4 ? 0 : 127));
      for (int64_t j = kColumns; j < kQRow; ++j) {
        CHECK(q[static_cast<size_t>(i * kQRow + j)] == 99);
        CHECK(s[static_cast<size_t>(i * kQRow + j)] == 99);
      }
    }
  }
}

}  // namespace
