// Products that add residuals, in every mixture with the other parts of the epilogue, against
// double precision.
#include <cmath>
#include <cstring>

#include "check.h"
#include "core/evaluate.h"
#include "core/ops/fused_matmul.h"
#include "cpu_device.h"
#include "node_runner.h"
#include "training_support.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

constexpr double kTolerance = 1e-6;

/// Parts of an epilogue, by bits.
enum Part : int { kBias = 1, kResidual = 2, kPre = 4, kTransA = 8, kTransB = 16 };

struct Size {
  int64_t m, n, k;
};

double silu(double x) { return x / (1 + std::exp(-x)); }

double number(float x, bool bf16) { return bf16 ? rounded(x) : static_cast<double>(x); }

/// `form`: 0 nothing, 1 relu, 2 silu, 3 the derivative of relu by what it gave.
struct Product {
  Size s;
  int parts, form;
  bool bf16;
  std::vector<float> a, b, bias, residual, saved;
  std::vector<double> y, pre;

  Product(const Size& size, int which, int activation, bool rounds)
      : s(size),
        parts(which),
        form(activation),
        bf16(rounds),
        a(random_floats(s.m * s.k, 1)),
        b(random_floats(s.k * s.n, 2)),
        bias(random_floats(s.n, 3)),
        residual(random_floats(s.m * s.n, 4)),
        saved(random_floats(s.m * s.n, 5)) {
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t j = 0; j < s.n; ++j) add(i, j);
    }
  }

  [[nodiscard]] bool has(Part part) const { return (parts & part) != 0; }

  void add(int64_t i, int64_t j) {
    double v = 0;
    for (int64_t l = 0; l < s.k; ++l) {
      v += number(a[static_cast<size_t>(has(kTransA) ? l * s.m + i : i * s.k + l)], bf16) *
           number(b[static_cast<size_t>(has(kTransB) ? j * s.k + l : l * s.n + j)], bf16);
    }
    const auto at = static_cast<size_t>(i * s.n + j);
    if (has(kResidual)) v += static_cast<double>(residual[at]);
    if (has(kBias)) v += static_cast<double>(bias[static_cast<size_t>(j)]);
    pre.push_back(v);
    if (form == 1) v = std::fmax(v, 0.0);
    if (form == 2) v = silu(v);
    if (form == 3) v = saved[at] > 0 ? v : 0.0;
    y.push_back(v);
  }

  [[nodiscard]] ops::FusedMatMul::Attributes attributes() const {
    ops::FusedMatMul::Attributes attributes;
    const Op ops[] = {Op::copy, Op::relu, Op::silu, Op::reluGrad};
    if (form > 0) attributes.activation = static_cast<int32_t>(ops[form]);
    attributes.gradient = form == 3;
    attributes.trans_a = has(kTransA);
    attributes.trans_b = has(kTransB);
    attributes.save_pre = has(kPre);
    attributes.bf16 = bf16;
    return attributes;
  }

  void check(const Isa& isa, bool in_place) const {
    using Dims = std::vector<int64_t>;
    NodeRunner node(Op::fusedMatmul, attributes());
    node.input(has(kTransA) ? Dims{s.k, s.m} : Dims{s.m, s.k}, a);
    node.input(has(kTransB) ? Dims{s.n, s.k} : Dims{s.k, s.n}, b);
    has(kBias) ? node.input({s.n}, bias) : node.no_input();
    form == 3 ? node.input({s.m, s.n}, saved) : node.no_input();
    has(kResidual) ? node.input({s.m, s.n}, residual, in_place) : node.no_input();
    node.output({s.m, s.n}, in_place ? 4 : -1);
    if (has(kPre)) node.output({s.m, s.n});
    node.run(isa);
    CHECK_NEAR(distance(node.result(), y), 0.0, kTolerance);
    if (has(kPre)) CHECK_NEAR(distance(node.result(1), pre), 0.0, kTolerance);
  }
};

/// x -> relu(x A + a) -> h + (h B + b), twice -> classes -> crossEntropy
GraphDescription residual_network(int64_t in, int64_t width, int64_t classes) {
  GraphDescription d;
  d.inputs = {{"x", {-1, in}, DType::kFloat32}, {"t", {-1}, DType::kInt32}};
  const Initializer uniform{InitializerKind::kUniform, -0.2, 0.2};
  d.parameters = {{"a.weight", {width, in}, true, uniform},     {"a.bias", {width}, true, uniform},
                  {"b.weight", {width, width}, true, uniform},  {"b.bias", {width}, true, uniform},
                  {"c.weight", {width, width}, true, uniform},  {"c.bias", {width}, true, uniform},
                  {"d.weight", {classes, width}, true, uniform}};
  d.nodes = {{"linear", {0, 2, 3}, {}},  {"relu", {9}, {}},
             {"linear", {10, 4, 5}, {}}, {"add", {10, 11}, {}},
             {"silu", {12}, {}},         {"linear", {13, 6, 7}, {}},
             {"add", {14, 13}, {}},      {"linear", {15, 8}, {}},
             {"countTargets", {1}, {}},  {"crossEntropy", {16, 1, -1, -1, 17}, {}}};
  d.outputs = {18};
  return d;
}

struct PlainProducts final : CpuDevice {
  [[nodiscard]] bool adds_in_products() const override { return false; }
};

/// Parameters after some steps.
std::vector<float> train(const Backend& backend, int threads, int64_t rows, Precision precision) {
  const GraphDescription d = residual_network(70, 131, 10);
  auto store = std::make_shared<ParameterStore>(d.parameters, 3);
  TrainerOptions options;
  options.optimizer = Op::sgd;
  options.optimizer_attributes = make_attributes(Op::sgd, {});
  options.threads = threads;
  options.precision = precision;
  Trainer trainer(store, d, options, backend);
  const std::vector<float> x = random_floats(rows * 70, 8);
  std::vector<int32_t> t;
  for (int64_t i = 0; i < rows; ++i) t.push_back(static_cast<int32_t>(i % 10));
  double results[1 + Trainer::kStepResults];
  for (int i = 0; i < 5; ++i) trainer.train(rows, {x.data(), t.data()}, 0.05, results);
  CHECK(!trainer.profile().kernels.empty());
  return floats(store->memory());
}

}  // namespace

TEST(fused_products_add_residuals_in_every_mixture) {
  const Size sizes[] = {{1, 1, 1}, {3, 37, 5}, {13, 35, 70}, {70, 33, 19}, {9, 150, 33}};
  for (const Size& s : sizes) {
    for (int parts = 0; parts < 32; ++parts) {
      for (int form = 0; form < 4; ++form) {
        if (form == 3 && (parts & (kBias | kPre)) != 0) continue;
        const Product product(s, parts, form, (parts + form) % 2 != 0);
        for (const Isa& isa : isas()) {
          product.check(isa, false);
          if (product.has(kResidual)) product.check(isa, true);
        }
      }
    }
  }
}

TEST(fused_products_of_many_rows_add_residuals) {
  const Size sizes[] = {{600, 260, 130}, {1500, 40, 300}, {2100, 3, 65}, {50, 1100, 640}};
  for (const Size& s : sizes) {
    for (const int form : {0, 3}) {
      for (const bool bf16 : {false, true}) {
        const Product product(s, kResidual | (bf16 ? kTransB : 0), form, bf16);
        for (const Isa& isa : isas()) product.check(isa, bf16);
      }
    }
  }
}

TEST(fused_products_train_as_separate_ops_do) {
  const PlainProducts plain;
  for (const int64_t rows : {1, 33, 300}) {
    for (const Precision precision : {Precision::kFloat32, Precision::kBf16Mixed}) {
      const std::vector<float> apart = train(plain, 1, rows, precision);
      const std::vector<float> fused = train(cpu_backend(), 1, rows, precision);
      const double tolerance = precision == Precision::kFloat32 ? 2e-6 : 1e-3;
      CHECK_NEAR(distance(fused, {apart.begin(), apart.end()}), 0.0, tolerance);
      for (const int threads : {2, 3, 5}) {
        const std::vector<float> other = train(cpu_backend(), threads, rows, precision);
        CHECK(std::memcmp(fused.data(), other.data(), fused.size() * 4) == 0);
      }
    }
  }
}
