// Every op of elementwise.def, on every instruction set: the forward expressions against references
// written by hand in double precision, the derivatives (checked themselves against differences of
// the forward) and everything else against the same expressions read in double.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "isas.h"
#include "kernel_harness.h"

namespace {

using namespace tandem;
using namespace tandem::cpu;
using Dims = KernelHarness::Dims;

// ---- elementwise.def read in double precision ---------------------------------------------------

namespace expressions {

double c(float v) { return static_cast<double>(v); }
double sqrt_(double x) { return std::sqrt(x); }
double exp_(double x) { return std::exp(x); }
double expm1_(double x) { return std::expm1(x); }
double log_(double x) { return std::log(x); }
double tanh_(double x) { return std::tanh(x); }
double erf_(double x) { return std::erf(x); }
double sin_(double x) { return std::sin(x); }
double cos_(double x) { return std::cos(x); }
double pow_(double x, double y) { return std::pow(x, y); }
double abs_(double x) { return std::fabs(x); }
double sigmoid_(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}
double softplus_(double x) {
  return std::isnan(x) ? x : std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x)));
}
double min_(double x, double y) { return std::isnan(x) || std::isnan(y) ? x + y : std::fmin(x, y); }
double max_(double x, double y) { return std::isnan(x) || std::isnan(y) ? x + y : std::fmax(x, y); }
double where_gt(double p, double q, double r, double s) { return p > q ? r : s; }
double where_ge(double p, double q, double r, double s) { return p >= q ? r : s; }
double where_eq(double p, double q, double r, double s) { return p == q ? r : s; }

enum Saved { kNone, kX, kY };

#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED)  \
  double name##_value([[maybe_unused]] double x, [[maybe_unused]] double a,  \
                      [[maybe_unused]] double b) {                           \
    return forward;                                                          \
  }                                                                          \
  double name##_slope([[maybe_unused]] double x, [[maybe_unused]] double y,  \
                      [[maybe_unused]] double dy, [[maybe_unused]] double a, \
                      [[maybe_unused]] double b) {                           \
    return derivative;                                                       \
  }
#define BINARY(name, forward, gradient_a, gradient_b) \
  double name##_value(double a, double b) { return forward; }
#define LOSS(name, A, a_default, value, gradient_x, gradient_t)                        \
  double name##_value(double x, double t, [[maybe_unused]] double a) { return value; } \
  double name##_slope([[maybe_unused]] double x, [[maybe_unused]] double t,            \
                      [[maybe_unused]] double a) {                                     \
    return gradient_x;                                                                 \
  }                                                                                    \
  double name##_target([[maybe_unused]] double x, [[maybe_unused]] double t,           \
                       [[maybe_unused]] double a) {                                    \
    return gradient_t;                                                                 \
  }
#include "core/elementwise.def"

}  // namespace expressions

struct UnaryCase {
  const char* name;
  Op op, grad;
  float a, b;
  expressions::Saved saved;
  double (*value)(double x, double a, double b);
  double (*slope)(double x, double y, double dy, double a, double b);
};
const UnaryCase kUnary[] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) \
  {#name,                                                                   \
   Op::name,                                                                \
   Op::name##Grad,                                                          \
   a_default,                                                               \
   b_default,                                                               \
   expressions::SAVED,                                                      \
   expressions::name##_value,                                               \
   expressions::name##_slope},
#include "core/elementwise.def"
};

struct BinaryCase {
  const char* name;
  Op op;
  double (*value)(double a, double b);
};
const BinaryCase kBinary[] = {
#define BINARY(name, forward, gradient_a, gradient_b) {#name, Op::name, expressions::name##_value},
#include "core/elementwise.def"
};

struct LossCase {
  const char* name;
  Op op, grad, grad_target;
  double (*value)(double x, double t, double a);
  double (*slope)(double x, double t, double a);
  double (*target)(double x, double t, double a);
};
const LossCase kLoss[] = {
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  {#name,                                                       \
   Op::name,                                                    \
   Op::name##Grad,                                              \
   Op::name##GradTarget,                                        \
   expressions::name##_value,                                   \
   expressions::name##_slope,                                   \
   expressions::name##_target},
#include "core/elementwise.def"
};

// ---- helpers
// --------------------------------------------------------------------------------------

std::vector<float> numbers(int64_t n, uint64_t seed, double low = -4, double high = 4) {
  std::vector<float> v(static_cast<size_t>(n));
  uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (float& x : v) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    x = static_cast<float>(low + (high - low) * static_cast<double>(state >> 40) * 0x1p-24);
  }
  return v;
}

int64_t product(const Dims& dims) {
  int64_t n = 1;
  for (const int64_t d : dims) n *= d;
  return n;
}

/// One check for a whole array, the reference rounded to float (beyond the largest, to infinity):
/// the first difference is reported.
void check_close(const std::string& what, const std::vector<float>& got,
                 const std::vector<double>& want, double tolerance) {
  CHECK(got.size() == want.size());
  for (size_t i = 0; i < got.size() && i < want.size(); ++i) {
    if (check::near(static_cast<double>(got[i]), static_cast<double>(static_cast<float>(want[i])),
                    tolerance))
      continue;
    check::fail(__FILE__, __LINE__,
                what + " at " + std::to_string(i) + " is " + std::to_string(got[i]) +
                    ", expected " + std::to_string(want[i]));
    return;
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

const int64_t kSizes[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1023, 16384, 16391, 40000};

std::vector<float> with_special_values(std::vector<float> x) {
  const float inf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0F, -0.0F, 1.0F,          -3.0F,  3.0F,    0.7F,   1.9F,
                           inf,  -inf,  std::nanf(""), 100.0F, -100.0F, 1e-30F, -1e-30F};
  for (size_t i = 0; i < std::size(special) && 3 * i < x.size(); ++i) x[3 * i] = special[i];
  return x;
}

}  // namespace

TEST(elementwise_forward_formulas) {
  using Reference = double (*)(double x);
  struct Case {
    const char* name;
    Reference value;
  };
  const Case cases[] = {
      {"relu", [](double x) { return std::fmax(x, 0); }},
      {"gelu", [](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }},
      {"geluTanh",
       [](double x) {
         return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
       }},
      {"silu", [](double x) { return x / (1 + std::exp(-x)); }},
      {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"leakyRelu", [](double x) { return x > 0 ? x : 0.7 * x; }},
      {"elu", [](double x) { return x > 0 ? x : 0.7 * (std::exp(x) - 1); }},
      {"softplus", [](double x) { return std::log(1 + std::exp(x)); }},
      {"hardSwish", [](double x) { return x <= -3  ? 0
                                          : x >= 3 ? x
                                                   : x * (x + 3) / 6; }},
      {"hardSigmoid", [](double x) { return x <= -3  ? 0
                                            : x >= 3 ? 1
                                                     : x / 6 + 0.5; }},
      {"mish", [](double x) { return x * std::tanh(std::log(1 + std::exp(x))); }},
      {"exp", [](double x) { return std::exp(x); }},
      {"log", [](double x) { return std::log(x); }},
      {"sqrt", [](double x) { return std::sqrt(x); }},
      {"rsqrt", [](double x) { return 1 / std::sqrt(x); }},
      {"abs", [](double x) { return std::fabs(x); }},
      {"neg", [](double x) { return -x; }},
      {"square", [](double x) { return x * x; }},
      {"reciprocal", [](double x) { return 1 / x; }},
      {"sin", [](double x) { return std::sin(x); }},
      {"cos", [](double x) { return std::cos(x); }},
      {"erf", [](double x) { return std::erf(x); }},
      {"clamp", [](double x) { return x < 0.7   ? 0.7
                                      : x > 1.9 ? 1.9
                                                : x; }},
      {"scale", [](double x) { return 0.7 * x + 1.9; }},
  };
  CHECK(std::size(cases) == std::size(kUnary));
  for (size_t i = 0; i < std::size(cases); ++i) {
    const UnaryCase& op = kUnary[i];
    CHECK(std::string(op.name) == cases[i].name);
    for (int step = 0; step <= 256; ++step) {
      const double x = -5.0123 + 0.0391 * step;
      const double y = op.value(x, 0.7, 1.9);
      CHECK_NEAR(y, cases[i].value(x), 3e-7);
      const double h = 1e-5;
      const double below = op.value(x - h, 0.7, 1.9);
      const double above = op.value(x + h, 0.7, 1.9);
      if (std::isnan(below) || std::isnan(above) || std::fabs(x) < 0.02) continue;
      CHECK_NEAR(op.slope(x, y, 1.5, 0.7, 1.9), 1.5 * (above - below) / (2 * h), 1e-5);
    }
  }
}

TEST(elementwise_unary) {
  for (const Isa& isa : isas()) {
    for (const UnaryCase& op : kUnary) {
      const std::string what = std::string(isa.name) + " " + op.name;
      for (const bool defaults : {false, true}) {
        const ElementwiseAttributes attributes =
            defaults ? ElementwiseAttributes{op.a, op.b} : ElementwiseAttributes{0.7F, 1.9F};
        const auto a = static_cast<double>(attributes.a), b = static_cast<double>(attributes.b);
        for (const int64_t n : kSizes) {
          const std::vector<float> x = with_special_values(numbers(n, 1)), dy = numbers(n, 2);
          std::vector<float> kept = x;
          std::vector<double> value(x.size()), slope(x.size());
          for (size_t i = 0; i < x.size(); ++i) {
            const auto at = static_cast<double>(x[i]);
            value[i] = op.value(at, a, b);
            if (op.saved == expressions::kY) kept[i] = static_cast<float>(value[i]);
            slope[i] = op.slope(at, static_cast<double>(kept[i]), static_cast<double>(dy[i]), a, b);
          }
          KernelHarness forward(isa.launchers, op.op);
          forward.attributes(attributes).input({n}, x).output({n}).run();
          CHECK(forward.clean());
          check_close(what, forward.floats(0), value, 1e-6);
          KernelHarness in_place(isa.launchers, op.op);
          in_place.attributes(attributes)
              .input({n}, x)
              .output_over(0)
              .order(TileOrder::kShuffled)
              .run();
          CHECK(in_place.clean());
          CHECK(same_bits(in_place.floats(0), forward.floats(0)));
          const bool saves = op.saved != expressions::kNone;
          KernelHarness backward(isa.launchers, op.grad);
          backward.attributes(attributes).input({n}, dy);
          if (saves) backward.input({n}, kept);
          backward.output({n}).run();
          CHECK(backward.clean());
          check_close(what + "Grad", backward.floats(0), slope, 2e-6);
          for (const size_t over : {size_t{0}, size_t{1}}) {
            if (over == 1 && !saves) continue;
            KernelHarness again(isa.launchers, op.grad);
            again.attributes(attributes).input({n}, dy);
            if (saves) again.input({n}, kept);
            again.output_over(over).run();
            CHECK(again.clean());
            CHECK(same_bits(again.floats(0), backward.floats(0)));
          }
          const float parameters[] = {attributes.a, attributes.b};
          std::vector<float> row(x.size());
          isa.row_function(op.op)(x.data(), nullptr, row.data(), n, parameters);
          CHECK(same_bits(row, forward.floats(0)));
          isa.row_function(op.grad)(dy.data(), saves ? kept.data() : nullptr, row.data(), n,
                                    parameters);
          CHECK(same_bits(row, backward.floats(0)));
        }
      }
    }
    CHECK(isa.row_function(Op::add) == nullptr);
    CHECK(isa.row_function(Op::adam) == nullptr);
  }
}

TEST(elementwise_binary_broadcasting) {
  const struct {
    Dims a, b;
  } cases[] = {
      {{}, {}},
      {{1}, {1, 1}},
      {{7, 5}, {7, 5}},
      {{33}, {}},
      {{}, {40000}},
      {{17001}, {1}},
      {{3, 1, 5}, {4, 1}},
      {{100, 64}, {64}},
      {{101, 67}, {101, 1}},
      {{101, 1}, {67}},
      {{1, 130}, {200, 1}},
      {{2, 3, 70}, {3, 1}},
      {{2, 1, 70}, {1, 3, 1}},
      {{2, 300, 70}, {2, 1, 70}},
      {{9000, 2}, {9000, 1}},
      {{6001, 3}, {3}},
      {{5, 4097}, {4097}},
      {{1, 3}, {700, 7, 3}},
      {{2, 1, 3, 1, 65}, {4, 1, 2, 1}},
      {{5, 1, 3, 1, 2, 1, 2, 2}, {1, 4, 1, 3, 1, 2, 1, 2}},
      {{2, 2, 2, 2, 2, 2, 2, 33}, {2, 1, 2, 1, 2, 1, 33}},
      {{0, 3}, {3}},
      {{1, 3}, {0, 1}},
  };
  for (const Isa& isa : isas()) {
    for (const auto& [da, db] : cases) {
      const size_t rank = std::max(da.size(), db.size());
      const auto dim = [&](const Dims& dims, size_t d) {
        return d + dims.size() < rank ? 1 : dims[d + dims.size() - rank];
      };
      Dims out(rank);
      for (size_t d = 0; d < rank; ++d) out[d] = dim(da, d) == 1 ? dim(db, d) : dim(da, d);
      const int64_t n = product(out);
      const auto source = [&](const Dims& dims, int64_t element) {
        int64_t offset = 0, stride = 1;
        for (size_t d = rank; d-- > 0;) {
          if (dim(dims, d) != 1) offset += element % out[d] * stride;
          stride *= dim(dims, d);
          element /= out[d];
        }
        return static_cast<size_t>(offset);
      };
      const std::vector<float> a = with_special_values(numbers(product(da), 3)),
                               b = with_special_values(numbers(product(db), 4, -3, 5));
      std::vector<float> a_all(static_cast<size_t>(n)), b_all(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) {
        a_all[static_cast<size_t>(i)] = a[source(da, i)];
        b_all[static_cast<size_t>(i)] = b[source(db, i)];
      }
      for (const BinaryCase& op : kBinary) {
        std::string what = std::string(isa.name) + " " + op.name;
        for (const int64_t d : da) what.append(" ").append(std::to_string(d));
        what += " with";
        for (const int64_t d : db) what.append(" ").append(std::to_string(d));
        std::vector<double> want(static_cast<size_t>(n));
        for (size_t i = 0; i < want.size(); ++i) {
          want[i] = op.value(static_cast<double>(a_all[i]), static_cast<double>(b_all[i]));
        }
        KernelHarness kernel(isa.launchers, op.op);
        kernel.input(da, a).input(db, b).output(out).run();
        CHECK(kernel.clean());
        check_close(what, kernel.floats(0), want, 1e-6);
        for (const size_t over : {size_t{0}, size_t{1}}) {
          if ((over == 0 ? da : db) != out) continue;
          KernelHarness in_place(isa.launchers, op.op);
          in_place.input(da, a).input(db, b).output_over(over).order(TileOrder::kShuffled).run();
          CHECK(in_place.clean());
          CHECK(same_bits(in_place.floats(0), kernel.floats(0)));
        }
      }
    }
  }
}

TEST(elementwise_losses_with_weights) {
  for (const Isa& isa : isas()) {
    for (const LossCase& op : kLoss) {
      const std::string what = std::string(isa.name) + " " + op.name + " with weights";
      for (const auto& [count, inner] : {std::pair<int64_t, int64_t>{1, 1},
                                         {7, 1},
                                         {40001, 1},
                                         {13, 3},
                                         {11, 16},
                                         {3, 1500},
                                         {1, 40001},
                                         {6007, 5}}) {
        const int64_t n = count * inner;
        const ElementwiseAttributes attributes = {1.3F, 0.0F};
        const auto a = static_cast<double>(attributes.a);
        std::vector<float> x = numbers(n, 5), t = numbers(n, 6, 0, 1), w = numbers(count, 7, 0, 2);
        for (size_t i = 1; i < w.size(); i += 3) w[i] = 0;
        // what has no weight does not count, whatever it is
        if (count > 1) x[static_cast<size_t>(inner)] = std::numeric_limits<float>::quiet_NaN();
        double sum = 0, divisor = 0;
        for (const float weight : w) divisor += static_cast<double>(weight);
        std::vector<double> slope(x.size()), target(x.size());
        const float dy = 0.75F;
        for (size_t i = 0; i < x.size(); ++i) {
          const auto weight = static_cast<double>(w[i / static_cast<size_t>(inner)]);
          if (weight == 0) continue;
          const auto xi = static_cast<double>(x[i]), ti = static_cast<double>(t[i]);
          sum += weight * op.value(xi, ti, a);
          const double scale = weight * static_cast<double>(dy) * static_cast<double>(count);
          slope[i] = scale * op.slope(xi, ti, a) / divisor;
          target[i] = scale * op.target(xi, ti, a) / divisor;
        }
        const std::vector<float> by{static_cast<float>(divisor)};
        KernelHarness loss(isa.launchers, op.op);
        loss.attributes(attributes).input({n}, x).input({n}, t).input({count}, w).input({}, by);
        loss.output({}).order(TileOrder::kShuffled).run();
        CHECK(loss.clean());
        CHECK_NEAR(loss.floats(0)[0], sum / divisor / static_cast<double>(inner), 1e-6);
        for (const bool for_target : {false, true}) {
          for (const int over : {-1, 0, 1}) {
            KernelHarness backward(isa.launchers, for_target ? op.grad_target : op.grad);
            backward.attributes(attributes).input({n}, x).input({n}, t);
            backward.input({}, std::vector<float>{dy}).input({count}, w).input({}, by);
            if (over < 0) {
              backward.output({n});
            } else {
              backward.output_over(static_cast<size_t>(over));
            }
            backward.run();
            CHECK(backward.clean());
            std::vector<float> scaled = backward.floats(0);
            for (float& g : scaled) g *= static_cast<float>(n);
            check_close(what, scaled, for_target ? target : slope, 2e-6);
          }
        }
      }
      KernelHarness nothing(isa.launchers, op.op);
      nothing.attributes(ElementwiseAttributes{1.3F, 0.0F});
      nothing.input({2, 3}, numbers(6, 5)).input({2, 3}, numbers(6, 6));
      nothing.input({2}, std::vector<float>{0, 0}).input({}, std::vector<float>{0}).output({});
      nothing.run();
      CHECK(nothing.floats(0)[0] == 0.0F);
    }
  }
}

TEST(elementwise_losses) {
  for (const Isa& isa : isas()) {
    for (const LossCase& op : kLoss) {
      const std::string what = std::string(isa.name) + " " + op.name;
      for (const int64_t n : kSizes) {
        const ElementwiseAttributes attributes = {1.3F, 0.0F};
        const auto a = static_cast<double>(attributes.a);
        std::vector<float> x = numbers(n, 5), t = numbers(n, 6, 0, 1);
        if (n > 8) x[4] = t[4];
        double sum = 0;
        std::vector<double> slope(x.size()), target(x.size());
        const float dy = 0.75F;
        for (size_t i = 0; i < x.size(); ++i) {
          const auto xi = static_cast<double>(x[i]), ti = static_cast<double>(t[i]);
          sum += op.value(xi, ti, a);
          slope[i] = static_cast<double>(dy) * op.slope(xi, ti, a);
          target[i] = static_cast<double>(dy) * op.target(xi, ti, a);
        }
        KernelHarness loss(isa.launchers, op.op);
        loss.attributes(attributes).input({n}, x).input({n}, t).output({}).run();
        CHECK(loss.clean());
        CHECK_NEAR(loss.floats(0)[0], sum / static_cast<double>(n), 5e-7);
        KernelHarness forward(isa.launchers, op.op);
        forward.attributes(attributes)
            .input({n}, x)
            .input({n}, t)
            .output({})
            .order(TileOrder::kForward)
            .run();
        CHECK(same_bits(loss.floats(0), forward.floats(0)));
        for (const bool for_target : {false, true}) {
          const Op grad = for_target ? op.grad_target : op.grad;
          KernelHarness backward(isa.launchers, grad);
          backward.attributes(attributes)
              .input({n}, x)
              .input({n}, t)
              .input({}, std::vector<float>{dy})
              .output({n})
              .run();
          CHECK(backward.clean());
          std::vector<float> scaled = backward.floats(0);
          for (float& g : scaled) g *= static_cast<float>(n);
          check_close(what + (for_target ? "GradTarget" : "Grad"), scaled,
                      for_target ? target : slope, 2e-6);
          for (const size_t over : {size_t{0}, size_t{1}}) {
            KernelHarness in_place(isa.launchers, grad);
            in_place.attributes(attributes)
                .input({n}, x)
                .input({n}, t)
                .input({}, std::vector<float>{dy})
                .output_over(over)
                .run();
            CHECK(in_place.clean());
            CHECK(same_bits(in_place.floats(0), backward.floats(0)));
          }
        }
      }
    }
  }
}
