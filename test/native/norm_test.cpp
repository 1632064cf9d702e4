// layerNorm, rmsNorm, groupNorm and their gradients against double precision.
#include "check.h"
#include "core/ops/group_norm.h"
#include "core/ops/row_norm.h"
#include "norm_reference.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;
using Floats = std::vector<float>;

namespace {

constexpr float kEpsilon = 1e-3F;
constexpr double kClose = 2e-6;

NodeRunner& optional(NodeRunner& node, const Dims& dims, const Floats& values) {
  return values.empty() ? node.no_input() : node.input(dims, values);
}

Floats sum_of(const Floats& a, const Floats& b) {
  Floats sum = a;
  for (size_t i = 0; i < b.size(); ++i) sum[i] += b[i];
  return sum;
}

struct Row {
  int64_t rows, length;
  bool weight, bias, residual;
};

/// y over nothing, over x and over the residual; with and without the sum as an output.
void check_forward(const Row& c, bool centered) {
  const Dims dims{c.rows, c.length};
  const int64_t n = c.rows * c.length;
  const Floats x = random_floats(n, 1, -2.0F, 3.0F);
  const Floats residual = c.residual ? random_floats(n, 2) : Floats{};
  const Floats w = c.weight ? random_floats(c.length, 3, 0.5F, 2.0F) : Floats{};
  const Floats b = c.bias && centered ? random_floats(c.length, 4) : Floats{};
  const Floats sum = sum_of(x, residual);
  const NormReference expected = reference_norm(row_groups(c.rows, c.length), sum, w, b, {},
                                                static_cast<double>(kEpsilon), centered);
  for (const Isa& isa : isas()) {
    for (const int over : c.residual ? std::vector<int>{-1, 0, 3} : std::vector<int>{-1, 0}) {
      for (const bool keep_sum : {false, true}) {
        if (keep_sum && !c.residual) continue;
        NodeRunner node(centered ? Op::layerNorm : Op::rmsNorm, ops::RowNormAttributes{kEpsilon});
        node.input(dims, x);
        optional(node, {c.length}, w);
        optional(node, {c.length}, b);
        optional(node, dims, residual);
        node.output(dims, over);
        if (centered) node.output({c.rows});
        node.output({c.rows});
        if (keep_sum) node.output(dims);
        node.run(isa);
        const size_t inverse = centered ? 2 : 1;
        CHECK_NEAR(distance(node.result(0), expected.y), 0.0, kClose);
        if (centered) CHECK_NEAR(distance(node.result(1), expected.mean), 0.0, kClose);
        CHECK_NEAR(distance(node.result(inverse), expected.inverse), 0.0, kClose);
        if (keep_sum) CHECK(node.result(inverse + 1) == sum);
      }
    }
  }
}

void check_gradient(const Row& c, bool centered) {
  const Dims dims{c.rows, c.length};
  const int64_t n = c.rows * c.length;
  const Floats x = random_floats(n, 5, -2.0F, 3.0F);
  const Floats dy = random_floats(n, 6);
  const Floats residual = c.residual ? random_floats(n, 7) : Floats{};
  const Floats w = c.weight ? random_floats(c.length, 8, 0.5F, 2.0F) : Floats{};
  NormReference expected = reference_norm(row_groups(c.rows, c.length), x, w, {}, dy,
                                          static_cast<double>(kEpsilon), centered);
  for (size_t i = 0; i < residual.size(); ++i) expected.dx[i] += static_cast<double>(residual[i]);
  ops::RowNormGradBase::Attributes attributes;
  attributes.dw = c.weight;
  attributes.db = c.bias && centered;
  attributes.length = c.length;
  for (const Isa& isa : isas()) {
    for (const int over : c.residual ? std::vector<int>{-1, 0, 1, 3} : std::vector<int>{-1, 0, 1}) {
      NodeRunner node(centered ? Op::layerNormGrad : Op::rmsNormGrad, attributes);
      node.input(dims, dy).input(dims, x);
      optional(node, {c.length}, w);
      optional(node, dims, residual);
      if (centered) node.input({c.rows}, rounded(expected.mean));
      node.input({c.rows}, rounded(expected.inverse));
      node.output(dims, over);
      if (attributes.dw) node.output({c.length});
      if (attributes.db) node.output({c.length});
      node.run(isa);
      CHECK_NEAR(distance(node.result(0), expected.dx), 0.0, kClose);
      if (attributes.dw) CHECK_NEAR(distance(node.result(1), expected.dw), 0.0, kClose);
      if (attributes.db)
        CHECK_NEAR(distance(node.result(attributes.dw ? 2 : 1), expected.db), 0.0, kClose);
    }
  }
}

constexpr Row kRows[] = {{1, 3, true, true, false},    {3, 7, true, true, true},
                         {5, 16, true, false, false},  {4, 33, false, true, true},
                         {9, 128, true, true, true},   {6, 384, false, false, true},
                         {600, 65, true, true, false}, {2, 20000, true, true, true},
                         {41, 1000, true, true, true}, {0, 5, true, true, false}};

}  // namespace

TEST(layer_norm_and_its_gradient) {
  for (const Row& row : kRows) {
    if (row.rows > 0) check_forward(row, true);
    check_gradient(row, true);
  }
}

TEST(rms_norm_and_its_gradient) {
  for (const Row& row : kRows) {
    if (row.rows > 0) check_forward(row, false);
    check_gradient(row, false);
  }
}

TEST(layer_norm_far_from_zero) {
  const Dims dims{2, 1000};
  Floats x(2000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 30000.0F + static_cast<float>(i % 2);
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::layerNorm, ops::RowNormAttributes{0.0F});
    node.input(dims, x).output(dims).output({2}).output({2}).run(isa);
    for (size_t i = 0; i < x.size(); ++i)
      CHECK_NEAR(static_cast<double>(node.result()[i]), i % 2 == 0 ? -1.0 : 1.0, 1e-2);
  }
}

TEST(group_norm_and_its_gradient) {
  struct Case {
    int64_t n, c, l, groups;
    bool affine;
  };
  for (const Case& c : {Case{2, 6, 20, 3, true}, Case{3, 4, 1, 2, true}, Case{1, 8, 49, 8, true},
                        Case{5, 3, 7, 1, false}, Case{2, 40, 1, 2, true}, Case{2, 4, 9000, 2, true},
                        Case{70, 6, 33, 2, true}, Case{0, 4, 3, 2, true}}) {
    const Dims dims{c.n, c.c, c.l};
    const int64_t count = c.n * c.c * c.l;
    const Floats x = random_floats(count, 9, -2.0F, 3.0F);
    const Floats dy = random_floats(count, 10);
    const Floats w = c.affine ? random_floats(c.c, 11, 0.5F, 2.0F) : Floats{};
    const Floats b = c.affine ? random_floats(c.c, 12) : Floats{};
    const NormReference expected = reference_norm(channel_groups(c.n, c.c, c.l, c.groups, false), x,
                                                  w, b, dy, static_cast<double>(kEpsilon), true);
    const ops::GroupNormAttributes attributes{c.groups, kEpsilon, c.affine};
    const Dims groups{c.n, c.groups};
    for (const Isa& isa : isas()) {
      for (const int over : {-1, 0}) {
        NodeRunner node(Op::groupNorm, attributes);
        node.input(dims, x);
        if (c.affine) node.input({c.c}, w).input({c.c}, b);
        node.output(dims, over).output(groups).output(groups).run(isa);
        CHECK_NEAR(distance(node.result(0), expected.y), 0.0, kClose);
        CHECK_NEAR(distance(node.result(1), expected.mean), 0.0, kClose);
        CHECK_NEAR(distance(node.result(2), expected.inverse), 0.0, kClose);
      }
      for (const int over : {-1, 0, 1}) {
        NodeRunner node(Op::groupNormGrad, attributes);
        node.input(dims, dy).input(dims, x);
        optional(node, {c.c}, w);
        node.input(groups, rounded(expected.mean)).input(groups, rounded(expected.inverse));
        node.output(dims, over);
        if (c.affine) node.output({c.c}).output({c.c});
        node.run(isa);
        CHECK_NEAR(distance(node.result(0), expected.dx), 0.0, kClose);
        if (!c.affine) continue;
        CHECK_NEAR(distance(node.result(1), expected.dw), 0.0, kClose);
        CHECK_NEAR(distance(node.result(2), expected.db), 0.0, kClose);
      }
    }
  }
}
