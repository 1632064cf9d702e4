// What messages call the inputs of ops: the names that they have in lib/ops and in its
// documentation. Ops that only passes make have none; op.cpp asserts that all others are here.
#pragma once

#include <string_view>

#include "core/op_list.h"

namespace tandem {

struct InputNames {
  Op op;
  std::string_view names;  ///< with spaces between; "values[]" for any number of them
};

constexpr InputNames kInputNames[] = {
#define UNARY(name, A, a_default, B, b_default, forward, derivative, SAVED) {Op::name, "x"},
#define BINARY(name, forward, gradient_a, gradient_b) {Op::name, "a b"},
#define LOSS(name, A, a_default, value, gradient_x, gradient_t) \
  {Op::name, "x target weights divisor"},
#include "core/elementwise.def"
    {Op::linear, "x w b"},
    {Op::matmul, "a b"},
    {Op::conv1d, "x w b"},
    {Op::conv2d, "x w b"},
    {Op::convTranspose2d, "x w b"},
    {Op::maxPool2d, "x"},
    {Op::avgPool2d, "x"},
    {Op::sum, "x"},
    {Op::mean, "x"},
    {Op::max, "x"},
    {Op::min, "x"},
    {Op::variance, "x"},
    {Op::broadcastTo, "x"},
    {Op::softmax, "x"},
    {Op::logSoftmax, "x"},
    {Op::attention, "q k v mask"},
    {Op::rotary, "x positions"},
    {Op::batchNorm, "x w b mean variance residual"},
    {Op::layerNorm, "x w b residual"},
    {Op::rmsNorm, "x w b residual"},
    {Op::groupNorm, "x w b"},
    {Op::reshape, "x"},
    {Op::flatten, "x"},
    {Op::transpose, "x"},
    {Op::concat, "values[]"},
    {Op::slice, "x"},
    {Op::embedding, "index w"},
    {Op::gather, "x index"},
    {Op::pad, "x"},
    {Op::cumsum, "x"},
    {Op::where, "condition a b"},
    {Op::lstm, "x wHh"},
    {Op::gru, "x wHh bHh"},
    {Op::dropout, "x"},
    {Op::countTargets, "target classWeights weights"},
    {Op::crossEntropy, "x target classWeights weights divisor"},
    {Op::distillation, "x teacher weights divisor"},
    {Op::accuracy, "x target"},
};

constexpr bool has_input_names(Op op) {
  for (const InputNames& entry : kInputNames) {
    if (entry.op == op) return true;
  }
  return false;
}

/// Name `i` of a list as above; empty where it has none.
constexpr std::string_view nth_name(std::string_view names, size_t i) {
  if (names.ends_with("[]")) return names.substr(0, names.size() - 2);
  for (; i > 0; --i) {
    const size_t space = names.find(' ');
    if (space == std::string_view::npos) return {};
    names.remove_prefix(space + 1);
  }
  return names.substr(0, names.find(' '));
}

}  // namespace tandem
