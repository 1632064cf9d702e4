// The functions of isa/math.h against the C library in double precision, in ulp, over a sample of
// all floats: every TANDEM_MATH_STRIDE-th bit pattern, both signs, NaN and infinities included.
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

#include "check.h"
#include "isas.h"

#ifndef TANDEM_MATH_STRIDE
#define TANDEM_MATH_STRIDE 6007
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
  const auto rounded = static_cast<float>(exact);
  if (got == rounded && (got != 0 || std::signbit(got) == std::signbit(exact))) {
    if (std::isinf(got)) return 0;
  } else if (got == 0 && std::signbit(got) != std::signbit(exact)) {
    return HUGE_VAL;
  }
  if (std::isinf(exact)) return got == rounded ? 0 : HUGE_VAL;
  const double value =
      std::isinf(got) ? std::copysign(0x1p128, static_cast<double>(got)) : static_cast<double>(got);
  const int exponent = exact == 0 ? -126 : std::max(std::ilogb(exact), -126);
  return std::fabs(value - exact) / std::ldexp(1.0, std::min(exponent, 127) - 23);
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
  // Nothing in this program changes the environment. NOLINTNEXTLINE(concurrency-mt-unsafe)
  if (std::getenv("TANDEM_TEST_VERBOSE") != nullptr || !(worst.ulps <= limit)) {
    std::printf("  %-7s %-9s %.3f ulp at %a, %a\n", isa, function, worst.ulps,
                static_cast<double>(worst.x), static_cast<double>(worst.y));
  }
  CHECK(worst.ulps <= limit);
}

const std::vector<float>& sample() {
  static const std::vector<float> all = [] {
    std::vector<float> x;
    for (uint64_t i = 0; i < (1ULL << 32); i += TANDEM_MATH_STRIDE)
      x.push_back(std::bit_cast<float>(static_cast<uint32_t>(i)));
    for (const float v : {0.0F,
                          1.0F,
                          0x1p-149F,
                          0x1p-126F,
                          3.4028235e38F,
                          kInf,
                          kNaN,
                          88.72284F,
                          88.72283F,
                          87.33655F,
                          103.972F,
                          103.973F,
                          0.6F,
                          0.9277F,
                          3.92F,
                          1.5707964F,
                          3.1415927F,
                          102943.7F,
                          1e5F,
                          16367173.0F * 0x1p72F,
                          11602543.0F * 0x1p-2F,
                          0x1.f1a5d8p16F,
                          0.34657359F,
                          1.0397208F}) {
      for (const float s :
           {v, -v, std::nextafter(v, kInf), std::nextafter(v, -kInf), -std::nextafter(v, 0.0F)})
        x.push_back(s);
    }
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

TEST(math_exp) {
  check_function("exp", &MathTable::exp, [](double x) { return std::exp(x); }, 2);
}
TEST(math_expm1) {
  check_function("expm1", &MathTable::expm1, [](double x) { return std::expm1(x); }, 2);
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
  check_function("sin", &MathTable::sin, [](double x) { return std::sin(x); }, 2);
}
TEST(math_cos) {
  check_function("cos", &MathTable::cos, [](double x) { return std::cos(x); }, 2);
}
TEST(math_sigmoid) {
  check_function(
      "sigmoid", &MathTable::sigmoid,
      [](double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); },
      3);
}
TEST(math_softplus) { check_function("softplus", &MathTable::softplus, softplus, 3); }

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
  std::vector<float> got(x.size());
  for (const Isa& isa : isas()) {
    isa.math->pow(x.data(), y.data(), got.data(), static_cast<int64_t>(x.size()));
    Worst worst;
    for (size_t i = 0; i < x.size(); ++i) {
      worst.see(ulps(got[i], std::pow(static_cast<double>(x[i]), static_cast<double>(y[i]))), x[i],
                y[i]);
    }
    report(isa.name, "pow", worst, 3);
  }
}
