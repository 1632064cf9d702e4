// Products of bfloat16 in graphs: the ops against double precision over rounded operands, and the
// pass that chooses them.
#include "core/precision.h"

#include <cmath>

#include "check.h"
#include "core/backend.h"
#include "core/fuse.h"
#include "core/ops/fused_matmul.h"
#include "core/ops/linear.h"
#include "core/ops/product_update.h"
#include "node_runner.h"

using namespace tandem;
using namespace tandem::cpu;

namespace {

/// Sums of this many rounded products, in float.
constexpr double kTolerance = 2e-6;

/// A matrix as it lies in memory, [columns, rows] if transposed.
struct Matrix {
  int64_t rows, columns;
  bool transposed;
  std::vector<float> values;

  Matrix(int64_t m, int64_t n, bool trans, uint32_t seed)
      : rows(m), columns(n), transposed(trans), values(random_floats(m * n, seed)) {}
  [[nodiscard]] std::vector<int64_t> dims() const {
    return transposed ? std::vector<int64_t>{columns, rows} : std::vector<int64_t>{rows, columns};
  }
  [[nodiscard]] double at(int64_t i, int64_t j) const {
    return rounded(values[static_cast<size_t>(transposed ? j * rows + i : i * columns + j)]);
  }
};

std::vector<double> product(const Matrix& a, const Matrix& b) {
  std::vector<double> c;
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < b.columns; ++j) {
      double sum = 0;
      for (int64_t x = 0; x < a.columns; ++x) sum += a.at(i, x) * b.at(x, j);
      c.push_back(sum);
    }
  }
  return c;
}

struct Size {
  int64_t m, n, k;
};
constexpr Size kSizes[] = {{1, 1, 1},    {5, 3, 7},      {33, 19, 65},  {70, 130, 31},
                           {14, 64, 96}, {129, 70, 257}, {3, 200, 2100}};

}  // namespace

TEST(matmul_multiplies_rounded_operands) {
  for (const Size& s : kSizes) {
    for (int form = 0; form < 4; ++form) {
      const Matrix a(s.m, s.k, (form & 1) != 0, 1);
      const Matrix b(s.k, s.n, (form & 2) != 0, 2);
      const std::vector<double> expected = product(a, b);
      for (const Isa& isa : isas()) {
        NodeRunner node(Op::matmul, ops::MatMul::Attributes{a.transposed, b.transposed, true});
        node.input(a.dims(), a.values).input(b.dims(), b.values).output({s.m, s.n}).run(isa);
        CHECK_NEAR(distance(node.result(), expected), 0.0, kTolerance);
      }
    }
  }
}

TEST(linear_multiplies_rounded_operands_and_adds_the_bias_as_it_is) {
  for (const Size& s : kSizes) {
    const Matrix x(s.m, s.k, false, 1);
    const Matrix w(s.k, s.n, true, 2);
    const std::vector<float> bias = random_floats(s.n, 3);
    std::vector<double> expected = product(x, w);
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] += static_cast<double>(bias[i % static_cast<size_t>(s.n)]);
    for (const Isa& isa : isas()) {
      NodeRunner node(Op::linear, ops::Linear::Attributes{true});
      node.input(x.dims(), x.values).input(w.dims(), w.values).input({s.n}, bias);
      node.output({s.m, s.n}).run(isa);
      CHECK_NEAR(distance(node.result(), expected), 0.0, kTolerance);
    }
  }
}

TEST(fused_products_of_bf16_keep_their_epilogue_in_float) {
  const Size s{45, 37, 83};
  const Matrix a(s.m, s.k, false, 1);
  const Matrix b(s.k, s.n, true, 2);
  const std::vector<float> bias = random_floats(s.n, 3);
  std::vector<double> pre = product(a, b);
  for (size_t i = 0; i < pre.size(); ++i)
    pre[i] += static_cast<double>(bias[i % static_cast<size_t>(s.n)]);
  std::vector<double> expected;
  expected.reserve(pre.size());
  for (const double x : pre) expected.push_back(x / (1 + std::exp(-x)));
  ops::FusedMatMul::Attributes attributes;
  attributes.activation = static_cast<int32_t>(Op::silu);
  attributes.trans_b = attributes.save_pre = attributes.bf16 = true;
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::fusedMatmul, attributes);
    node.input(a.dims(), a.values).input(b.dims(), b.values).input({s.n}, bias);
    node.output({s.m, s.n}).output({s.m, s.n}).run(isa);
    CHECK_NEAR(distance(node.result(0), expected), 0.0, kTolerance);
    CHECK_NEAR(distance(node.result(1), pre), 0.0, kTolerance);
  }
}

TEST(product_updates_multiply_rounded_operands) {
  for (const Size& s : kSizes) {
    for (int form = 0; form < 4; ++form) {
      const Matrix a(s.m, s.k, (form & 1) != 0, 1);
      const Matrix b(s.k, s.n, (form & 2) != 0, 2);
      const std::vector<double> gradient = product(a, b);
      double squares = 0;
      for (const double g : gradient) squares += g * g;
      ops::ProductUpdate::Attributes attributes;
      attributes.trans_a = a.transposed;
      attributes.trans_b = b.transposed;
      attributes.optimizer = static_cast<int32_t>(Op::sgd);
      const ops::Sgd::Attributes sgd{};
      std::memcpy(attributes.optimizer_attributes.data(), &sgd, sizeof sgd);
      attributes.bf16 = true;
      for (const Isa& isa : isas()) {
        StepState state{};
        state.learning_rate = 1.0;
        state.step = 1;
        NodeRunner node(Op::productUpdate, attributes);
        node.input(a.dims(), a.values).input(b.dims(), b.values);
        node.input({s.m * s.n}, std::vector<float>(static_cast<size_t>(s.m * s.n)), true);
        node.no_input().input({s.m}, random_floats(s.m, 4), true).run(isa, &state);
        std::vector<float> moved = node.input_now(2);
        for (float& x : moved) x = -x;
        CHECK_NEAR(distance(moved, gradient), 0.0, kTolerance);
        double sum = 0;
        for (const float x : node.input_now(4)) sum += static_cast<double>(x);
        CHECK_NEAR(sum, squares, 1e-5 * squares);
      }
    }
  }
}

TEST(use_bf16_changes_products_and_nothing_else) {
  Graph graph;
  const ValueId x = graph.add_input(make_tensor({8, 6}, DType::kFloat32));
  const ValueId w = graph.add_parameter(make_tensor({4, 6}, DType::kFloat32));
  const ValueId v = graph.add_parameter(make_tensor({4, 4}, DType::kFloat32));
  const ValueId hidden = graph.apply(Op::relu, {graph.apply(Op::linear, {x, w})});
  const ValueId y = graph.apply(Op::matmul, {hidden, v});
  const ValueId z = graph.apply(Op::linear, {y, v});
  const ValueId planes = graph.add_input(make_tensor({2, 4, 5, 5}, DType::kFloat32));
  const ValueId filters = graph.add_parameter(make_tensor({3, 4, 3, 3}, DType::kFloat32));
  const ValueId filtered = graph.apply(Op::relu, {graph.apply(Op::conv2d, {planes, filters})});
  const ValueId heads = graph.add_input(make_tensor({2, 3, 12}, DType::kFloat32));
  const AttributeStorage two = make_attributes(Op::attention, {{"heads", 2.0}});
  graph.outputs = {graph.apply(Op::softmax, {z}), filtered,
                   graph.apply(Op::attention, {heads}, two)};
  fuse(graph, cpu_backend());
  for (const Node& node : graph.nodes) CHECK(!uses_bf16(node));
  use_bf16(graph);
  std::vector<Op> products;
  for (const Node& node : graph.nodes) {
    if (uses_bf16(node)) products.push_back(node.op);
  }
  CHECK((products ==
         std::vector<Op>{Op::fusedMatmul, Op::matmul, Op::linear, Op::fusedConv, Op::attention}));
  CHECK(graph.nodes.size() == 6);
}
