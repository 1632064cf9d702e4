// A product of bfloat16 or int8 by a family of kernels against a naive one: int8 against exact
// integers, bfloat16 against double precision over the rounded values. Floats that are rounded on
// their way to the kernels (from_float) are rounded here by arithmetic of its own. Every operand
// ends or starts at a page that must not be touched.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "check.h"
#include "gemm_support.h"

namespace tandem::cpu::low {

inline constexpr uint8_t kMark = 0xff;  // NaN, of floats and of bfloat16

inline double read_element(GemmElement type, const uint8_t* p) {
  if (type == GEMM_TO_S8) return *reinterpret_cast<const int8_t*>(p);
  if (type == GEMM_TO_U8) return *p;
  int32_t word = 0;
  std::memcpy(
      type == GEMM_TO_BF16 ? reinterpret_cast<char*>(&word) + 2 : reinterpret_cast<char*>(&word), p,
      type == GEMM_TO_BF16 ? 2 : 4);
  if (type == GEMM_TO_S32) return word;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

inline int64_t size_of(GemmElement type) {
  return type == GEMM_TO_F32 || type == GEMM_TO_S32 ? 4 : type == GEMM_TO_BF16 ? 2 : 1;
}

// The upper half of a float, which is a bfloat16 that is not rounded.
inline void write_bf16(uint8_t* p, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const auto half = static_cast<uint16_t>(bits >> 16);
  std::memcpy(p, &half, 2);
}

// To nearest with eight significant bits, halves to even.
inline double rounded(double value) {
  int exponent;
  const double fraction = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(fraction * 256), exponent - 8);
}

inline void leaky(const float* in, const float* /*unused*/, float* out, int64_t n,
                  const float* params) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] > 0 ? in[i] : in[i] * params[0];
}
inline void leaky_gradient(const float* dy, const float* saved, float* out, int64_t n,
                           const float* params) {
  for (int64_t i = 0; i < n; ++i) out[i] = saved[i] > 0 ? dy[i] : dy[i] * params[0];
}
inline constexpr float kSlope = 0.25f;

struct Case {
  GemmType type = GEMM_S8;
  int64_t m = 1, n = 1, k = 1;
  GemmElement c_type = GEMM_TO_S32;
  bool a_signed = false, a_transposed = false, b_transposed = true, frozen = false;
  int64_t gap = 0, batch = 1;
  bool b_repeats = false, extremes = false;
  bool bias = false, pre = false, gradient = false, residual = false, accumulate = false;
  bool scale = false, row_scale = false, row_zero = false, column_zero = false;
  bool exact_scale = false;
  int scale_exponent = 0;  // of a power of two that scales are multiplied by
  GemmActivation activation = GEMM_ACT_NONE;
  int a_zero = 0, c_zero = 0;
  bool reverse = false, from_float = false, a_first = false;
  bool row_bias = false, one_block = false;
  int sum_bytes = 0;  // of sums of columns that are not behind B: 2, 4 or none
};

struct Operand {
  GemmElement type;
  int64_t rows, columns, row, column, matrix;  // strides count elements
  Guarded<uint8_t> bytes;

  Operand(GemmElement t, int64_t m, int64_t n, bool transposed, int64_t gap, int64_t batch)
      : type(t),
        rows(m),
        columns(n),
        row(transposed ? 1 : n + gap),
        column(transposed ? m + gap : 1),
        matrix(transposed ? n * column : m * row),
        bytes(elements(batch) * size_of(t), kMark) {}
  int64_t elements(int64_t batch) const {
    if (rows == 0 || columns == 0 || batch == 0) return 0;
    return (batch - 1) * matrix + (rows - 1) * row + (columns - 1) * column + 1;
  }
  uint8_t* at(int64_t b, int64_t i, int64_t j) {
    return bytes.data() + (b * matrix + i * row + j * column) * size_of(type);
  }
  double value(int64_t b, int64_t i, int64_t j) { return read_element(type, at(b, i, j)); }

  void fill(int64_t batch, bool extremes) {
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
          uint8_t* p = at(b, i, j);
          if (type == GEMM_TO_BF16) {
            write_bf16(p, random_value());
          } else if (type == GEMM_TO_F32) {
            const float value = random_value();
            std::memcpy(p, &value, 4);
          } else if (extremes) {
            const uint8_t ends[] = {0x80, 0x7f, 0xff, 0x00};
            *p = ends[random_in(0, 3)];
          } else {
            *p = static_cast<uint8_t>(next_random() >> 24);
          }
        }
  }
};

inline float random_scale(bool exact) {
  return exact ? std::ldexp(1.0f, static_cast<int>(random_in(-9, -5)))
               : 0.001f * static_cast<float>(random_in(1, 20));
}

inline bool within(double actual, double wanted, GemmElement type, double tolerance) {
  if (type == GEMM_TO_BF16) tolerance += std::fabs(wanted) / 256;
  return std::fabs(actual - wanted) <= tolerance;
}

// Saturated; between two integers either may be right where the sum was rounded.
inline bool quantized(double actual, const Case& t, double value, double inverse,
                      double tolerance) {
  const double low = t.c_type == GEMM_TO_S8 ? -128 : 0, high = low + 255;
  const double wanted = value * inverse;
  if (t.exact_scale)
    return actual == std::fmin(std::fmax(std::nearbyint(wanted) + t.c_zero, low), high);
  const double bounded = std::fmin(std::fmax(wanted + t.c_zero, low), high);
  return std::fabs(actual - bounded) <= 0.5 + tolerance * inverse;
}

// What a caller knows of the columns of B, in whole vectors.
struct ColumnSums {
  Guarded<int32_t> words;
  Guarded<int16_t> halves;

  ColumnSums(Operand& b, const Case& t)
      : words(t.sum_bytes == 4 ? (t.n + 15) / 16 * 16 : 0, 0),
        halves(t.sum_bytes == 2 ? (t.n + 15) / 16 * 16 : 0, 0) {
    for (int64_t j = 0; t.sum_bytes > 0 && j < t.n; ++j) {
      int32_t sum = 0;
      for (int64_t l = 0; l < t.k; ++l) sum += static_cast<int32_t>(b.value(0, l, j));
      if (t.sum_bytes == 4) words[j] = sum;
      if (t.sum_bytes == 2) halves[j] = static_cast<int16_t>(sum);
    }
  }
};

inline void run_case(const GemmIsa& isa, const GemmKernels& kernels, const Case& t) {
  const bool s8 = t.type == GEMM_S8;
  const GemmElement wide = t.from_float ? GEMM_TO_F32 : GEMM_TO_BF16;
  const GemmElement a_type = !s8 ? wide : t.a_signed ? GEMM_TO_S8 : GEMM_TO_U8;
  Operand a(a_type, t.m, t.k, t.a_transposed, t.gap, t.batch);
  Operand b(s8 ? GEMM_TO_S8 : wide, t.k, t.n, t.b_transposed, t.gap, t.b_repeats ? 1 : t.batch);
  Operand c(t.c_type, t.m, t.n, false, t.gap, t.batch);
  Operand pre(t.c_type, t.m, t.n, false, t.gap, t.pre ? t.batch : 0);
  Operand saved(t.c_type, t.m, t.n, false, t.gap, t.gradient ? t.batch : 0);
  Operand residual(t.c_type, t.m, t.n, false, t.gap, t.residual ? t.batch : 0);
  a.fill(t.batch, t.extremes);
  b.fill(t.b_repeats ? 1 : t.batch, t.extremes);
  if (t.accumulate) c.fill(t.batch, false);
  if (t.gradient) saved.fill(t.batch, false);
  if (t.residual) residual.fill(t.batch, false);
  Guarded<float> bias(t.bias ? t.n : 0, 0.0f), scale(t.scale ? t.n : 0, 0.0f);
  Guarded<float> row_scale(t.row_scale ? t.m * t.batch : 0, 0.0f);
  Guarded<int32_t> row_zero(t.row_zero ? t.m * t.batch : 0, 0);
  Guarded<int32_t> column_zero(t.column_zero ? t.n : 0, 0);
  Guarded<int32_t> row_sums(t.column_zero ? t.m * t.batch : 0, 0);
  Guarded<float> row_bias(t.row_bias ? t.m : 0, 0.0f);
  for (int64_t i = 0; i < row_bias.size(); ++i) row_bias[i] = random_value();
  ColumnSums sums(b, t);
  for (int64_t j = 0; j < t.n; ++j) {
    if (t.bias) bias[j] = t.exact_scale ? static_cast<float>(random_in(-8, 8)) : random_value();
    if (t.column_zero) column_zero[j] = static_cast<int32_t>(random_in(-128, 127));
    if (t.scale) scale[j] = std::ldexp(random_scale(t.exact_scale), t.scale_exponent);
  }
  for (int64_t i = 0; i < t.m * t.batch; ++i) {
    if (t.row_scale) row_scale[i] = t.exact_scale ? 0.5f : 0.1f * static_cast<float>(i % 9 + 1);
    if (t.row_zero) row_zero[i] = static_cast<int32_t>(random_in(-100, 100));
    for (int64_t l = 0; t.column_zero && l < t.k; ++l) {
      const auto value = static_cast<int32_t>(a.value(i / t.m, i % t.m, l));
      row_sums[i] += value - t.a_zero - (t.row_zero ? row_zero[i] : 0);
    }
  }

  GemmDesc d = {};
  d.m = t.m, d.n = t.n, d.k = t.k;
  d.a_row = a.row, d.a_col = a.column;
  d.b_row = b.row, d.b_col = b.column;
  d.c_row = c.row;
  d.batch[0] = 1, d.batch[1] = t.batch;
  d.a_batch[1] = a.matrix, d.b_batch[1] = t.b_repeats ? 0 : b.matrix, d.c_batch[1] = c.matrix;
  d.accumulate = t.accumulate;
  d.b_packed = t.frozen;
  d.type = t.type;
  d.c_type = t.c_type;
  d.a_signed = t.a_signed;
  d.from_float = t.from_float;
  d.pack_a_first = t.a_first;
  d.one_block = t.one_block;
  d.row_bias = t.row_bias;
  d.units = isa.units;
  d.kernels = &kernels;
  GemmEpilogue e = {};
  e.bias = t.bias ? bias.data() : nullptr;
  e.row_bias = t.row_bias ? row_bias.data() : nullptr;
  e.activation = t.activation;
  e.apply = t.activation == GEMM_ACT_APPLY ? leaky : nullptr;
  e.params = &kSlope;
  e.pre = t.pre ? pre.bytes.data() : nullptr;
  e.apply_grad = t.gradient ? leaky_gradient : nullptr;
  e.saved = t.gradient ? saved.bytes.data() : nullptr;
  e.residual = t.residual ? residual.bytes.data() : nullptr;
  e.scale = t.scale ? scale.data() : nullptr;
  e.row_scale = t.row_scale ? row_scale.data() : nullptr;
  e.row_zero = t.row_zero ? row_zero.data() : nullptr;
  e.column_zero = t.column_zero ? column_zero.data() : nullptr;
  e.row_sums = t.column_zero ? row_sums.data() : nullptr;
  e.sums = t.sum_bytes == 4 ? sums.words.data() : nullptr;
  e.short_sums = t.sum_bytes == 2 ? sums.halves.data() : nullptr;
  e.a_zero = t.a_zero;
  e.c_inverse = t.exact_scale ? 0.25f : 0.7f;
  e.c_zero = t.c_zero;

  std::vector<double> before;
  for (int64_t x = 0; x < t.batch; ++x)
    for (int64_t i = 0; i < t.m; ++i)
      for (int64_t j = 0; j < t.n; ++j) before.push_back(t.accumulate ? c.value(x, i, j) : 0.0);

  const GemmPlan plan = isa.plan(d);
  Guarded<uint8_t> packed(plan.packed_b_bytes, 0xee, true), scratch(plan.scratch_bytes, 0xee, true);
  for (int64_t i = 0; i < plan.pack_tiles; ++i)
    isa.pack(plan, b.bytes.data(), packed.data(), t.reverse ? plan.pack_tiles - 1 - i : i);
  Guarded<uint8_t> packed_a(plan.packed_a_bytes, 0xee, true);
  for (int64_t i = 0; i < plan.pack_a_tiles; ++i)
    isa.pack_a(plan, a.bytes.data(), packed_a.data(), t.reverse ? plan.pack_a_tiles - 1 - i : i);
  const void* a_used = plan.pack_a_tiles > 0 ? packed_a.data() : a.bytes.data();
  const void* b_used = plan.source == GEMM_B_PACKED ? packed.data() : b.bytes.data();
  for (int64_t i = 0; i < plan.compute_tiles; ++i)
    isa.compute(plan, a_used, b_used, c.bytes.data(), e, t.reverse ? plan.compute_tiles - 1 - i : i,
                scratch.data());

  bool good = true;
  std::vector<bool> written(static_cast<size_t>(c.elements(t.batch) * size_of(t.c_type)));
  for (int64_t x = 0; x < t.batch; ++x)
    for (int64_t i = 0; i < t.m; ++i)
      for (int64_t j = 0; j < t.n; ++j) {
        const int64_t row = x * t.m + i;
        const double zero = t.a_zero + (t.row_zero ? row_zero[row] : 0);
        double sum = 0, size = 0;
        for (int64_t l = 0; l < t.k; ++l) {
          double left = a.value(x, i, l), right = b.value(t.b_repeats ? 0 : x, l, j);
          if (t.from_float) left = rounded(left), right = rounded(right);
          if (t.column_zero) right -= column_zero[j];
          const double term = (left - (s8 ? zero : 0)) * right;
          sum += term;
          size += std::fabs(term);
        }
        double v = sum;
        const double factor = (t.scale ? scale[j] : 1.0) * (t.row_scale ? row_scale[row] : 1.0);
        if (t.c_type != GEMM_TO_S32) v *= factor;
        v += before[static_cast<size_t>((x * t.m + i) * t.n + j)];
        if (t.residual) v += residual.value(x, i, j);
        if (t.bias) v += bias[j];
        if (t.row_bias) v += row_bias[i];
        const double tolerance = (1 + std::fabs(v) + size * factor) * 1e-6;
        for (int64_t at = 0; at < size_of(t.c_type); ++at)
          written[static_cast<size_t>(c.at(x, i, j) - c.bytes.data() + at)] = true;
        if (t.pre && !within(pre.value(x, i, j), v, t.c_type, tolerance)) good = false;
        if (t.activation != GEMM_ACT_NONE && v < 0) v *= t.activation == GEMM_ACT_RELU ? 0 : kSlope;
        if (t.gradient && saved.value(x, i, j) <= 0) v *= kSlope;
        const double actual = c.value(x, i, j);
        if (t.c_type == GEMM_TO_S32)
          good = good && actual == v;
        else if (t.c_type == GEMM_TO_S8 || t.c_type == GEMM_TO_U8)
          good = good && quantized(actual, t, v, e.c_inverse, tolerance);
        else
          // a value kept before its activation has been rounded to the type of C in memory only
          good = good && within(actual, v, t.c_type, tolerance);
      }
  for (size_t at = 0; at < written.size(); ++at)
    if (!written[at] && (c.bytes[static_cast<int64_t>(at)] != kMark ||
                         (t.pre && pre.bytes[static_cast<int64_t>(at)] != kMark)))
      good = false;
  good = good && a.bytes.intact() && b.bytes.intact() && c.bytes.intact() && pre.bytes.intact() &&
         saved.bytes.intact() && residual.bytes.intact() && bias.intact() && row_bias.intact() &&
         scale.intact() && row_scale.intact() && row_zero.intact() && column_zero.intact() &&
         row_sums.intact() && packed.intact() && packed_a.intact() && scratch.intact();
  if (!good)
    std::printf(
        "%s %s: m %d n %d k %d c %d signed %d at %d bt %d gap %d batch %d frozen %d bias %d pre %d "
        "gradient %d residual %d accumulate %d scale %d rows %d %d %d exact %d act %d source %d "
        "from float %d row bias %d one block %d sums %d\n",
        isa.name, kernels.name, int(t.m), int(t.n), int(t.k), t.c_type, t.a_signed, t.a_transposed,
        t.b_transposed, int(t.gap), int(t.batch), t.frozen, t.bias, t.pre, t.gradient, t.residual,
        t.accumulate, t.scale, t.row_scale, t.row_zero, t.column_zero, t.exact_scale, t.activation,
        plan.source, t.from_float, t.row_bias, t.one_block, t.sum_bytes);
  CHECK(good);
}

inline bool coin() { return next_random() >> 31; }

}  // namespace tandem::cpu::low
