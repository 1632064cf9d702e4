// Graphs of one op each, whose gradients gradients_test.cpp compares with differences: sizes leave
// odd ends everywhere, and operands keep away from kinks and from other elements' ranks.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "core/model.h"
#include "core/op.h"

namespace tandem {

struct GradientOperand {
  enum Kind : uint8_t {
    kFloats,    ///< any from `low` to `high`
    kDistinct,  ///< a tenth apart in any order, `low` behind a multiple: no maximum changes hands
    kIntegers,  ///< below `high`
    kAbsent,    ///< left out
  };
  Shape shape;
  double low = -2;
  double high = 2;
  Kind kind = kFloats;
  std::vector<double> kinks = {};
  bool constant = false;  ///< counts as constant: its gradient is zero whatever the op computes
};

struct GradientCase {
  std::string op;
  std::vector<GradientOperand> inputs;
  AttributeList attributes = {};
};

inline GradientOperand integers(Shape shape, double end) {
  return {std::move(shape), 0, end, GradientOperand::kIntegers};
}
inline GradientOperand distinct(Shape shape, double offset = 0) {
  return {std::move(shape), offset, 0, GradientOperand::kDistinct};
}
inline GradientOperand constants(Shape shape) {
  return {std::move(shape), 0.5, 2, GradientOperand::kFloats, {}, true};
}
inline GradientOperand absent() { return {{}, 0, 0, GradientOperand::kAbsent}; }

/// Ranges and kinks of the elementwise functions that are not smooth everywhere.
inline GradientOperand unary_operand(Op op, Shape shape) {
  GradientOperand x{std::move(shape)};
  switch (op) {
    case Op::log:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::reciprocal:
      x.low = 0.5;
      x.high = 4;
      break;
    case Op::hardSwish:
    case Op::hardSigmoid:
      x.low = -5;
      x.high = 5;
      x.kinks = {-3, 3};
      break;
    case Op::clamp:
      x.kinks = {-0.5, 0.75};
      break;
    default:
      x.kinks = {0};
  }
  return x;
}

inline std::vector<GradientCase> unary_cases() {
  std::vector<GradientCase> cases;
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    if (!is_unary(op)) continue;
    AttributeList attributes;
    if (op == Op::clamp) attributes = {{"min", -0.5}, {"max", 0.75}};
    if (op == Op::scale) attributes = {{"factor", 1.7}, {"offset", -0.3}};
    if (op == Op::leakyRelu || op == Op::elu) attributes = {{"alpha", 0.3}};
    for (const Shape& shape : {Shape{1}, Shape{17}, Shape{5, 7, 13}})
      cases.push_back({name(op), {unary_operand(op, shape)}, attributes});
  }
  return cases;
}

inline std::vector<GradientCase> binary_cases() {
  const std::vector<std::pair<Shape, Shape>> pairs = {
      {{5, 7, 13}, {5, 7, 13}}, {{5, 7, 13}, {7, 1}}, {{3, 1, 13}, {7, 1}}, {{1}, {5, 7}}};
  std::vector<GradientCase> cases;
  for (const auto& [a, b] : pairs) {
    for (const char* op : {"add", "sub", "mul"}) cases.push_back({op, {{a}, {b}}});
    cases.push_back({"div", {{a}, {b, 0.6, 3}}});
    cases.push_back({"pow", {{a, 0.5, 3}, {b}}});
    for (const char* op : {"maximum", "minimum", "greater", "equal"})
      cases.push_back({op, {distinct(a), distinct(b, 0.05)}});
  }
  return cases;
}

/// Of numbers far from each other's kinks; weights count as constant.
inline std::vector<GradientCase> loss_cases() {
  const Shape rows{11, 7};
  const std::vector<GradientOperand> weights = {constants({11}), constants({1})};
  std::vector<GradientCase> cases;
  const auto add = [&](const char* op, const std::vector<GradientOperand>& operands,
                       const AttributeList& attributes) {
    cases.push_back({op, operands, attributes});
    cases.push_back({op, {operands[0], operands[1], weights[0], weights[1]}, attributes});
  };
  add("mse", {{rows}, {rows}}, {});
  add("l1", {distinct(rows), distinct(rows, 0.05)}, {});
  add("huber", {distinct(rows), distinct(rows, 0.05)}, {{"delta", 1.0}});
  add("bceWithLogits", {{rows}, {rows, 0.05, 0.95}}, {{"posWeight", 2.5}});
  add("distillation", {{rows}, constants(rows)}, {{"temperature", 1.7}});
  const GradientOperand targets = integers({11}, 7);
  const AttributeList smooth = {{"labelSmoothing", 0.1}, {"ignoreIndex", 2.0}};
  cases.push_back({"crossEntropy", {{rows}, targets, absent(), absent(), constants({1})}, {}});
  cases.push_back(
      {"crossEntropy", {{rows}, targets, constants({7}), constants({11}), constants({1})}, smooth});
  return cases;
}

inline std::vector<GradientCase> reduction_cases() {
  std::vector<GradientCase> cases;
  for (const char* op : {"sum", "mean", "variance", "max", "min"}) {
    const bool ranks = std::string(op) == "max" || std::string(op) == "min";
    for (const std::vector<double>& axes : {std::vector<double>{}, {2}, {0}, {1}, {0, 2}, {1, 2}}) {
      const GradientOperand x = ranks ? distinct({7, 5, 13}) : GradientOperand{{7, 5, 13}};
      cases.push_back({op, {x}, {{"axes", axes}, {"keepDims", axes.size() == 1}}});
    }
  }
  for (const char* op : {"softmax", "logSoftmax"}) {
    for (const double axis : {-1.0, 0.0, 1.0})
      cases.push_back({op, {{{5, 7, 33}}}, {{"axis", axis}}});
  }
  cases.push_back({"cumsum", {{{5, 7, 19}}}, {{"axis", 1.0}}});
  for (const double axis : {0.0, 1.0, 2.0})
    cases.push_back({"flip", {{{5, 7, 19}}}, {{"axis", axis}}});
  cases.push_back({"cumsum", {{{5, 7, 19}}}, {{"axis", 2.0}}});
  return cases;
}

inline std::vector<GradientCase> product_cases() {
  return {
      {"linear", {{{5, 9}}, {{3, 9}}, {{3}}}},
      {"linear", {{{3, 5, 7}}, {{17, 7}}, {{17}}}},
      {"linear", {{{33, 67}}, {{35, 67}}}},
      {"matmul", {{{5, 9}}, {{9, 3}}}},
      {"matmul", {{{33, 67}}, {{67, 19}}}},
      {"matmul", {{{2, 1, 5, 9}}, {{3, 9, 7}}}},
      {"matmul", {{{9, 5}}, {{7, 9}}}, {{"transA", true}, {"transB", true}}},
      {"conv1d", {{{2, 3, 17}}, {{5, 3, 3}}, {{5}}}, {{"stride", 2.0}, {"padding", 1.0}}},
      {"conv2d", {{{2, 3, 9, 7}}, {{5, 3, 3, 3}}, {{5}}}, {{"padding", 1.0}}},
      {"conv2d", {{{2, 6, 5, 7}}, {{4, 3, 3, 3}}, {{4}}}, {{"groups", 2.0}}},
      {"conv2d", {{{2, 3, 5, 19}}, {{6, 1, 3, 3}}}, {{"groups", 3.0}, {"stride", 2.0}}},
      {"conv2d", {{{2, 5, 7, 7}}, {{3, 5, 1, 1}}, {{3}}}},
      {"convTranspose2d", {{{2, 3, 5, 4}}, {{3, 5, 3, 3}}, {{5}}}, {{"padding", 1.0}}},
      {"convTranspose2d",
       {{{2, 6, 3, 4}}, {{6, 2, 3, 3}}, {{6}}},
       {{"groups", 3.0}, {"stride", 2.0}, {"dilation", 2.0}}},
      {"maxPool2d",
       {distinct({2, 3, 11, 9})},
       {{"kernel", 3.0}, {"stride", 2.0}, {"padding", 1.0}}},
      {"avgPool2d", {{{2, 3, 11, 9}}}, {{"kernel", 3.0}, {"stride", 2.0}, {"padding", 1.0}}},
  };
}

inline std::vector<GradientCase> norm_cases() {
  const GradientOperand x{{5, 3, 7, 11}};
  const GradientOperand variance{{3}, 0.5, 2};
  return {
      {"batchNorm", {x, {{3}}, {{3}}}},
      {"batchNorm", {x, {{3}}, {{3}}, {{3}}, variance}},
      {"batchNorm", {x, absent(), absent(), {{3}}, variance}},
      {"batchNorm", {x, {{3}}, {{3}}, constants({3}), constants({3})}, {{"running", true}}},
      {"batchNorm", {x, {{3}}, {{3}}, absent(), absent(), {{5, 3, 7, 11}}}},
      {"layerNorm", {{{5, 7, 33}}, {{33}}, {{33}}}},
      {"layerNorm", {{{19, 5, 7}}, {{5, 7}}, {{5, 7}}, {{19, 5, 7}}}},
      {"rmsNorm", {{{5, 7, 33}}, {{33}}}},
      {"rmsNorm", {{{5, 7, 33}}, {{33}}, absent(), {{5, 7, 33}}}},
      {"groupNorm", {{{5, 6, 7, 3}}, {{6}}, {{6}}}, {{"groups", 3.0}}},
  };
}

inline std::vector<GradientCase> sequence_cases() {
  const AttributeList causal = {{"causal", true}};
  const AttributeList joined = {{"heads", 3.0}};
  return {
      {"attention", {{{2, 3, 7, 5}}, {{2, 3, 11, 5}}, {{2, 3, 11, 9}}, {{1, 3, 7, 11}}}},
      {"attention", {{{2, 3, 19, 5}}, {{2, 3, 19, 5}}, {{2, 3, 19, 5}}}, causal},
      {"attention", {{{2, 7, 15}}, {{2, 11, 15}}, {{2, 11, 15}}, {{7, 11}}}, joined},
      {"attention", {{{2, 7, 15}}, {{2, 11, 30}}}, joined},
      {"attention", {{{2, 7, 45}}}, joined},
      {"rotary", {{{3, 7, 18}}}, {{"depth", 6.0}}},
      {"rotary", {{{3, 7, 18}}, integers({3, 7}, 40)}},
      {"lstm", {{{3, 7, 20}}, {{20, 5}, -0.7, 0.7}}},
      {"gru", {{{3, 7, 15}}, {{15, 5}, -0.7, 0.7}, {{15}}}},
      {"embedding", {integers({3, 7}, 11), {{11, 5}}}},
  };
}

inline std::vector<GradientCase> movement_cases() {
  using List = std::vector<double>;
  const GradientOperand x{{5, 7, 9}};
  return {
      {"reshape", {x}, {{"shape", List{15, -1}}}},
      {"flatten", {x}},
      {"transpose", {x}, {{"perm", List{2, 0, 1}}}},
      {"transpose", {{{37, 19}}}},
      {"concat", {{{5, 3, 9}}, {{5, 1, 9}}, {{5, 7, 9}}}, {{"axis", 1.0}}},
      {"slice", {x}, {{"axis", 1.0}, {"start", 1.0}, {"end", 6.0}, {"step", 2.0}}},
      {"pad", {x}, {{"before", List{1, 0, 2}}, {"after", List{0, 3, 1}}, {"value", 0.5}}},
      {"gather", {x, integers({5, 3, 9}, 7)}, {{"axis", 1.0}}},
      {"gather", {x, integers({5, 7, 21}, 9)}, {{"axis", 2.0}}},
      {"where", {integers({5, 1, 9}, 2), x, {{7, 1}}}},
      {"broadcastTo", {{{5, 1, 9}}}, {{"shape", List{3, 5, 7, 9}}}},
      {"dropout", {x}, {{"rate", 0.4}, {"seed", 5.0}}},
  };
}

inline std::vector<GradientCase> gradient_cases() {
  std::vector<GradientCase> all;
  for (auto* const make : {unary_cases, binary_cases, loss_cases, reduction_cases, product_cases,
                           norm_cases, sequence_cases, movement_cases}) {
    for (GradientCase& one : make()) all.push_back(std::move(one));
  }
  return all;
}

}  // namespace tandem
