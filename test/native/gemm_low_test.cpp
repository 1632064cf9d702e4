// Products of bfloat16 and int8 by every family of kernels that the machine has: int8 against exact
// integers, bfloat16 against double precision over the rounded values. Floats that are rounded on
// their way to the kernels (from_float) are rounded here by arithmetic of its own.
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "core/backend.h"
#include "gemm_support.h"

namespace {

using namespace tandem::cpu;

constexpr uint8_t kMark = 0xff;  // NaN, of floats and of bfloat16

double read_element(GemmElement type, const uint8_t* p) {
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

int64_t size_of(GemmElement type) {
  return type == GEMM_TO_F32 || type == GEMM_TO_S32 ? 4 : type == GEMM_TO_BF16 ? 2 : 1;
}

// The upper half of a float, which is a bfloat16 that is not rounded.
void write_bf16(uint8_t* p, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const auto half = static_cast<uint16_t>(bits >> 16);
  std::memcpy(p, &half, 2);
}

// To nearest with eight significant bits, halves to even.
double rounded(double value) {
  int exponent;
  const double fraction = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(fraction * 256), exponent - 8);
}

void leaky(const float* in, const float* /*unused*/, float* out, int64_t n, const float* params) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i] > 0 ? in[i] : in[i] * params[0];
}
void leaky_gradient(const float* dy, const float* saved, float* out, int64_t n,
                    const float* params) {
  for (int64_t i = 0; i < n; ++i) out[i] = saved[i] > 0 ? dy[i] : dy[i] * params[0];
}
constexpr float kSlope = 0.25f;

struct Case {
  GemmType type = GEMM_S8;
  int64_t m = 1, n = 1, k = 1;
  GemmElement c_type = GEMM_TO_S32;
  bool a_signed = false, a_transposed = false, b_transposed = true, frozen = false;
  int64_t gap = 0, batch = 1;
  bool b_repeats = false, extremes = false;
  bool bias = false, pre = false, gradient = false, residual = false, accumulate = false;
  bool scale = false, row_scale = false, row_zero = false, exact_scale = false;
  int scale_exponent = 0;  // of a power of two that scales are multiplied by
  GemmActivation activation = GEMM_ACT_NONE;
  int a_zero = 0, c_zero = 0;
  bool reverse = false, from_float = false, a_first = false;
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

struct Rows {
  std::vector<float> scale;
  std::vector<int32_t> zero;
};

// What one value of C is, and how far off it may be.
struct Expected {
  double pre, value, tolerance;
};

float random_scale(bool exact) {
  return exact ? std::ldexp(1.0f, static_cast<int>(random_in(-9, -5)))
               : 0.001f * static_cast<float>(random_in(1, 20));
}

bool within(double actual, double wanted, GemmElement type, double tolerance) {
  if (type == GEMM_TO_BF16) tolerance += std::fabs(wanted) / 256;
  return std::fabs(actual - wanted) <= tolerance;
}

// Saturated; between two integers either may be right where the sum was rounded.
bool quantized(double actual, const Case& t, double value, double inverse, double tolerance) {
  const double low = t.c_type == GEMM_TO_S8 ? -128 : 0, high = low + 255;
  const double wanted = value * inverse;
  if (t.exact_scale)
    return actual == std::fmin(std::fmax(std::nearbyint(wanted) + t.c_zero, low), high);
  const double bounded = std::fmin(std::fmax(wanted + t.c_zero, low), high);
  return std::fabs(actual - bounded) <= 0.5 + tolerance * inverse;
}

void run_case(const GemmIsa& isa, const GemmKernels& kernels, const Case& t) {
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
  for (int64_t j = 0; j < t.n; ++j) {
    if (t.bias) bias[j] = t.exact_scale ? static_cast<float>(random_in(-8, 8)) : random_value();
    if (t.scale) scale[j] = std::ldexp(random_scale(t.exact_scale), t.scale_exponent);
  }
  for (int64_t i = 0; i < t.m * t.batch; ++i) {
    if (t.row_scale) row_scale[i] = t.exact_scale ? 0.5f : 0.1f * static_cast<float>(i % 9 + 1);
    if (t.row_zero) row_zero[i] = static_cast<int32_t>(random_in(-100, 100));
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
  d.units = isa.units;
  d.kernels = &kernels;
  GemmEpilogue e = {};
  e.bias = t.bias ? bias.data() : nullptr;
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
         saved.bytes.intact() && residual.bytes.intact() && bias.intact() && scale.intact() &&
         row_scale.intact() && row_zero.intact() && packed.intact() && packed_a.intact() &&
         scratch.intact();
  if (!good)
    std::printf(
        "%s %s: m %d n %d k %d c %d signed %d at %d bt %d gap %d batch %d frozen %d bias %d pre %d "
        "gradient %d residual %d accumulate %d scale %d rows %d %d exact %d act %d source %d "
        "from float %d\n",
        isa.name, kernels.name, int(t.m), int(t.n), int(t.k), t.c_type, t.a_signed, t.a_transposed,
        t.b_transposed, int(t.gap), int(t.batch), t.frozen, t.bias, t.pre, t.gradient, t.residual,
        t.accumulate, t.scale, t.row_scale, t.row_zero, t.exact_scale, t.activation, plan.source,
        t.from_float);
  CHECK(good);
}

bool coin() { return next_random() >> 31; }

// The epilogue is chosen by what the type allows.
Case random_case(GemmType type, int64_t largest) {
  Case t;
  t.type = type;
  t.m = random_in(1, largest), t.n = random_in(1, largest), t.k = random_in(0, largest);
  t.a_transposed = random_in(0, 3) == 0;
  t.b_transposed = coin();
  t.frozen = coin();
  t.gap = coin() ? random_in(1, 20) : 0;
  t.reverse = coin();
  t.bias = coin();
  t.activation = static_cast<GemmActivation>(random_in(0, 2));
  if (type == GEMM_BF16) {
    t.from_float = coin();
    t.a_first = coin();
    t.c_type = coin() ? GEMM_TO_F32 : GEMM_TO_BF16;
    t.pre = coin();
    t.gradient = random_in(0, 3) == 0;
    t.accumulate = random_in(0, 3) == 0;
    t.residual = !t.accumulate && random_in(0, 2) == 0;
    return t;
  }
  const GemmElement types[] = {GEMM_TO_S32, GEMM_TO_F32, GEMM_TO_S8, GEMM_TO_U8};
  t.c_type = types[random_in(0, 3)];
  t.a_signed = coin();
  t.a_zero = coin() ? static_cast<int>(random_in(-120, 200)) : 0;
  t.row_zero = random_in(0, 3) == 0;
  t.extremes = random_in(0, 3) == 0;
  if (t.c_type == GEMM_TO_S32) {
    t.bias = false;
    t.activation = GEMM_ACT_NONE;
    return t;
  }
  t.scale = coin();
  t.row_scale = coin();
  t.exact_scale = t.c_type != GEMM_TO_F32 && t.scale && coin();
  t.c_zero = static_cast<int>(t.c_type == GEMM_TO_S8 ? random_in(-128, 127) : random_in(0, 255));
  if (t.c_type == GEMM_TO_F32) {
    t.pre = coin();
    t.gradient = random_in(0, 3) == 0;
    t.residual = random_in(0, 3) == 0;
  }
  return t;
}

TEST(gemm_low_matches_naive_on_random_shapes) {
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (int i = 0; i < 1000; ++i) run_case(isa, kernels, random_case(type, i % 10 ? 40 : 150));
    });
}

TEST(gemm_low_handles_every_edge_of_a_kernel) {
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (int64_t m = 1; m <= 2 * kernels.panel_rows + 2; m += m < 16 ? 1 : 7)
        for (int64_t n = 1; n <= 137; n += n < 35 || n > 125 ? 1 : 9)
          for (int form = 0; form < (type == GEMM_BF16 ? 8 : 4); ++form) {
            Case t;
            t.type = type;
            t.from_float = form & 4;
            t.a_transposed = t.from_float && (m + n) % 2 != 0;
            t.a_first = form & 1;
            t.m = m, t.n = n, t.k = 1 + (m + n) % 9;
            t.c_type = type == GEMM_BF16 ? GEMM_TO_BF16 : GEMM_TO_U8;
            t.a_signed = t.b_transposed = form & 1;
            t.frozen = form & 2;
            t.scale = t.exact_scale = type == GEMM_S8;
            t.c_zero = 100;
            run_case(isa, kernels, t);
          }
    });
}

// Sums times their scale that no integer holds become the largest or the lowest byte.
TEST(gemm_s8_saturates_whatever_the_scale) {
  for_each_family(GEMM_S8, [](const GemmIsa& isa, const GemmKernels& kernels) {
    for (const int exponent : {7, 8, 9, 20, 40, 110})
      for (const int64_t m : {1, 4, 7, 14})
        for (const int64_t n : {16, 32, 40, 64})
          for (int form = 0; form < 4; ++form) {
            Case t;
            t.m = m, t.n = n, t.k = 64;
            t.c_type = form & 1 ? GEMM_TO_S8 : GEMM_TO_U8;
            t.c_zero = form & 2 ? 3 : 0;
            t.scale = t.exact_scale = true;
            t.bias = m == 7;
            t.scale_exponent = exponent;
            run_case(isa, kernels, t);
          }
  });
}

TEST(gemm_low_matches_naive_on_larger_shapes) {
  const int64_t shapes[][3] = {{1, 512, 784},  {8, 256, 512},  {1, 10, 256},    {64, 64, 64},
                               {64, 64, 32},   {128, 65, 257}, {33, 300, 70},   {5, 1030, 200},
                               {60, 96, 2048}, {20, 40, 4096}, {129, 257, 385}, {70, 40, 1000}};
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (const auto& s : shapes) {
        Case t = random_case(type, 2);
        t.m = s[0], t.n = s[1], t.k = s[2];
        t.gap = s[0] == 70 ? 5 : 0;
        run_case(isa, kernels, t);
      }
    });
}

TEST(gemm_bf16_cuts_sums_that_are_kept_in_float) {
  for_each_family(GEMM_BF16, [](const GemmIsa& isa, const GemmKernels& kernels) {
    for (const int64_t k : {2047, 2049, 4200, 6145})
      for (int form = 0; form < 8; ++form) {
        Case t;
        t.type = GEMM_BF16;
        t.m = 17, t.n = 37, t.k = k;
        t.c_type = GEMM_TO_F32;
        t.a_transposed = form & 1;
        t.b_transposed = form & 2;
        t.from_float = form & 4;
        t.a_first = k % 4 == 1;
        t.pre = t.frozen = form & 1;
        t.bias = t.residual = true;
        t.activation = GEMM_ACT_RELU;
        run_case(isa, kernels, t);
      }
  });
}

TEST(gemm_s8_is_exact_at_the_extremes_of_long_sums) {
  for_each_family(GEMM_S8, [](const GemmIsa& isa, const GemmKernels& kernels) {
    for (const int64_t k : {3000, 4096, 8191})
      for (int form = 0; form < 4; ++form) {
        Case t;
        t.m = 5, t.n = 19, t.k = k;
        t.extremes = true;
        t.a_signed = form & 1;
        t.b_transposed = form & 2;
        t.a_zero = form == 3 ? -128 : 0;
        run_case(isa, kernels, t);
      }
  });
}

TEST(gemm_low_handles_batches_and_repeated_operands) {
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (int i = 0; i < 150; ++i) {
        Case t = random_case(type, 40);
        t.batch = random_in(1, 5);
        t.b_repeats = coin();
        run_case(isa, kernels, t);
      }
    });
}

TEST(gemm_low_of_nothing_is_the_epilogue_of_zero) {
  for (const GemmType type : {GEMM_BF16, GEMM_S8})
    for_each_family(type, [&](const GemmIsa& isa, const GemmKernels& kernels) {
      for (int form = 0; form < 4; ++form) {
        Case t;
        t.type = type;
        t.m = 19, t.n = 37, t.k = 0;
        t.c_type = GEMM_TO_F32;
        t.b_transposed = form & 1;
        t.bias = form & 2;
        t.activation = GEMM_ACT_RELU;
        run_case(isa, kernels, t);
        t.m = 0;
        run_case(isa, kernels, t);
        t.m = 3, t.n = 0;
        run_case(isa, kernels, t);
      }
    });
}

// What benchmarks say of the machine is what products use: the families beyond those of every type
// and of the tiles in software.
TEST(cpu_extensions_are_those_of_the_families) {
  const tandem::CpuInfo info = tandem::cpu_info();
  std::set<std::string> families;
  for (const GemmIsa& isa : gemm_isas()) {
    if (info.isa != isa.name) continue;
    for (const GemmType type : {GEMM_BF16, GEMM_S8}) {
      for (const GemmKernels* kernels : gemm_families(isa, type)) {
        const std::string name = kernels->name;
        if (name.find('_') != std::string::npos && name.find("reference") == std::string::npos)
          families.insert(name);
      }
    }
  }
  const std::vector<std::string> extensions = tandem::cpu_extensions();
  CHECK(std::set<std::string>(extensions.begin(), extensions.end()) == families);
}

}  // namespace
