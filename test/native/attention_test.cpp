// attention and its gradient against double references, in every layout of the operands, with
// products of floats and of operands rounded to bfloat16.
#include "core/ops/attention.h"

#include <cmath>

#include "check.h"
#include "core/autodiff.h"
#include "core/backend.h"
#include "core/error.h"
#include "core/graph.h"
#include "core/plan.h"
#include "node_runner.h"
#include "panel_kernels.h"

using namespace tandem;
using namespace tandem::cpu;
using Dims = std::vector<int64_t>;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

namespace {

enum class Layout { kSeparate, kApart, kKeysAndValues, kAll };

struct Case {
  int64_t batch, heads, time, keys, depth, value_depth;
  bool causal;
  Dims mask;  ///< empty: none
  bool bf16 = false;
};

size_t index(int64_t i) { return static_cast<size_t>(i); }

/// Operands with heads as an axis of their own, and what follows from them.
struct Data {
  Floats q, k, v, mask, dy;
  Doubles y, log_sums, dq, dk, dv, dmask;
};

/// Operands as products take them.
struct Factors {
  Floats q, k, v, dy;
};

/// What a product makes of an operand.
double factor(const Case& c, double x) { return c.bf16 ? rounded(static_cast<float>(x)) : x; }

/// Position in the mask of a score, whose mask is broadcast.
size_t mask_at(const Dims& mask, const Dims& score) {
  int64_t at = 0;
  for (size_t i = 0; i < mask.size(); ++i)
    at = at * mask[i] + (mask[i] == 1 ? 0 : score[score.size() - mask.size() + i]);
  return index(at);
}

Floats factors(const Case& c, Floats x) {
  for (float& v : x) v = static_cast<float>(factor(c, static_cast<double>(v)));
  return x;
}

double dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

/// One query: its probabilities, y and gradients.
void refer_query(const Case& c, const Factors& f, Data& d, int64_t batch, int64_t head,
                 int64_t row) {
  const int64_t matrix = batch * c.heads + head;
  const int64_t query = matrix * c.time + row;
  const float* q = f.q.data() + query * c.depth;
  const float* dy = f.dy.data() + query * c.value_depth;
  const auto key_at = [&](int64_t j) { return (matrix * c.keys + j); };
  const int64_t seen = c.causal ? std::min(c.keys, row + 1) : c.keys;
  const double scale = 1 / std::sqrt(static_cast<double>(c.depth));
  Doubles p(index(seen));
  double largest = -HUGE_VAL;
  for (int64_t j = 0; j < seen; ++j) {
    p[index(j)] = dot(q, f.k.data() + key_at(j) * c.depth, c.depth) * scale;
    if (!c.mask.empty())
      p[index(j)] += static_cast<double>(d.mask[mask_at(c.mask, {batch, head, row, j})]);
    largest = std::fmax(largest, p[index(j)]);
  }
  if (largest == -HUGE_VAL) {
    d.log_sums[index(query)] = HUGE_VAL;
    return;
  }
  double sum = 0;
  for (double& x : p) sum += x = std::exp(x - largest);
  d.log_sums[index(query)] = largest + std::log(sum);
  double delta = 0;
  for (int64_t i = 0; i < c.value_depth; ++i) {
    double& y = d.y[index(query * c.value_depth + i)];
    for (int64_t j = 0; j < seen; ++j) {
      const size_t at = index(key_at(j) * c.value_depth + i);
      y += factor(c, p[index(j)]) * static_cast<double>(f.v[at]);
      d.dv[at] += factor(c, p[index(j)] / sum) * static_cast<double>(dy[i]);
    }
    y /= sum;
    delta += static_cast<double>(dy[i]) * y;
  }
  for (int64_t j = 0; j < seen; ++j) {
    const double dp = dot(dy, f.v.data() + key_at(j) * c.value_depth, c.value_depth);
    const double ds = p[index(j)] / sum * (dp - delta);
    if (!c.mask.empty()) d.dmask[mask_at(c.mask, {batch, head, row, j})] += ds;
    const double share = factor(c, ds * scale);
    for (int64_t i = 0; i < c.depth; ++i) {
      const size_t key = index(key_at(j) * c.depth + i);
      d.dq[index(query * c.depth + i)] += share * static_cast<double>(f.k[key]);
      d.dk[key] += share * static_cast<double>(q[i]);
    }
  }
}

Data make_data(const Case& c, float size = 2.0F) {
  const int64_t matrices = c.batch * c.heads;
  Data d;
  d.q = random_floats(matrices * c.time * c.depth, 1, -size, size);
  d.k = random_floats(matrices * c.keys * c.depth, 2, -size, size);
  d.v = random_floats(matrices * c.keys * c.value_depth, 3);
  d.dy = random_floats(matrices * c.time * c.value_depth, 4);
  if (!c.mask.empty()) d.mask = random_floats(count_of(c.mask), 5, -2.0F, 2.0F);
  return d;
}

void refer(const Case& c, Data& d) {
  d.y.assign(d.dy.size(), 0);
  d.dq.assign(d.q.size(), 0);
  d.dk.assign(d.k.size(), 0);
  d.dv.assign(d.v.size(), 0);
  d.dmask.assign(d.mask.size(), 0);
  d.log_sums.assign(index(c.batch * c.heads * c.time), 0);
  const Factors f{factors(c, d.q), factors(c, d.k), factors(c, d.v), factors(c, d.dy)};
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t i = 0; i < c.time; ++i) refer_query(c, f, d, b, h, i);
}

/// [batch, heads, time, depth] parts side by side as [batch, time, parts * heads * depth].
template <typename T>
std::vector<T> join(const Case& c, const std::vector<std::vector<T>>& parts, int64_t time) {
  const auto count = static_cast<int64_t>(parts.size());
  std::vector<T> all(index(count) * parts[0].size());
  for (int64_t part = 0; part < count; ++part) {
    const std::vector<T>& from = parts[index(part)];
    if (from.empty()) continue;
    const int64_t depth = static_cast<int64_t>(from.size()) / (c.batch * c.heads * time);
    for (int64_t i = 0; i < static_cast<int64_t>(from.size()); ++i) {
      const int64_t row = i / depth % time;
      const int64_t head = i / depth / time % c.heads;
      const int64_t batch = i / depth / time / c.heads;
      const int64_t at = ((batch * time + row) * count + part) * c.heads * depth;
      all[index(at + head * depth + i % depth)] = from[index(i)];
    }
  }
  return all;
}

/// Operands of one layout, in order; the mask is apart.
template <typename T>
std::vector<std::vector<T>> arrange(const Case& c, Layout layout, const std::vector<T>& q,
                                    const std::vector<T>& k, const std::vector<T>& v) {
  using All = std::vector<std::vector<T>>;
  switch (layout) {
    case Layout::kSeparate:
      return {q, k, v};
    case Layout::kApart:
      return {join(c, All{q}, c.time), join(c, All{k}, c.keys), join(c, All{v}, c.keys)};
    case Layout::kKeysAndValues:
      return {join(c, All{q}, c.time), join(c, All{k, v}, c.keys)};
    case Layout::kAll:
      return {join(c, All{q, k, v}, c.time)};
  }
  return {};
}

Dims dims_of(const Case& c, Layout layout, size_t operand, int64_t elements) {
  const int64_t time = operand == 0 ? c.time : c.keys;
  const int64_t width = c.batch == 0 ? 3 * c.heads : elements / (c.batch * time);
  if (layout == Layout::kSeparate) return {c.batch, c.heads, time, width / c.heads};
  return {c.batch, time, width};
}

/// What is added to all scores of a row alike changes nothing: that gradient is rounding alone.
void check_mask_gradient(const Case& c, const Floats& got, const Doubles& want, double tolerance) {
  if (c.mask.back() > 1) {
    CHECK_NEAR(distance(got, want), 0.0, tolerance);
    return;
  }
  for (size_t i = 0; i < got.size(); ++i) CHECK_NEAR(got[i], want[i], 2e-6);
}

/// Relative errors of results and of gradients.
struct Tolerance {
  double y, log_sums, gradient;
};

/// Of sums of float products.
constexpr Tolerance kOfFloats{2e-6, 2e-6, 5e-6};
/// A probability whose last float bit falls the other way may round to another bfloat16: a few in
/// a hundred thousand are off by their eighth bit.
constexpr Tolerance kOfRounded{1e-4, 2e-6, 1e-4};

/// Log-sum-exp by row, from its two parts.
Floats log_sums(const Case& c, const Floats& parts) {
  const float scale = c.mask.empty() ? 1 / std::sqrt(static_cast<float>(c.depth)) : 1.0F;
  Floats sums(parts.size() / 2);
  for (size_t i = 0; i < sums.size(); ++i) sums[i] = parts[2 * i] * scale + parts[2 * i + 1];
  return sums;
}

/// The kernels that a case is multiplied by.
std::vector<const GemmKernels*> families_of(const Case& c, const Isa& isa) {
  if (!c.bf16) return {isa.panel_kernels()};
  return panel_families(isa, c.batch * c.heads * c.time * c.keys > 100'000);
}

void check_case(const Case& c, Layout layout, const Tolerance& tolerance = kOfFloats) {
  Data d = make_data(c);
  refer(c, d);
  const auto operands = arrange(c, layout, d.q, d.k, d.v);
  const bool joined = layout != Layout::kSeparate;
  using AllFloats = std::vector<Floats>;
  using AllDoubles = std::vector<Doubles>;
  const Doubles y = joined ? join(c, AllDoubles{d.y}, c.time) : d.y;
  const Floats dy = joined ? join(c, AllFloats{d.dy}, c.time) : d.dy;
  const Dims y_dims = dims_of(c, layout, 0, static_cast<int64_t>(y.size()));
  const Dims row_dims{c.batch, c.heads, c.time, 2};
  ops::AttentionAttributes attributes{joined ? c.heads : 0, c.causal, !c.mask.empty(), c.bf16};
  const auto add_operands = [&](NodeRunner& node) {
    for (size_t i = 0; i < 3; ++i) {
      if (i >= operands.size()) {
        node.no_input();
      } else {
        node.input(dims_of(c, layout, i, static_cast<int64_t>(operands[i].size())), operands[i]);
      }
    }
    if (c.mask.empty()) {
      node.no_input();
    } else {
      node.input(c.mask, d.mask);
    }
  };
  const auto gradients = arrange(c, layout, d.dq, d.dk, d.dv);
  const auto check_kernels = [&](const Isa& isa) {
    NodeRunner node(Op::attention, attributes);
    add_operands(node);
    node.output(y_dims).output(row_dims).run(isa);
    CHECK_NEAR(distance(node.result(0), y), 0.0, tolerance.y);
    CHECK_NEAR(distance(log_sums(c, node.result(1)), d.log_sums), 0.0, tolerance.log_sums);

    NodeRunner back(Op::attentionGrad, attributes);
    add_operands(back);
    back.input(y_dims, node.result(0)).input(row_dims, node.result(1)).input(y_dims, dy);
    for (size_t i = 0; i < operands.size(); ++i)
      back.output(dims_of(c, layout, i, static_cast<int64_t>(operands[i].size())));
    if (!c.mask.empty()) back.output(c.mask);
    back.run(isa);
    for (size_t i = 0; i < operands.size(); ++i)
      CHECK_NEAR(distance(back.result(i), gradients[i]), 0.0, tolerance.gradient);
    if (!c.mask.empty())
      check_mask_gradient(c, back.result(operands.size()), d.dmask, tolerance.gradient);
  };
  for (const Isa& isa : isas())
    for (const GemmKernels* kernels : families_of(c, isa)) {
      const ChosenKernels chosen(isa, kernels);
      check_kernels(isa);
    }
}

void check_layouts(const Case& c, const Tolerance& tolerance = kOfFloats) {
  check_case(c, Layout::kSeparate, tolerance);
  check_case(c, Layout::kApart, tolerance);
  if (c.depth == c.value_depth) check_case(c, Layout::kKeysAndValues, tolerance);
  if (c.depth == c.value_depth && c.time == c.keys) check_case(c, Layout::kAll, tolerance);
}

}  // namespace

TEST(attention_of_odd_sizes) {
  for (const bool causal : {false, true}) {
    for (const int64_t time : {1, 2, 13, 16, 17, 33, 64, 70}) {
      check_layouts({1, 3, time, time, 8, 8, causal, {}});
      check_layouts({2, 9, time, time, 5, 5, causal, {}});
    }
    check_layouts({2, 2, 40, 40, 64, 64, causal, {}});
    check_layouts({1, 2, 21, 21, 130, 130, causal, {}});
    check_layouts({3, 7, 19, 19, 33, 50, causal, {}});
    check_layouts({0, 3, 5, 5, 4, 4, causal, {}});
  }
}

TEST(attention_across_lengths) {
  for (const bool causal : {false, true}) {
    for (const int64_t heads : {1, 17}) {
      check_layouts({1, heads, 5, 19, 8, 8, causal, {}});
      check_layouts({1, heads, 90, 7, 8, 8, causal, {}});
      check_layouts({1, heads, 1, 200, 16, 16, causal, {}});
      check_layouts({1, heads, 150, 1, 3, 9, causal, {}});
    }
  }
}

TEST(attention_over_several_blocks_of_keys) {
  for (const bool causal : {false, true}) {
    check_layouts({1, 1, 700, 700, 16, 16, causal, {}});
    check_layouts({1, 2, 300, 530, 48, 20, causal, {}});
    check_layouts({2, 8, 200, 290, 100, 12, causal, {}});
    check_layouts({1, 16, 300, 130, 8, 8, causal, {}});
  }
}

TEST(attention_with_masks) {
  for (const bool causal : {false, true}) {
    for (const Dims& mask : std::vector<Dims>{{9, 23},
                                              {23},
                                              {9, 1},
                                              {1},
                                              {2, 3, 9, 23},
                                              {2, 1, 1, 23},
                                              {3, 1, 23},
                                              {1, 3, 9, 1},
                                              {2, 1, 9, 23}}) {
      check_layouts({2, 3, 9, 23, 8, 8, causal, mask});
    }
    check_layouts({1, 2, 150, 150, 16, 16, causal, {150, 150}});
    check_layouts({2, 9, 150, 150, 16, 16, causal, {2, 1, 1, 150}});
    check_layouts({1, 1, 70, 600, 8, 8, causal, {1, 70, 600}});
  }
}

TEST(attention_multiplies_rounded_operands) {
  for (const bool causal : {false, true}) {
    for (const int64_t time : {1, 2, 13, 15, 33, 64, 70})
      check_layouts({2, 3, time, time, 8, 8, causal, {}, true}, kOfRounded);
    check_layouts({1, 17, 21, 21, 5, 5, causal, {}, true}, kOfRounded);
    check_layouts({2, 8, 64, 64, 32, 32, causal, {}, true}, kOfRounded);
    check_layouts({1, 2, 21, 21, 130, 130, causal, {}, true}, kOfRounded);
    check_layouts({3, 7, 19, 19, 33, 50, causal, {}, true}, kOfRounded);
    check_layouts({1, 17, 5, 19, 9, 9, causal, {}, true}, kOfRounded);
    check_layouts({1, 1, 90, 7, 8, 17, causal, {}, true}, kOfRounded);
    check_layouts({1, 2, 150, 1, 3, 9, causal, {}, true}, kOfRounded);
    check_layouts({2, 3, 9, 23, 8, 8, causal, {2, 3, 9, 23}, true}, kOfRounded);
    check_layouts({1, 16, 150, 150, 16, 16, causal, {150, 150}, true}, kOfRounded);
    check_layouts({0, 3, 5, 5, 4, 4, causal, {}, true}, kOfRounded);
  }
}

/// Exponentials relative to the largest score of the blocks so far round to other numbers than
/// those relative to the largest of all.
TEST(attention_rounds_in_every_block_of_keys) {
  constexpr Tolerance kOfBlocks{3e-3, 2e-6, 3e-3};
  for (const bool causal : {false, true}) {
    check_layouts({1, 1, 700, 700, 16, 16, causal, {}, true}, kOfBlocks);
    check_layouts({2, 8, 200, 290, 100, 12, causal, {}, true}, kOfBlocks);
    check_layouts({1, 2, 70, 600, 8, 8, causal, {70, 600}, true}, kOfBlocks);
  }
}

TEST(attention_that_sees_nothing) {
  const float inf = HUGE_VALF;
  Case c{1, 1, 3, 40, 4, 4, false, {3, 40}};
  Data d = make_data(c);
  for (size_t j = 0; j < 40; ++j) {
    d.mask[40 + j] = -inf;              // query 1 sees nothing
    if (j != 7) d.mask[80 + j] = -inf;  // query 2 sees key 7 alone
  }
  refer(c, d);
  const ops::AttentionAttributes attributes{0, false, true};
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::attention, attributes);
    node.input({1, 1, 3, 4}, d.q).input({1, 1, 40, 4}, d.k).input({1, 1, 40, 4}, d.v);
    node.input(c.mask, d.mask).output({1, 1, 3, 4}).output({1, 1, 3, 2}).run(isa);
    const Floats y = node.result(0);
    CHECK_NEAR(distance(y, d.y), 0.0, 2e-6);
    for (size_t i = 0; i < 4; ++i) {
      CHECK(y[4 + i] == 0.0F);
      CHECK_NEAR(y[8 + i], d.v[28 + i], 1e-6);
    }
    CHECK(node.result(1)[3] == inf);

    NodeRunner back(Op::attentionGrad, attributes);
    back.input({1, 1, 3, 4}, d.q).input({1, 1, 40, 4}, d.k).input({1, 1, 40, 4}, d.v);
    back.input(c.mask, d.mask).input({1, 1, 3, 4}, y).input({1, 1, 3, 2}, node.result(1));
    back.input({1, 1, 3, 4}, d.dy).output({1, 1, 3, 4}).output({1, 1, 40, 4});
    back.output({1, 1, 40, 4}).output(c.mask).run(isa);
    CHECK_NEAR(distance(back.result(0), d.dq), 0.0, 5e-6);
    CHECK_NEAR(distance(back.result(1), d.dk), 0.0, 5e-6);
    CHECK_NEAR(distance(back.result(2), d.dv), 0.0, 5e-6);
    CHECK_NEAR(distance(back.result(3), d.dmask), 0.0, 5e-6);
    for (size_t i = 4; i < 8; ++i) CHECK(back.result(0)[i] == 0.0F);
  }
}

TEST(attention_without_heads_needs_no_scratch) {
  const Dims rows{0, 1, 3, int64_t{1} << 56};
  for (const Isa& isa : isas()) {
    NodeRunner back(Op::attentionGrad, ops::AttentionAttributes{});
    back.input(rows, Floats()).input(rows, Floats()).input(rows, Floats()).no_input();
    back.input(rows, Floats()).input({0, 1, 3, 2}, Floats()).input(rows, Floats());
    back.output(rows).output(rows).output(rows).run(isa);
    CHECK(back.result(0).empty());
  }
}

TEST(attention_keeps_nan_and_large_scores) {
  Case c{1, 1, 4, 600, 4, 4, false, {}};
  Data d = make_data(c, 40.0F);  // scores of thousands
  refer(c, d);
  d.q[4] = NAN;
  for (const Isa& isa : isas()) {
    NodeRunner node(Op::attention, ops::AttentionAttributes{});
    node.input({1, 1, 4, 4}, d.q).input({1, 1, 600, 4}, d.k).input({1, 1, 600, 4}, d.v);
    node.no_input().output({1, 1, 4, 4}).output({1, 1, 4, 2}).run(isa);
    const Floats y = node.result(0);
    for (size_t i = 0; i < 16; ++i) {
      if (i / 4 == 1) {
        CHECK(std::isnan(y[i]));
      } else {
        CHECK_NEAR(y[i], d.y[i], 1e-3);
      }
    }
  }
}

namespace {

/// Bytes that attention of this length takes with its gradients, beside its operands.
int64_t planned_bytes(int64_t time) {
  Graph graph;
  const Tensor x = make_tensor({1, time, 3 * 64}, DType::kFloat32);
  const ValueId qkv = graph.add_input(x);
  const ValueId dy = graph.add_input(make_tensor({1, time, 64}, DType::kFloat32));
  const ValueId y = graph.apply(Op::attention, {qkv},
                                make_attributes(Op::attention, {{"heads", 2.0}, {"causal", true}}));
  const std::vector<ValueId> gradients = add_gradients(graph, {{y, dy}}, {qkv});
  graph.outputs = {y, gradients[0]};
  return make_plan(std::move(graph), {}, {}, cpu_backend()).arena_bytes;
}

}  // namespace

TEST(attention_memory_grows_with_the_length) {
  const int64_t at_512 = planned_bytes(512);
  CHECK(at_512 > 0);
  for (const int64_t time : {1024, 2048, 4096}) {
    CHECK(planned_bytes(time) <= at_512 * (time / 512));
    CHECK(planned_bytes(time) < time * time * 4);
  }
}

TEST(attention_refuses_what_does_not_fit) {
  const auto shapes = [](const std::vector<Dims>& inputs, double heads) {
    std::vector<std::optional<Tensor>> tensors;
    for (const Dims& dims : inputs) {
      if (dims.empty()) {
        tensors.emplace_back();
      } else {
        tensors.emplace_back(make_tensor(dims, DType::kFloat32));
      }
    }
    AttributeStorage attributes = make_attributes(Op::attention, {{"heads", heads}});
    return infer(Op::attention, tensors, attributes);
  };
  CHECK(shapes({{2, 5, 24}}, 2).size() == 2);
  CHECK(shapes({{2, 5, 8}, {2, 7, 16}}, 2).size() == 2);
  CHECK_THROWS(shapes({{2, 5, 24}}, 0));
  CHECK_THROWS(shapes({{2, 5, 24}}, -2));
  CHECK_THROWS(shapes({{2, 5, 24}}, 3));
  CHECK_THROWS(shapes({{2, 5, 24}}, 9007199254740991.0));
  CHECK_THROWS(shapes({{2, 5, 25}}, 1));
  CHECK_THROWS(shapes({{2, 0, 24}}, 2));
  CHECK_THROWS(shapes({{2, 5, 0}}, 2));
  CHECK_THROWS(shapes({{5, 24}}, 2));
  CHECK_THROWS(shapes({{2, 5, 8}, {3, 7, 16}}, 2));
  CHECK_THROWS(shapes({{2, 5, 8}, {2, 7, 8}}, 2));
  CHECK_THROWS(shapes({{2, 5, 8}, {}, {2, 7, 8}}, 2));
  CHECK_THROWS(shapes({{2, 5, 8}, {2, 7, 8}, {2, 6, 8}}, 2));
  CHECK_THROWS(shapes({{}, {2, 7, 8}, {2, 6, 8}}, 2));
  CHECK_THROWS(shapes({{1, 2, 5, 8}, {1, 2, 7, 8}}, 0));
  CHECK_THROWS(shapes({{1, 2, 5, 8}, {1, 2, 7, 6}, {1, 2, 7, 8}}, 0));
  CHECK_THROWS(shapes({{1, 2, 5, 8}, {1, 2, 7, 8}, {1, 2, 6, 8}}, 0));
  CHECK_THROWS(shapes({{1, 2, 5, 8}, {1, 1, 7, 8}, {1, 1, 7, 8}}, 0));
  CHECK_THROWS(shapes({{1, 2, 5, 0}, {1, 2, 7, 0}, {1, 2, 7, 8}}, 0));
  CHECK_THROWS(shapes({{1, 2, 5, 8}, {1, 2, 7, 8}, {1, 2, 7, 8}, {7, 5}}, 0));
  CHECK_THROWS(shapes({{1, 2, 5, 8}, {1, 2, 7, 8}, {1, 2, 7, 8}, {1, 1, 2, 5, 7}}, 0));
}
