// The functions of isa/math.h against the C library in double precision, in ulp, on every
// instruction set: every TANDEM_MATH_STRIDE-th bit pattern of all floats, both signs, NaN and
// infinities included, and the neighbourhood of every point where a function changes its formula.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

#include "check.h"
#include "isas.h"

#ifndef TANDEM_MATH_STRIDE
#define TANDEM_MATH_STRIDE 1009
#endif

namespace {

using namespace tandem::cpu;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Distance in units of the last place of the exact result. Beyond the largest float, infinity
/// counts as 2^128. A wrong sign of zero, or NaN against a number, is infinitely far.
double ulps(float got, double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : HUGE_VAL;
  if (std::isnan(got)) return HUGE_VAL;
  if (got == 0 && std::signbit(got) != std::signbit(exact)) return HUGE_VAL;
  if (std::isinf(got) && got == static_cast<float>(exact)) return 0;
  if (std::isinf(exact)) return HUGE_VAL;
  const double value =
      std::isinf(got) ? std::copysign(0x1p128, static_cast<double>(got)) : static_cast<double>(got);
  const auto biased = static_cast<int64_t>(std::bit_cast<uint64_t>(exact) >> 52 & 0x7ff);
  const int64_t exponent = std::clamp<int64_t>(biased - 1023, -126, 127);
  const auto per_ulp = std::bit_cast<double>(static_cast<uint64_t>(1023 + 23 - exponent) << 52);
  return std::fabs(value - exact) * per_ulp;
}

struct Worst {
  double ulps = 0;
  float x = 0;
  float y = 0;
  void see(double error, float at, float at_y = 0) {
    if (error > ulps) *this = {error, at, at_y};
  }
};

void report(const char* isa, const char* function, const Worst& worst, double limit) {
  // Only tests change the environment, one after another. NOLINTNEXTLINE(concurrency-mt-unsafe)
  if (std::getenv("TANDEM_TEST_VERBOSE") != nullptr || !(worst.ulps <= limit)) {
    std::printf("  %-7s %-9s %.3f ulp at %a, %a\n", isa, function, worst.ulps,
                static_cast<double>(worst.x), static_cast<double>(worst.y));
  }
  CHECK(worst.ulps <= limit);
}

/// Appends the floats next to `point`, a distance of up to 64 ulp, and their negatives.
void add_around(std::vector<float>& x, double point) {
  const auto centre = std::bit_cast<int32_t>(static_cast<float>(point));
  for (int32_t i = std::max(centre - 64, 0); i <= centre + 64; ++i) {
    const auto near = std::bit_cast<float>(i);
    x.push_back(near);
    x.push_back(-near);
  }
}

/// Where formulas change: at the ends of what can be represented and at the ends of the ranges to
/// which arguments are reduced or cut.
void add_branch_points(std::vector<float>& x) {
  for (const double end : {0x1p-126, 88.72284, 87.33655, 103.972, 105.0, 89.0, 30.0, 110.0})
    add_around(x, end);  // of exp and expm1
  for (const double end : {0.6, 9.0109, 10.0, 20.0, 3.9192, 3.94, 1.0986123, 105.0})
    add_around(x, end);  // of tanh, erf, softplus
  for (const double end : {1e5, 102943.7, 0x1p16, 0x1p17, 0x1.f1a5d8p16}) add_around(x, end);
  for (int i = 0; i < 320; ++i) {
    add_around(x, (i + 0.5) * 0.6931471805599453);  // exp: a power of two more
    add_around(x, (i + 1) * 0.7853981633974483);    // sin, cos: a quadrant's middle and end
  }
  for (int i = 0; i < 8; ++i) add_around(x, (i + 0.5) * 0.52666667);  // erf: another piece
  for (int exponent = -149; exponent < 128; ++exponent) {
    add_around(x, std::ldexp(1.0, exponent));
    add_around(x, std::ldexp(2.0 / 3.0, exponent + 1));  // log: a power of two more
  }
  // Close to multiples of pi/2, so that little is left of them.
  for (const float close : {16367173.0F * 0x1p72F, 11602543.0F * 0x1p-2F}) {
    x.push_back(close);
    x.push_back(-close);
  }
  for (const float last : {0.0F, std::numeric_limits<float>::max(), kInf, kNaN}) {
    x.push_back(last);
    x.push_back(-last);
  }
}

const std::vector<float>& sample() {
  static const std::vector<float> all = [] {
    std::vector<float> x;
    for (uint64_t i = 0; i < (1ULL << 32); i += TANDEM_MATH_STRIDE)
      x.push_back(std::bit_cast<float>(static_cast<uint32_t>(i)));
    add_branch_points(x);
    return x;
  }();
  return all;
}

double softplus(double x) {
  return std::isnan(x) ? x : std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x)));
}

void check_function(const char* name, MathTable::Unary MathTable::* function,
                    double (*reference)(double), double limit) {
  const std::vector<float>& x = sample();
  std::vector<double> exact(x.size());
  for (size_t i = 0; i < x.size(); ++i) exact[i] = reference(static_cast<double>(x[i]));
  std::vector<float> got(x.size());
  for (const Isa& isa : isas()) {
    (isa.math->*function)(x.data(), got.data(), static_cast<int64_t>(x.size()));
    Worst worst;
    for (size_t i = 0; i < x.size(); ++i) worst.see(ulps(got[i], exact[i]), x[i]);
    report(isa.name, name, worst, limit);
  }
}

}  // namespace

// The limits: 2 for exp, log, tanh and erf; for the others the largest error that math.h states,
// and a little for compilers that round products elsewhere.
TEST(math_exp) {
  check_function("exp", &MathTable::exp, [](double x) { return std::exp(x); }, 2);
}
TEST(math_expm1) {
  check_function("expm1", &MathTable::expm1, [](double x) { return std::expm1(x); }, 1.25);
}
TEST(math_log) {
  check_function("log", &MathTable::log, [](double x) { return std::log(x); }, 2);
}
TEST(math_tanh) {
  check_function("tanh", &MathTable::tanh, [](double x) { return std::tanh(x); }, 2);
}
TEST(math_erf) {
  check_function("erf", &MathTable::erf, [](double x) { return std::erf(x); }, 2);
}
TEST(math_sin) {
  check_function("sin", &MathTable::sin, [](double x) { return std::sin(x); }, 1.75);
}
TEST(math_cos) {
  check_function("cos", &MathTable::cos, [](double x) { return std::cos(x); }, 1.75);
}
TEST(math_sigmoid) {
  check_function(
      "sigmoid", &MathTable::sigmoid,
      [](double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); },
      2.5);
}
TEST(math_softplus) { check_function("softplus", &MathTable::softplus, softplus, 2); }

TEST(math_pow) {
  std::vector<float> x, y;
  const float special[] = {0.0F,        1.0F,  2.0F,    3.0F,      0.5F,   1.5F, 7.0F, 16777216.0F,
                           16777215.0F, 1e10F, 3.4e38F, 0x1p-149F, 1e-40F, kInf, kNaN, 0.99999994F};
  for (const float a : special) {
    for (const float b : special) {
      for (const float s : {a, -a}) {
        for (const float t : {b, -b}) x.push_back(s), y.push_back(t);
      }
    }
  }
  // Every magnitude of x with y such that the result spreads over all exponents; then any pair of
  // bits.
  uint64_t state = 1;
  const auto random = [&] {
    return state = state * 6364136223846793005ULL + 1442695040888963407ULL, state >> 33;
  };
  const auto uniform = [&] { return static_cast<double>(random()) * 0x1p-31; };
  for (int64_t i = 0; i < (int64_t{1} << 31); i += TANDEM_MATH_STRIDE) {
    const auto base = std::bit_cast<float>(static_cast<uint32_t>(i));
    x.push_back(base);
    y.push_back(static_cast<float>((uniform() * 200 - 105) / std::log(static_cast<double>(base))));
    x.push_back(static_cast<float>(std::exp(uniform() * 2 - 1)));
    y.push_back(static_cast<float>(uniform() * 100 - 50));
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(random() * 2)));
    y.push_back(static_cast<float>(static_cast<int>(random() % 41) - 20));
  }
  std::vector<double> exact(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    exact[i] = std::pow(static_cast<double>(x[i]), static_cast<double>(y[i]));
  std::vector<float> got(x.size());
  for (const Isa& isa : isas()) {
    isa.math->pow(x.data(), y.data(), got.data(), static_cast<int64_t>(x.size()));
    Worst worst;
    for (size_t i = 0; i < x.size(); ++i) worst.see(ulps(got[i], exact[i]), x[i], y[i]);
    report(isa.name, "pow", worst, 1.75);
  }
}
