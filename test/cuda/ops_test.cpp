// Every op that has a CUDA kernel against the CPU's: odd sizes, sizes that fill whole blocks, sizes
// beyond one block, broadcasting, NaN.
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "parity.h"

using namespace tandem;
using namespace tandem::check;

namespace {

constexpr int64_t kSizes[] = {1, 3, 4, 255, 1024, 1025, 70001};

using Shapes = std::vector<std::pair<Shape, Shape>>;
const Shapes kBroadcasts = {
    {{5, 7}, {7}}, {{5, 1}, {5, 8}}, {{}, {33}}, {{3, 1, 4}, {1, 6, 1}}, {{2, 3, 5, 4}, {3, 1, 4}}};

NodeDescription node(const char* op, std::vector<int64_t> inputs, AttributeList attributes = {}) {
  return {op, std::move(inputs), std::move(attributes)};
}

Feed targets(const Shape& shape, double classes) { return {shape, 0, classes, DType::kInt32}; }

std::string sized(const char* name, int64_t n) {
  return std::string(name) + " " + std::to_string(n);
}

std::vector<double> all_axes(const Shape& shape) {
  std::vector<double> axes(shape.size());
  std::iota(axes.begin(), axes.end(), 0.0);
  return axes;
}

}  // namespace

TEST(gpu_unary) {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED)                \
  for (const int64_t n : kSizes) {                                                         \
    compare({sized(#name, n), {{{n}, 0.05, 2.0}}, {node(#name, {0})}});                    \
    if (std::string(#name) != "log" && std::string(#name) != "sqrt" &&                     \
        std::string(#name) != "rsqrt")                                                     \
      compare({sized(#name " of both signs", n), {{{n}, -3.0, 3.0}}, {node(#name, {0})}}); \
  }
#include "core/elementwise.def"
}

TEST(gpu_binary) {
#define BINARY(name, forward, gradient_a, gradient_b)                                  \
  for (const int64_t n : kSizes)                                                       \
    compare({sized(#name, n), {{{n}, 0.1, 2}, {{n}, 0.1, 2}}, {node(#name, {0, 1})}}); \
  for (const auto& [a, b] : kBroadcasts)                                               \
    compare({#name " broadcast", {{a, 0.1, 2}, {b, 0.1, 2}}, {node(#name, {0, 1})}});
#include "core/elementwise.def"
}

TEST(gpu_losses) {
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  for (const int64_t n : kSizes)                                \
    compare({sized(#name, n), {{{n}, -2, 2}, {{n}, 0, 1}}, {node(#name, {0, 1})}});
#include "core/elementwise.def"
}

TEST(gpu_losses_with_weights) {
  const Shape shape{33, 5, 7};
  for (const Shape& weights : {Shape{33}, {33, 5}, {33, 5, 7}}) {
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  compare({#name " with weights " + to_string(weights),         \
           {{shape, -2, 2}, {shape, 0, 1}, {weights, 0, 2}},    \
           {node("sum", {2}, {{"axes", all_axes(weights)}}), node(#name, {0, 1, 2, 3})}});
#include "core/elementwise.def"
  }
}

TEST(gpu_reductions) {
  struct Reduced {
    Shape shape;
    std::vector<double> axes;
  };
  const std::vector<Reduced> cases = {{{1}, {}},
                                      {{100003}, {}},
                                      {{37, 65}, {1}},
                                      {{37, 65}, {0}},
                                      {{3, 5000}, {1}},
                                      {{5000, 3}, {0}},
                                      {{4, 6, 5, 7}, {1, 3}},
                                      {{4, 6, 5, 7}, {0, 2}},
                                      {{300, 257}, {0}},
                                      {{2, 70000}, {1}},
                                      {{64, 32, 8, 8}, {0, 2, 3}}};
  for (const char* op : {"sum", "mean", "max", "min", "variance"}) {
    for (const Reduced& c : cases) {
      for (const bool keep : {false, true}) {
        compare({std::string(op) + " " + to_string(c.shape),
                 {{c.shape, -2, 3}},
                 {node(op, {0}, {{"axes", c.axes}, {"keepDims", keep}})}});
      }
    }
  }
}

TEST(gpu_softmax) {
  for (const char* op : {"softmax", "logSoftmax"}) {
    for (const Shape& shape : {Shape{7, 10}, {300, 33}, {5, 1024}, {3, 5000}, {2, 50257}})
      compare({std::string(op) + " " + to_string(shape), {{shape, -8, 8}}, {node(op, {0})}});
    compare(
        {std::string(op) + " of axis 1", {{{3, 17, 40}, -5, 5}}, {node(op, {0}, {{"axis", 1.0}})}});
  }
}

TEST(gpu_cross_entropy) {
  // rows for a warp, for a block, and for a block that keeps them
  for (const int64_t classes : {1, 10, 33, 1000, 5000, 10007, 10240}) {
    for (const double smoothing : {0.0, 0.1}) {
      compare({sized("crossEntropy", classes),
               {{{65, classes}, -4, 4}, targets({65}, static_cast<double>(classes))},
               {node("countTargets", {1}, {{"ignoreIndex", 0.0}}),
                node("crossEntropy", {0, 1, -1, -1, 2},
                     {{"labelSmoothing", smoothing}, {"ignoreIndex", 0.0}})}});
      compare({sized("crossEntropy with weights", classes),
               {{{65, classes}, -4, 4},
                targets({65}, static_cast<double>(classes)),
                {{classes}, 0.5, 2}},
               {node("countTargets", {1, 2}),
                node("crossEntropy", {0, 1, 2, -1, 3}, {{"labelSmoothing", smoothing}})},
               false});
      compare({sized("crossEntropy with weights of rows", classes),
               {{{13, 5, classes}, -4, 4},
                targets({13, 5}, static_cast<double>(classes)),
                {{13}, 0.5, 2}},
               {node("countTargets", {1, -1, 2}),
                node("crossEntropy", {0, 1, -1, 2, 3}, {{"labelSmoothing", smoothing}})},
               false});
    }
  }
  for (const int64_t classes : {5, 10007}) {
    compare({sized("crossEntropy with targets out of range", classes),
             {{{9, classes}, -1, 1}, targets({9}, 8.0 * static_cast<double>(classes))},
             {node("countTargets", {1}), node("crossEntropy", {0, 1, -1, -1, 2})},
             false});
  }
}

TEST(gpu_accuracy) {
  for (const int64_t classes : {2, 10, 100})
    compare({sized("accuracy", classes),
             {{{501, classes}}, targets({501}, static_cast<double>(classes))},
             {node("accuracy", {0, 1})},
             false,
             0});
  compare(
      {"accuracy of logits", {{{501, 1}}, {{501}, 0, 1.5}}, {node("accuracy", {0, 1})}, false, 0});
}

TEST(gpu_dropout_has_the_masks_of_the_cpu) {
  for (const int64_t n : kSizes)
    compare({sized("dropout", n),
             {{{n}, 1, 2}},
             {node("dropout", {0}, {{"rate", 0.3}, {"seed", 5.0}})},
             true,
             1e-7});
}

TEST(gpu_movement) {
  const std::vector<double> perms[] = {{1, 0, 2}, {2, 1, 0}, {0, 2, 1}, {1, 2, 0}};
  for (const auto& perm : perms) {
    for (const Shape& shape : {Shape{3, 5, 7}, {33, 64, 2}, {70, 1, 90}})
      compare({"transpose " + to_string(shape),
               {{shape}},
               {node("transpose", {0}, {{"perm", perm}})},
               true,
               0});
  }
  for (const double axis : {0.0, 1.0, 2.0}) {
    compare({"concat",
             {{{2, 3, 4}}, {{2, 3, 4}}, {{2, 3, 4}}},
             {node("concat", {0, 1, 2}, {{"axis", axis}})},
             true,
             0});
    compare({"slice",
             {{{9, 10, 11}}},
             {node("slice", {0}, {{"axis", axis}, {"start", 1.0}, {"end", 8.0}, {"step", 3.0}})},
             true,
             0});
    compare({"slice of one run",
             {{{9, 10, 11}}},
             {node("slice", {0}, {{"axis", axis}, {"start", 2.0}, {"end", -1.0}})},
             true,
             0});
  }
  compare({"broadcastTo",
           {{{5, 1, 7}}},
           {node("broadcastTo", {0}, {{"shape", std::vector<double>{2, 5, 6, 7}}})}});
  compare({"reshape",
           {{{6, 4}}},
           {node("reshape", {0}, {{"shape", std::vector<double>{3, -1}}}), node("flatten", {1})},
           true,
           0});
}

TEST(gpu_indexing) {
  const auto numbers = [](const Shape& shape, double low, double high) {
    return Feed{shape, low, high, DType::kInt32};
  };
  for (const int64_t count : {1, 7, 1000}) {
    const auto high = static_cast<double>(count);
    compare({sized("embedding", count),
             {numbers({5, 61}, 0, high), {{count, 33}}},
             {node("embedding", {0, 1})}});
    compare({sized("embedding of numbers out of range", count),
             {numbers({700}, -1, high + 1), {{count, 300}}},
             {node("embedding", {0, 1})}});
  }
  for (const double axis : {0.0, 1.0, 2.0}) {
    Shape index = {4, 5, 6};
    index[static_cast<size_t>(axis)] = 9;
    compare({"gather",
             {{{4, 5, 6}}, numbers(index, -1, 5)},
             {node("gather", {0, 1}, {{"axis", axis}})}});
    for (const bool reverse : {false, true}) {
      compare({"cumsum",
               {{{4, 700, 3}}},
               {node("cumsum", {0}, {{"axis", axis}, {"reverse", reverse}})}});
    }
  }
  for (const double axis : {0.0, 1.0, 2.0})
    compare({"flip", {{{4, 70, 3}}}, {node("flip", {0}, {{"axis", axis}})}, true, 0});
  compare({"cumsum of one row", {{{70001}}}, {node("cumsum", {0})}});
  compare({"pad",
           {{{3, 4, 5}}},
           {node("pad", {0},
                 {{"before", std::vector<double>{1, 0, 2}},
                  {"after", std::vector<double>{0, 3, 1}},
                  {"value", -2.5}})},
           true,
           0});
  compare({"where",
           {{{5, 1, 7}, -1, 2, DType::kInt32}, {{6, 7}}, {{5, 6, 1}}},
           {node("where", {0, 1, 2})}});
}

TEST(gpu_rotary) {
  for (const Shape& shape : {Shape{7, 6}, {3, 65, 64}, {2, 3, 17, 10}}) {
    compare({"rotary " + to_string(shape), {{shape}}, {node("rotary", {0})}});
    compare({"rotary of some columns " + to_string(shape),
             {{shape}},
             {node("rotary", {0}, {{"depth", 2.0}, {"columns", 4.0}, {"base", 500.0}})}});
  }
}

TEST(gpu_distillation) {
  for (const int64_t classes : {1, 10, 33, 1024, 5000}) {
    for (const double temperature : {1.0, 4.0}) {
      compare({sized("distillation", classes),
               {{{65, classes}, -4, 4}, {{65, classes}, -4, 4}},
               {node("distillation", {0, 1}, {{"temperature", temperature}})}});
      compare({sized("distillation with weights", classes),
               {{{13, 5, classes}, -4, 4}, {{13, 5, classes}, -4, 4}, {{13}, 0, 2}},
               {node("sum", {2}, {{"axes", std::vector<double>{0}}}),
                node("distillation", {0, 1, 2, 3}, {{"temperature", temperature}})}});
    }
  }
}

TEST(gpu_products) {
  const std::vector<std::array<int64_t, 3>> sizes = {{1, 1, 1},       {5, 7, 9},     {64, 64, 64},
                                                     {128, 512, 784}, {33, 10, 257}, {1, 1000, 64}};
  for (const auto& [m, n, k] : sizes) {
    const std::string name = "linear " + to_string(Shape{m, n, k});
    compare({name, {{{m, k}}, {{n, k}}, {{n}}}, {node("linear", {0, 1, 2})}});
    for (const char* activation : {"relu", "geluTanh", "silu", "gelu", "tanh"}) {
      const std::vector<NodeDescription> nodes = {node("linear", {0, 1, 2}), node(activation, {3})};
      compare({name + activation, {{{m, k}}, {{n, k}}, {{n}}}, nodes});
      // a NaN passes through, by kernels of our own and by the library's
      const std::vector<Feed> unknown = {{{m, k}, NAN, NAN}, {{n, k}}, {{n}}};
      for (const Precision precision : {Precision::kFloat32, Precision::kBf16Mixed})
        compare({name + activation + " of NaN", unknown, nodes, false, 0, precision});
    }
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        compare({"matmul " + to_string(Shape{m, n, k}),
                 {{trans_a ? Shape{k, m} : Shape{m, k}}, {trans_b ? Shape{n, k} : Shape{k, n}}},
                 {node("matmul", {0, 1}, {{"transA", trans_a}, {"transB", trans_b}})}});
      }
    }
  }
  const Shapes batches = {{{4, 5, 6}, {4, 6, 7}},
                          {{4, 5, 6}, {6, 7}},
                          {{2, 3, 5, 6}, {3, 6, 7}},
                          {{2, 1, 5, 6}, {1, 3, 6, 7}},
                          {{2, 1, 2, 5, 6}, {3, 1, 6, 7}}};
  for (const auto& [a, b] : batches)
    compare({"batched matmul " + to_string(a), {{a}, {b}}, {node("matmul", {0, 1})}});
  // the first has no summands, and in 16 bits what the second reads of it is rounded
  for (const Precision precision : {Precision::kFloat32, Precision::kBf16Mixed}) {
    compare({"linear of nothing",
             {{{5, 0}}, {{16, 0}}, {{16}}, {{8, 16}}},
             {node("linear", {0, 1, 2}), node("gelu", {4}), node("linear", {5, 3})},
             false,
             kTolerance,
             precision});
  }
}
